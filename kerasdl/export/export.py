"""Exports a live Keras model: write the file, compare its outputs with Keras', and only then put it in place."""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.backend import start
from kerasdl.errors import UserError
from kerasdl.export.fallback import own_classes
from kerasdl.export.formats.elsewhere import convert
from kerasdl.export.formats.ends import Ends, name_ends, with_scaling
from kerasdl.export.formats.format import FORMATS, check_installed
from kerasdl.export.full_precision import in_float32
from kerasdl.export.graft import describe
from kerasdl.export.graphs import checked, write_graphs
from kerasdl.export.parity import compare
from kerasdl.export.precision import Calibration, at_precision
from kerasdl.export.replacing import files_of, replacing
from kerasdl.export.result import Export, ExportError, Parity
from kerasdl.export.samples import Rows, given_rows, input_specifications, take_samples
from kerasdl.export.target import Target, load_target

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling

# A protobuf message cannot be larger than 2 GiB.
LARGEST = 2**31 - 2**20


@dataclass(frozen=True)
class Attempt:
    """One way to write a file.

    Attributes:
        write: Writes it to a path, and says who did and what a reader must know.
        graph: The ONNX graph that it is made of, where there is one.
    """

    write: Callable[[Path], tuple[str, tuple[str, ...]]]
    graph: Any = None


def export_model(
    model: Any,
    path: str | Path,
    target: str | Target = "onnx",
    *,
    scaling: "Scaling | None" = None,
    classes: Sequence[str] = (),
    features: Sequence[str] = (),
    metadata: Mapping[str, object] | None = None,
    rows: Rows = None,
    labels: np.ndarray | None = None,
    calibration: Rows = None,
) -> Export:
    """Exports a Keras model to a file whose outputs were compared with Keras'.

    An ONNX graph is written directly from the model's layers, on any backend; where something is not known (custom
    layers, recurrence, attention, subclassed models), Keras' own exporter is asked, and `Export.exporter` and
    `Export.warnings` say so. What another backend has to convert (TorchScript and .pt2: torch; LiteRT: TensorFlow) is
    converted by a fresh process that runs on it.

    Args:
        model: A built Keras 3 model on the running backend.
        path: Where the file goes. It appears whole or not at all; an existing file is replaced.
        target: The name of a shipped target, the path of a TOML file, or a `Target`.
        scaling: How raw features became what the model sees; it becomes part of the file, so that it takes raw
            features.
        classes: The name of each class, in the order of the outputs.
        features: The name of each input column.
        metadata: More for the file's metadata: text, or values that JSON can hold.
        rows: Raw rows to compare on, `(n, *shape)`, for several inputs one array each; seeded random ones by default.
            On all of them the loss of reduced precision is measured.
        labels: The class of each row, or pixel; with them that loss is the drop of the accuracy, or Dice.
        calibration: Raw training rows that 8-bit numbers are fitted to; `rows` by default.

    Returns:
        The file's path, how near its outputs are to Keras', and who wrote it.

    Raises:
        ExportError: The outputs differ by more than the target's tolerance, or reduced precision loses more than its
            limit; nothing was written.
        UserError: The model, the target, the rows or the path cannot be used, or a converter is missing.

    Example:
        >>> export = export_model(model, "best.onnx", scaling=data.scaling, classes=data.classes)
        >>> export.max_abs_diff
        1.1e-07
    """
    started = time.perf_counter()
    path = Path(path)
    chosen = target if isinstance(target, Target) else load_target(target)
    _check_arguments(model, path, chosen)
    model, notes = in_float32(model)
    properties = _properties(model, classes, features, metadata)
    samples = take_samples(model, scaling, rows, chosen, labels)
    specifications = input_specifications(model)
    ends = name_ends(model, chosen, [name for name, _, _ in specifications], len(samples.expected[0]))
    fitted = _calibration(calibration, rows, specifications, chosen)
    refused: list[str] = []
    failure: ExportError | None = None
    for attempt in _attempts(model, chosen, scaling, ends, properties, fitted):
        exporter = "kerasdl"
        try:
            with replacing(path) as temporary:
                exporter, told = attempt.write(temporary)
                parity = compare(temporary, samples, chosen, ends)
                sizes = {each.name: each.stat().st_size for each in files_of(temporary)}
        except ExportError as error:
            failure = failure or error
            refused.append(f"{exporter}: {error}")
            continue
        warnings = (*notes, *told, *parity.warnings, *refused)
        return _result(path, chosen, parity, attempt.graph, exporter, warnings, sizes, started)
    if failure is not None and len(refused) > 1:
        raise ExportError("; ".join(refused)) from failure
    raise failure or ExportError(f"model {model.name!r}: no exporter wrote a file")


