"""What the paths hold: model files, told by their suffix, alone or in folders."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kerasdl.errors import UserError, nearest

# The runtime that opens each suffix.
SUFFIXES = {
    ".onnx": "onnxruntime",
    ".keras": "keras",
    ".pt": "torchscript",
    ".ts": "torchscript",
    ".torchscript": "torchscript",
    ".pt2": "torch-export",
    ".tflite": "litert",
    ".xml": "openvino",
}


@dataclass(frozen=True)
class Source:
    """A model file.

    Attributes:
        path: Where it is.
        runtime: What opens it.
        precision: Of its weights where the file says so before it is opened, else an empty text.
        size: In bytes, with what belongs to it.
        named: Whether the person named it, not its folder.
        run: The run that it comes from, which knows real rows and how they were scaled.
    """

    path: Path
    runtime: str
    precision: str
    size: int
    named: bool
    run: Path | None = None

    @property
    def scaled(self) -> bool:
        """Whether it takes features that were scaled before: a run's own Keras model, not one exported from it."""
        return self.runtime == "keras" and self.run is not None and self.path.parent == self.run


def find_sources(paths: Sequence[Path]) -> list[Source]:
    """Finds the models.

    Args:
        paths: Model files, and folders: all models directly inside them.

    Returns:
        Each file once, in the order given; in a folder by name.

    Raises:
        UserError: Nothing is there, a suffix is not known, a file is damaged, or a folder has no model.
    """
    if not paths:
        raise UserError("give the path of a model, of a folder with models, or of a run")
    found: dict[Path, Source] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder; give a model, a folder with models, or a run")
        inside = [path] if path.is_file() else _models(path)
        for file in inside:
            found.setdefault(file.resolve(), _source(file, named=path.is_file()))
    return list(found.values())


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / "run.sqlite").is_file()


def _models(folder: Path) -> list[Path]:
    inside = sorted(each for each in folder.iterdir() if each.suffix in SUFFIXES and each.is_file())
    inside = [each for each in inside if not each.name.startswith(".") and _is_model(each)]
    if not inside:
        raise UserError(f"{folder}: no model in this folder; a model's name ends in {', '.join(SUFFIXES)}")
    return inside


def _is_model(file: Path) -> bool:
    """Whether a file of a folder is meant: `.xml` is many things."""
    return file.suffix != ".xml" or file.with_suffix(".bin").is_file()


def _source(file: Path, named: bool) -> Source:
    runtime = SUFFIXES.get(file.suffix)
    if runtime is None:
        if file.suffix in {".h5", ".hdf5"}:
            raise UserError(f"{file}: the old h5 format is not read; load it in Keras once and save it as .keras")
        raise UserError(f"{file}: the suffix {file.suffix!r} is no model's; {nearest(file.suffix, SUFFIXES)}")
    if file.stat().st_size == 0:
        raise UserError(f"{file}: the file is empty; export it again")
    zipped = runtime in {"keras", "torchscript", "torch-export"}
    if zipped and not zipfile.is_zipfile(file):
        raise UserError(f"{file}: damaged, or not what its suffix says: no zip archive; export it again")
    precision, more = _read_onnx(file) if runtime == "onnxruntime" else ("", 0)
    if file.suffix == ".xml":
        weights = file.with_suffix(".bin")
        if not weights.is_file():
            raise UserError(f"{file}: no {weights.name} beside it, where OpenVINO keeps the weights")
        more = weights.stat().st_size
    # A run's exports are in a folder inside it.
    run = next((each for each in (file.parent, file.absolute().parent.parent) if is_run(each)), None)
    return Source(file, runtime, precision, file.stat().st_size + more, named, run)


def _read_onnx(file: Path) -> tuple[str, int]:
    """Returns the precision of an ONNX file's weights and the size of data outside the file."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model(file, load_external_data=False)
    except DecodeError as error:
        raise UserError(f"{file}: damaged, or not ONNX ({error}); export it again") from error
    if not model.graph.node:
        raise UserError(f"{file}: damaged, or not ONNX (a graph without nodes); export it again")
    bytes_by_type: dict[int, int] = {}
    outside: set[str] = set()
    for tensor in model.graph.initializer:
        elements = 1
        for size in tensor.dims:
            elements *= size
        width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        bytes_by_type[tensor.data_type] = bytes_by_type.get(tensor.data_type, 0) + elements * width
        outside.update(entry.value for entry in tensor.external_data if entry.key == "location")
    names = {
        onnx.TensorProto.FLOAT16: "float16",
        onnx.TensorProto.BFLOAT16: "bfloat16",
        onnx.TensorProto.INT8: "int8",
        onnx.TensorProto.UINT8: "int8",
    }
    operators = {node.op_type for node in model.graph.node}
    quantized = operators & {"MatMulInteger", "ConvInteger", "QLinearConv", "QLinearMatMul", "DequantizeLinear"}
    largest = max(bytes_by_type, key=lambda kind: bytes_by_type[kind], default=onnx.TensorProto.FLOAT)
    precision = "int8" if quantized else names.get(largest, "float32")
    beside = [file.parent / name for name in outside]
    return precision, sum(each.stat().st_size for each in beside if each.is_file())
