"""Opens a run's SQLite file, to write or to read, and says plainly what went wrong."""

import io
import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.errors import UserError

FILE_NAME = "run.sqlite"
SCHEMA_VERSION = 4


def connect(directory: Path, *, write: bool = False) -> sqlite3.Connection:
    """Opens the database of a run.

    Args:
        directory: The run's directory.
        write: Whether to create it where it is missing, and to write to it.

    Returns:
        A connection with foreign keys on; in WAL mode where it writes.

    Raises:
        UserError: No run there, not a run's database, written by a newer kerasdl, or not writable.
    """
    path = directory / FILE_NAME
    if not write and not path.is_file():
        raise UserError(f"{directory}: no run here ({FILE_NAME} is missing); give the directory of a started study")
    with readable_errors(path):
        connection = sqlite3.connect(path, isolation_level=None) if write else _connect_to_read(path)
        with _closed_by_errors(connection):
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and write:
                _create(connection)
            elif version != SCHEMA_VERSION:
                kind = "was written by another version of kerasdl" if version else "is not a run's database"
                raise UserError(f"{path}: it {kind} (schema {version}, not {SCHEMA_VERSION}); choose another directory")
    return connection


@contextmanager
def _closed_by_errors(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _connect_to_read(path: Path) -> sqlite3.Connection:
    address = path.absolute().as_uri()
    # Whoever lets go of a run last, in whichever thread, closes it.
    options: dict[str, Any] = {"uri": True, "check_same_thread": False}
    try:
        connection = sqlite3.connect(f"{address}?mode=ro", **options)
        with _closed_by_errors(connection):
            connection.execute("PRAGMA schema_version")
    except sqlite3.OperationalError:
        # A database in WAL mode cannot be opened in a folder that refuses new files, unless nothing can change it.
        connection = sqlite3.connect(f"{address}?immutable=1", **options)
    return connection


def _create(connection: sqlite3.Connection) -> None:
    schema = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(f"BEGIN;\n{schema}\nPRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;")


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Turns SQLite's and the file system's errors about `path` into one line with a way out."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        remedy = _remedy(str(error))
        if remedy is None:
            raise
        raise UserError(f"{path}: {error}; {remedy}") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{error.filename or path}: not a folder; choose another directory with --out") from error
    except OSError as error:
        raise UserError(
            f"{error.filename or path}: {error.strerror or error}; free space or choose another directory with --out"
        ) from error


def _remedy(message: str) -> str | None:
    for words, remedy in (
        ("full", "free space on the disk, then run the same command again: it goes on where it stopped"),
        ("disk I/O", "free space or mend the disk, then run the same command again"),
        ("readonly", "the folder cannot be written to; choose another with --out"),
        ("unable to open", "the folder cannot be written to; choose another with --out"),
        ("not a database", "it is not a run's database; choose another directory, or --fresh to move this one aside"),
        ("malformed", "the database is damaged; choose another directory, or --fresh to move this one aside"),
        ("locked", "another program holds the database; close it and try again"),
    ):
        if words in message:
            return remedy
    return None


def to_json(value: Any) -> str:
    """Writes a value as JSON; numbers that are not finite become null, which every JSON reader knows."""
    return json.dumps(finite(value), ensure_ascii=False, allow_nan=False)


def finite(value: Any) -> Any:
    """Returns the value with plain Python numbers and `None` in place of those that are not finite."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, np.generic):
        return finite(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def array_to_bytes(array: np.ndarray) -> bytes:
    """Writes an array in NumPy's .npy format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def array_from_bytes(content: bytes) -> np.ndarray:
    """Reads an array in NumPy's .npy format; pickled objects are refused."""
    array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return array
