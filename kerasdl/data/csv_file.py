"""Reads a CSV file and knows on which line of it every row stands."""

import csv
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    import pandas

MISSING = ("", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "null", "None", "<NA>", "#N/A")
"""What stands for a missing number; in the target these are ordinary text, except for nothing at all."""


@dataclass(frozen=True)
class Table:
    """A CSV file as it was read.

    Attributes:
        path: The file.
        separator: The sign between fields.
        header: The name of each column.
        frame: The rows; columns are numbered from 0.
    """

    path: Path
    separator: str
    header: tuple[str, ...]
    frame: "pandas.DataFrame"

    def line(self, row: int) -> int:
        """Returns the line of the file, from 1, on which a row begins; rows are counted from 0."""
        with _opened(self.path) as handle:
            return next(line for number, (line, _) in enumerate(_records(handle, self.separator)) if number == row + 1)


def read(path: Path, target: str, separator: str) -> Table:
    """Reads a CSV file, UTF-8, gzipped where its name ends in `.gz`.

    Args:
        path: The file; its first line names the columns.
        target: The column that is read as text.
        separator: The sign between fields.

    Returns:
        The table.

    Raises:
        UserError: The file, its header or a row's number of fields cannot be used, or no column has the target's name.
    """
    import pandas

    with _opened(path) as handle:
        header = _header(path, handle, separator)
        if target not in header:
            raise UserError(f"{path}: no column is called {target!r}; {_column_hint(target, header)}")
        index = header.index(target)
        blanks: Any = {number: [""] if number == index else list(MISSING) for number in range(len(header))}
        try:
            frame = pandas.read_csv(
                handle,
                header=None,
                sep=separator,
                skipinitialspace=True,
                keep_default_na=False,
                na_values=blanks,
                dtype={index: str},
                low_memory=False,
            )
        except pandas.errors.EmptyDataError:
            raise UserError(f"{path}: has a header and no rows; add rows") from None
        except pandas.errors.ParserError as error:
            _refuse_ragged(path, separator, len(header))
            raise UserError(
                f"{path}: cannot be read as CSV ({' '.join(str(error).split())}); mend its quotes"
            ) from None
    if frame.shape[1] != len(header):
        _refuse_ragged(path, separator, len(header))
    if frame.isna().to_numpy().any():
        # A row that ends early looks like one with blanks, and saying how many fields it has is more help.
        _refuse_ragged(path, separator, len(header))
    return Table(path, separator, header, frame)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """Opens the file as text and turns what can be wrong with its bytes into sentences."""
    zipped = path.suffix == ".gz"
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if zipped
            else path.open(encoding="utf-8-sig", newline="") as handle
        ):
            yield handle
    except UnicodeDecodeError:
        raise UserError(
            f"{path}: row {_undecodable_line(path)} is not UTF-8; save the file as UTF-8 text"
            + ("" if zipped else " (a zipped file must end in .csv.gz)")
        ) from None
    except EOFError:
        raise UserError(f"{path}: the gzip file is cut short; get the file anew") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a sound gzip file ({error}); get the file anew") from None
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read as CSV ({error}); mend its quotes") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None


def _undecodable_line(path: Path) -> int:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return 1


def _records(handle: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the line on which each record begins, from 1, and its fields; the header is the first."""
    reader = csv.reader(handle, delimiter=separator, skipinitialspace=True)
    begin = 1
    for record in reader:
        if any(field.strip() for field in record) or len(record) > 1:
            yield begin, record
        begin = reader.line_num + 1


def _header(path: Path, handle: TextIO, separator: str) -> tuple[str, ...]:
    _, record = next(_records(handle, separator), (1, []))
    if not record:
        raise UserError(f"{path}: is empty; the first line must name the columns")
    header = tuple(field.strip() for field in record)
    for number, name in enumerate(header, start=1):
        if not name:
            raise UserError(f"{path}: row 1, column {number} has no name; name every column")
        if header.count(name) > 1:
            raise UserError(f"{path}: row 1 names column {name!r} {header.count(name)} times; rename one")
    return header


def _column_hint(name: str, header: tuple[str, ...]) -> str:
    if len(header) == 1:
        for sign, spelling in ((";", ";"), ("\t", "tab"), (",", ","), ("|", "|")):
            if sign in header[0]:
                return f"its fields seem to be separated by {spelling!r}: add separator={spelling}"
    return nearest(name, header)


def _refuse_ragged(path: Path, separator: str, columns: int) -> None:
    with _opened(path) as handle:
        for line, record in _records(handle, separator):
            if len(record) != columns:
                raise UserError(
                    f"{path}: row {line} has {len(record)} fields where the header has {columns}; mend the row "
                    "(text that holds the separator must be quoted)"
                )
