"""What an export gives back, and how it fails."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError


class ExportError(UserError):
    """The model was converted, but the file's outputs are not Keras'; nothing was written."""


@dataclass(frozen=True)
class Change:
    """What reduced precision costs, on rows that Keras and the file both answered.

    Attributes:
        rows: How many.
        changed_classes: The share of rows, or pixels, whose most probable class is another.
        metric: `"accuracy"`, or `"dice"` of segmented images; `None` where no labels are known.
        before: The metric of Keras' outputs.
        after: The metric of the file's outputs.
        drop: `before - after`.
        low: The lower end of the drop's 95 % interval, paired by row.
        high: The upper end.
    """

    rows: int
    changed_classes: float | None
    metric: str | None = None
    before: float | None = None
    after: float | None = None
    drop: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Batch:
    """How near the outputs of one batch size are to Keras', over all outputs; the fields are those of `Parity`."""

    rows: int
    max_abs_diff: float
    p99_abs_diff: float
    max_rel_diff: float
    p99_rel_diff: float
    argmax_agreement: float | None


@dataclass(frozen=True)
class Parity:
    """How near a file's outputs are to Keras'.

    Attributes:
        max_abs_diff: The largest absolute difference of any output, over all batch sizes.
        p99_abs_diff: The absolute difference that 99 % of the outputs stay under.
        max_rel_diff: The largest difference divided by `max(|Keras' output|, 1e-3)`.
        p99_rel_diff: The relative difference that 99 % of the outputs stay under.
        argmax_agreement: The share of rows with the same most probable class, or side of 0.5; `None` without classes.
        batch_sizes: The numbers of rows that were compared.
        batches: The same for each of these.
        extremes: For each kind of extreme row, `"equal"` or what is different.
        change: What reduced precision costs; `None` where it was not reduced.
        providers: The execution providers that onnxruntime really used; empty for other formats.
        runtime: What ran the file, with its version.
        warnings: What a reader must know of the comparison.
    """

    max_abs_diff: float
    p99_abs_diff: float
    max_rel_diff: float
    p99_rel_diff: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    batches: tuple[Batch, ...]
    extremes: dict[str, str]
    change: Change | None
    providers: tuple[str, ...]
    runtime: str
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """A file that was written after its outputs were compared with Keras'.

    Attributes:
        path: The file.
        max_abs_diff: As in `Parity`.
        p99_abs_diff: As in `Parity`.
        max_rel_diff: As in `Parity`.
        argmax_agreement: As in `Parity`.
        batch_sizes: As in `Parity`.
        providers: As in `Parity`.
        exporter: Who wrote the file: `"kerasdl"`, or who else on which backend.
        opset: The ONNX operator set of the graph; `None` for formats that are not made by way of ONNX.
        nodes: The number of nodes in that graph; `None` likewise.
        warnings: What a reader must know.
        seconds: How long it all took.
        p99_rel_diff: As in `Parity`.
        batches: As in `Parity`.
        extremes: As in `Parity`.
        change: As in `Parity`.
        runtime: As in `Parity`.
        target: The name of the target.
        format: The file's format.
        precision: In what it computes or stores its weights.
        files: The names of all files that belong together, `path`'s first.
        bytes: Their size.
        tolerance: How far an output may be from Keras', `absolute`, `relative` and `beyond`.
    """

    path: Path
    max_abs_diff: float
    p99_abs_diff: float
    max_rel_diff: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    providers: tuple[str, ...]
    exporter: str
    opset: int | None
    nodes: int | None
    warnings: tuple[str, ...]
    seconds: float
    p99_rel_diff: float = 0.0
    batches: tuple[Batch, ...] = ()
    extremes: dict[str, str] = field(default_factory=dict)
    change: Change | None = None
    runtime: str = ""
    target: str = "onnx"
    format: str = "onnx"
    precision: str = "float32"
    files: tuple[str, ...] = ()
    bytes: int = 0
    tolerance: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as values that JSON can hold."""
        fields = _plain(dataclasses.asdict(self))
        return {**fields, "path": str(self.path)}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value