def _attempts(
    model: Any,
    target: Target,
    scaling: "Scaling | None",
    ends: Ends,
    properties: Mapping[str, object],
    calibration: Calibration | None,
) -> Iterator[Attempt]:
    """Gives one way to write the file after another, the preferred first."""
    if not FORMATS[target.format].by_onnx:
        yield Attempt(lambda path: _write_converted(model, target, scaling, ends, properties, path))
        return
    # Also where the graph moves axes after the softmax.
    named = target.model_copy(update={"output": "probabilities"}) if ends.probabilities else target
    for graph, exporter, told in write_graphs(model, named, scaling):
        for precise, more in at_precision(graph, target, calibration):
            described = {**properties, "exporter": exporter}
            yield _by_onnx(precise, target, exporter, described, (*told, *more))


def _by_onnx(
    graph: Any, target: Target, exporter: str, properties: Mapping[str, object], told: tuple[str, ...]
) -> Attempt:
    import onnx

    describe(graph, properties)
    graph = checked(graph, exporter)

    def write(path: Path) -> tuple[str, tuple[str, ...]]:
        if target.format == "onnx":
            onnx.save(graph, path)
            return exporter, told
        from kerasdl.export.formats.openvino_file import write_openvino

        write_openvino(graph, path, properties)
        return f"{exporter}, converted by openvino", told

    return Attempt(write, graph)


def _write_converted(
    model: Any,
    target: Target,
    scaling: "Scaling | None",
    ends: Ends,
    properties: Mapping[str, object],
    path: Path,
) -> tuple[str, tuple[str, ...]]:
    raw = with_scaling(model, scaling, ends)
    if target.format != "keras":
        return convert(raw, target.format, path, ends, properties, half=target.precision == "float16")
    own = own_classes(model)
    if own:
        raise UserError(f"{', '.join(own)} has code of its own, and a .keras file that needs some is not opened again")
    start()
    raw.save(path)
    return "keras", ()


def _calibration(calibration: Rows, rows: Rows, specifications: Sequence[Any], target: Target) -> Calibration | None:
    if target.precision != "int8" or target.quantization.method == "dynamic":
        return None
    if calibration is not None:
        return Calibration(given_rows(calibration, specifications), "training rows")
    if rows is None:
        raise UserError(
            f"target {target.name or target.format!r} needs rows to calibrate 8-bit numbers on and to measure their "
            "loss with; give rows= (on the command line --rows)"
        )
    return Calibration(given_rows(rows, specifications), "of the rows that it was then compared on")


def _result(
    path: Path,
    target: Target,
    parity: Parity,
    graph: Any,
    exporter: str,
    warnings: tuple[str, ...],
    sizes: Mapping[str, int],
    started: float,
) -> Export:
    opset = None
    if graph is not None:
        opset = next(each.version for each in graph.opset_import if each.domain in {"", "ai.onnx"})
    return Export(
        path=path,
        **{field.name: getattr(parity, field.name) for field in dataclasses.fields(parity) if field.name != "warnings"},
        exporter=exporter,
        opset=opset,
        nodes=None if graph is None else len(graph.graph.node),
        warnings=warnings,
        seconds=time.perf_counter() - started,
        target=target.name or target.format,
        format=target.format,
        precision=target.precision,
        files=tuple(sizes),
        bytes=sum(sizes.values()),
        tolerance=target.tolerance.model_dump(),
    )


def _check_arguments(model: Any, path: Path, target: Target) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise UserError(f"export takes a keras.Model, not {type(model).__name__}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file, such as {path / 'model.onnx'}")
    if target.format != "onnx" and path.suffix != f".{target.suffix}":
        raise UserError(f"{path}: a file of the format {target.format!r} ends in .{target.suffix}")
    check_installed(target.format)
    if not model.built:
        raise UserError(f"model {model.name!r} has not been built; call it once on a batch of rows before exporting it")
    size = sum(variable.value.nbytes if hasattr(variable.value, "nbytes") else 0 for variable in model.weights)
    if size > LARGEST:
        raise UserError(f"model {model.name!r} has {size / 2**30:.1f} GiB of weights; an ONNX file holds at most 2 GiB")


def _properties(
    model: Any, classes: Sequence[str], features: Sequence[str], metadata: Mapping[str, object] | None
) -> dict[str, object]:
    import keras

    properties: dict[str, object] = {
        "classes": list(classes),
        "features": list(features),
        "source": f"{model.name}, {model.count_params():,} parameters, Keras {keras.version()}",
    }
    for key, value in (metadata or {}).items():
        try:
            json.dumps(value)
        except (TypeError, ValueError) as error:
            raise UserError(
                f"metadata[{key!r}] is {type(value).__name__}; give text or values that JSON can hold"
            ) from error
        properties[key] = value
    outputs = model.output_shape if hasattr(model, "output_shape") else None
    width = outputs[-1] if isinstance(outputs, tuple) and outputs else None
    if classes and width not in (None, 1, len(classes)):
        raise UserError(
            f"classes has {len(classes)} names and model {model.name!r} {width} outputs; give one name for each"
        )
    return properties
