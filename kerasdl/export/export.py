"""Exports a live Keras model: write the graph, check it, compare its outputs, and only then put the file in place."""

import contextlib
import dataclasses
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasdl.errors import UserError
from kerasdl.export.fallback import export_with_keras
from kerasdl.export.full_precision import in_float32
from kerasdl.export.graft import check, describe, name_ends, scale_input, slim
from kerasdl.export.graph import UnsupportedError, build_graph
from kerasdl.export.parity import Rows, Samples, compare, input_specifications, take_samples
from kerasdl.export.result import Export, ExportError
from kerasdl.export.target import Target, load_target

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling

# A protobuf message cannot be larger than 2 GiB.
LARGEST = 2**31 - 2**20


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
) -> Export:
    """Exports a Keras model to a file whose outputs were compared with Keras'.

    The graph is written directly from the model's layers, on any backend; where something is not known (custom layers,
    recurrence, attention, subclassed models), Keras' own exporter is asked, and `Export.exporter` and `Export.warnings`
    say so.

    Args:
        model: A built Keras 3 model on the running backend.
        path: Where the file goes. It appears whole or not at all; an existing file is replaced.
        target: The name of a shipped target, the path of a TOML file, or a `Target`.
        scaling: How raw features became what the model sees; it becomes part of the graph, so that the file takes raw
            features.
        classes: The name of each class, in the order of the outputs.
        features: The name of each input column.
        metadata: More for the file's metadata: text, or values that JSON can hold.
        rows: Raw rows to compare on, `(n, *shape)`, for several inputs one array each; seeded random ones by default.

    Returns:
        The file's path, how near its outputs are to Keras', and who wrote it.

    Raises:
        ExportError: The outputs differ by more than the target's tolerance; nothing was written.
        UserError: The model, the target, the rows or the path cannot be used.

    Example:
        >>> export = export_model(model, "best.onnx", scaling=data.scaling, classes=data.classes)
        >>> export.max_abs_diff
        1.1e-07
    """
    started = time.perf_counter()
    path = Path(path)
    chosen = target if isinstance(target, Target) else load_target(target)
    _check_arguments(model, path)
    model, notes = in_float32(model)
    properties = _properties(model, classes, features, metadata)
    samples = take_samples(model, scaling, rows, chosen)
    try:
        graph = build_graph(model, chosen, scaling)
    except UnsupportedError as error:
        done = _export_by_keras(model, path, chosen, scaling, properties, samples, str(error), started)
        return dataclasses.replace(done, warnings=(*notes, *done.warnings))
    return _finish(graph, path, chosen, {**properties, "exporter": "kerasdl"}, samples, notes, started)


def _check_arguments(model: Any, path: Path) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise UserError(f"export takes a keras.Model, not {type(model).__name__}")
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the name of a file, such as {path / 'model.onnx'}")
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


def _export_by_keras(
    model: Any,
    path: Path,
    target: Target,
    scaling: "Scaling | None",
    properties: dict[str, object],
    samples: Samples,
    reason: str,
    started: float,
) -> Export:
    """Tries Keras' own exporters one after another until the outputs of one are Keras' outputs."""
    inputs = [name for name, _, _ in input_specifications(model)]
    refused: list[str] = []
    failure: ExportError | None = None
    for exporter, exported in export_with_keras(model, target.opset, reason):
        name_ends(exported, target, inputs, list(getattr(model, "output_names", [])))
        graph = slim(exported)
        if scaling is not None:
            scale_input(graph, scaling)
        try:
            described = {**properties, "exporter": exporter}
            first = f"{reason}: kerasdl writes no graph for this, so it was exported by {exporter}"
            return _finish(graph, path, target, described, samples, (first, *refused), started)
        except ExportError as error:
            failure = failure or error
            refused.append(f"{exporter}: {error}")
    raise failure or ExportError(f"model {model.name!r}: no exporter wrote a graph for {reason}")


def _finish(
    graph: Any,
    path: Path,
    target: Target,
    properties: dict[str, object],
    samples: Samples,
    warnings: tuple[str, ...],
    started: float,
) -> Export:
    """Slims, describes and checks a graph, compares its outputs, and puts the file in its place."""
    import onnx

    exporter = str(properties["exporter"])
    if exporter == "kerasdl":
        graph = slim(graph)
    describe(graph, properties)
    try:
        graph = check(graph)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        line = str(error).strip().splitlines()[0]
        raise ExportError(f"{exporter} wrote a graph that is not valid ONNX ({line}); nothing was written") from error
    with _replacing(path) as temporary:
        onnx.save(graph, temporary)
        parity = compare(temporary, samples, target)
    return Export(
        path=path,
        **{field.name: getattr(parity, field.name) for field in dataclasses.fields(parity)},
        exporter=exporter,
        opset=next(each.version for each in graph.opset_import if each.domain in {"", "ai.onnx"}),
        nodes=len(graph.graph.node),
        warnings=warnings,
        seconds=time.perf_counter() - started,
    )


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary file in the same folder, which takes the path's place if nothing was raised."""
    # Not by mkstemp, whose files only their owner can read: this one is to have the rights of any other new file.
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}.onnx")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
