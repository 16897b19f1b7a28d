"""Published figures that a study is held against."""

import csv
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from kerasdl.errors import UserError
from kerasdl.tune.toml import parse_value


class Reference(BaseModel):
    """The `[reference]` table: figures to show beside ours, never to choose by.

    Attributes:
        file: A CSV file whose columns are settings and metrics, relative to the study.
        rows: The same as a list of tables.
        title: Where the figures come from.
        note: What a reader must know to compare.
        data: The data set that the figures are of, where it is not always the study's: the order of figures is then all
            that is compared.
    """

    model_config = ConfigDict(extra="forbid")

    file: str | None = None
    rows: list[dict[str, Any]] | None = None
    title: str = ""
    note: str = ""
    data: str = ""

    def resolved(self, folder: Path) -> "Reference":
        """Returns the reference with the file's rows in place of its name.

        Args:
            folder: Where a relative path starts.

        Raises:
            UserError: Neither a file nor rows are given, or the file cannot be read.
        """
        if self.rows is not None and self.file is None:
            return self
        if self.file is None or self.rows is not None:
            raise UserError("reference: give either file or rows")
        path = folder / self.file
        try:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = list(csv.DictReader(lines))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise UserError(f"reference.file: {path}: {reason}; give a CSV file with a header") from error
        if not rows:
            raise UserError(f"reference.file: {path}: it has no rows; give a CSV file with a header and rows")
        cleaned = [{name: _value(text) for name, text in row.items() if name and text} for row in rows]
        return self.model_copy(update={"file": None, "rows": cleaned})


def _value(text: str) -> Any:
    if text.lower() in ("yes", "no"):
        return text.lower() == "yes"
    # CSV files write 0.10 and 1e-05 as TOML does, and texts bare.
    return parse_value(text)
