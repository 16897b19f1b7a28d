"""What an export gives back, and how it fails."""

from dataclasses import asdict, dataclass
from pathlib import Path

from kerasdl.errors import UserError


class ExportError(UserError):
    """The model was converted, but the file's outputs are not Keras'; nothing was written."""


@dataclass(frozen=True)
class Export:
    """A file that was written after its outputs were compared with Keras'.

    Attributes:
        path: The file.
        max_abs_diff: The largest absolute difference of any output, over all batch sizes.
        p99_abs_diff: The absolute difference that 99 % of the outputs stay under.
        max_rel_diff: The largest difference divided by `max(|Keras' output|, 1e-3)`.
        argmax_agreement: The share of rows with the same most probable class, or side of 0.5; `None` without classes.
        batch_sizes: The numbers of rows that were compared.
        providers: The execution providers that onnxruntime really used.
        exporter: Who wrote the graph: `"kerasdl"`, or Keras on which backend.
        opset: The ONNX operator set of the file.
        nodes: The number of nodes in its graph.
        warnings: What a reader must know.
        seconds: How long it all took.
    """

    path: Path
    max_abs_diff: float
    p99_abs_diff: float
    max_rel_diff: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    providers: tuple[str, ...]
    exporter: str
    opset: int
    nodes: int
    warnings: tuple[str, ...]
    seconds: float

    def as_dict(self) -> dict[str, object]:
        """Returns the fields as values that JSON can hold."""
        fields: dict[str, object] = asdict(self)
        fields["path"] = str(self.path)
        for key in ("batch_sizes", "providers", "warnings"):
            fields[key] = list(getattr(self, key))
        return fields
