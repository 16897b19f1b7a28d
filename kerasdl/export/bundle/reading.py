"""Reads what a bundle is made from: the ONNX file with its metadata, and what was written beside it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError

MODEL = "model.onnx"
REPORT = "report.json"
BENCHMARK = "benchmark.json"

# Metadata that is text; every other value that can be read as JSON is.
_TEXTS = ("source", "title", "data", "licence", "fingerprint", "exporter", "question", "study", "task")


@dataclass(frozen=True)
class Exported:
    """An ONNX file and what is known about it.

    Attributes:
        graph: The `onnx.GraphProto`.
        content: The bytes of the file.
        opset: The ONNX operator set.
        producer: Who wrote it, with the version.
        properties: The metadata, values that are JSON as such.
        export: What the export said of this file; empty where `report.json` is not there.
        others: What it said of the other files in the folder.
        versions: The versions that it was exported with.
        benchmark: What was measured; `None` where nothing was.
    """

    graph: Any
    content: bytes
    opset: int
    producer: str
    properties: Mapping[str, Any]
    export: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]]
    versions: Mapping[str, str]
    benchmark: Any

    @property
    def inputs(self) -> list[Any]:
        """The inputs of the graph that are no weights."""
        initial = {each.name for each in self.graph.initializer}
        return [each for each in self.graph.input if each.name not in initial]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file, hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()


def read_exported(folder: Path) -> Exported:
    """Reads `model.onnx`, and `report.json` and `benchmark.json` where they are there.

    Args:
        folder: Where they lie.

    Returns:
        What they hold.

    Raises:
        UserError: There is no ONNX model in the folder, or a file cannot be read.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = folder / MODEL
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); export a model into this folder first") from error
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        raise UserError(f"{path}: no ONNX model; export it again") from error
    if any(each.data_location == onnx.TensorProto.EXTERNAL for each in model.graph.initializer):
        raise UserError(f"{path}: keeps its weights in other files; a bundle holds a model of one file")
    if not model.graph.input or not model.graph.output:
        raise UserError(f"{path}: an ONNX model without inputs or outputs; export it again")
    report = _read_json(folder / REPORT) or {}
    exports = report.get("exports") or []
    return Exported(
        graph=model.graph,
        content=content,
        opset=next(each.version for each in model.opset_import if each.domain in {"", "ai.onnx"}),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        properties={each.key: _value(each.key, each.value) for each in model.metadata_props},
        export=next((each for each in exports if _file_name(each) == MODEL), {}),
        others=[each for each in exports if _file_name(each) != MODEL],
        versions=report.get("versions") or {},
        benchmark=_read_json(folder / BENCHMARK),
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); export the model again") from error


def _file_name(export: Mapping[str, Any]) -> str:
    return Path(str(export.get("path", ""))).name


def _value(key: str, text: str) -> Any:
    if key in _TEXTS:
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
