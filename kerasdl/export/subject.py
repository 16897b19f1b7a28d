"""What is exported: a model and what is known about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.export import export_model
from kerasdl.export.result import Export
from kerasdl.export.samples import Rows
from kerasdl.export.target import Target

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling


@dataclass(frozen=True)
class Subject:
    """A model and what is known about it; the fields are the arguments of `export_model`.

    Attributes:
        model: The Keras model.
        scaling: How raw features became what it sees.
        classes: The name of each class.
        features: The name of each input column.
        metadata: More for the file's metadata.
        rows: Raw rows to compare on.
        tested: Raw rows to measure the loss of reduced precision on, where these are others.
        labels: The class of each of these.
        calibration: Raw training rows.
    """

    model: Any
    scaling: "Scaling | None" = None
    classes: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    rows: Rows = None
    tested: Rows = None
    labels: np.ndarray | None = None
    calibration: Rows = None

    def export(self, path: Path, target: Target) -> Export:
        """Writes one file, see `export_model`."""
        rows = self.tested if target.reduced and self.tested is not None else self.rows
        return export_model(
            self.model,
            path,
            target,
            scaling=self.scaling,
            classes=self.classes,
            features=self.features,
            metadata=self.metadata,
            rows=rows,
            labels=self.labels if target.reduced else None,
            calibration=self.calibration,
        )


def subject_of_file(path: Path, rows: Path | None = None) -> Subject:
    """Loads a `.keras` file.

    Args:
        path: The file.
        rows: A file of rows such as the model takes: `.npy`, or `.npz` with `x`, and `y` where classes are known.

    Raises:
        UserError: One of them cannot be read.
    """
    from kerasdl.safety import load_model

    x, y = (None, None) if rows is None else _read_rows(rows)
    return Subject(load_model(path), rows=x, labels=y)


def _read_rows(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        content = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--rows {path}: not readable as a .npy or .npz file ({error})") from error
    if isinstance(content, np.ndarray):
        return content, None
    with content:
        if "x" not in content.files:
            raise UserError(f"--rows {path}: holds {', '.join(content.files)}; the rows are to be called x, classes y")
        return content["x"], content["y"] if "y" in content.files else None
