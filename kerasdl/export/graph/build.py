"""Puts the pieces together: plan, fold, write, name the ends."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.export.graph import activations, convolution, dense, merging, normalization, pooling, shapes
from kerasdl.export.graph.fold import simplify
from kerasdl.export.graph.plan import Plan, Source, Step, UnsupportedError, read_plan
from kerasdl.export.graph.registry import CONVERTERS
from kerasdl.export.graph.writer import Value, Writer

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target

GROUPS = (activations, convolution, dense, merging, normalization, pooling, shapes)

# ONNX files carry the version of their container beside that of their operators; 8 is the oldest that holds opset 18.
CONTAINER_VERSION = {18: 8, 19: 9, 20: 9, 21: 10}


def build_graph(model: Any, target: "Target", scaling: "Scaling | None" = None) -> Any:
    """Writes a Keras model as an ONNX model.

    Args:
        model: A built Sequential or functional Keras model.
        target: The names, the opset and the batch of the graph.
        scaling: How raw features become what the model sees; it becomes part of the graph.

    Returns:
        The `onnx.ModelProto`, unchecked.

    Raises:
        UnsupportedError: Something in the model has no ONNX nodes here; the message names it.
    """
    plan = read_plan(model)
    if scaling is not None:
        _scale_input(plan, scaling)
    _check_dtypes(plan)
    simplify(plan)
    writer = Writer(target.opset, _reserved(plan, target))
    values = {source.value: _enter(writer, source, target, len(plan.sources)) for source in plan.sources}
    inputs = [values[source.value].name for source in plan.sources]
    for step in plan.steps:
        if step.kind not in CONVERTERS:
            raise UnsupportedError(f"layer {step.name!r} ({step.kind})")
        values[step.output] = CONVERTERS[step.kind](writer, step, [values[value] for value in step.inputs])
    leaving = [writer.as_keras(values[value]) for value in plan.outputs]
    return _assemble(writer, plan, target, inputs, leaving)


def _scale_input(plan: Plan, scaling: "Scaling") -> None:
    source = plan.sources[0]
    scaled = max([source.value, *(step.output for step in plan.steps), *(each.value for each in plan.sources)]) + 1
    for step in plan.steps:
        step.inputs = [scaled if value == source.value else value for value in step.inputs]
    plan.outputs = [scaled if value == source.value else value for value in plan.outputs]
    weights = {"offset": np.asarray(scaling.offset, "float64"), "scale": np.asarray(scaling.scale, "float64")}
    plan.steps.insert(0, Step("Scaling", "scaling", [source.value], scaled, source.shape, weights=weights))


def _check_dtypes(plan: Plan) -> None:
    for source in plan.sources:
        kinds = {step.kind for step in plan.readers(source.value)}
        whole = source.dtype in {"int32", "int64"} and kinds <= {"Embedding"}
        if source.dtype != "float32" and not whole:
            raise UnsupportedError(f"input {source.name!r} is {source.dtype} and read by {', '.join(sorted(kinds))}")


def _enter(writer: Writer, source: Source, target: "Target", count: int) -> Value:
    name = writer.unique(target.input if count == 1 else source.name)
    if source.dtype != "float32":
        writer.index_names.add(name)
    return Value(name, (None, *source.shape[1:]))


def _assemble(writer: Writer, plan: Plan, target: "Target", inputs: list[str], leaving: list[Value]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    names = _name_outputs(writer, plan, target, leaving)
    batch: str | int = "batch" if target.dynamic_batch else 1
    types = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
    entering = [
        helper.make_tensor_value_info(name, types[source.dtype], _shape(source.shape, batch, name))
        for name, source in zip(inputs, plan.sources, strict=True)
    ]
    results = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, _shape(value.shape, batch, name))
        for name, value in zip(names, leaving, strict=True)
    ]
    constants = [numpy_helper.from_array(contents, name) for name, contents in writer.constants.items()]
    graph = helper.make_graph(writer.nodes, "kerasdl", entering, results, constants)
    operators = [helper.make_opsetid("", target.opset)]
    return helper.make_model(graph, opset_imports=operators, ir_version=CONTAINER_VERSION[target.opset])


def _shape(shape: tuple[int | None, ...], batch: str | int, name: str) -> list[str | int]:
    return [batch, *(f"{name}_{axis}" if size is None else size for axis, size in enumerate(shape[1:], start=1))]


def _reserved(plan: Plan, target: "Target") -> list[str]:
    if len(plan.outputs) > 1:
        return plan.output_names
    return ["probabilities", "outputs"] if target.output == "auto" else [target.output]


def _name_outputs(writer: Writer, plan: Plan, target: "Target", leaving: list[Value]) -> list[str]:
    """Gives the leaving values their public names, and returns these."""
    makers = {node.output[0]: node for node in writer.nodes}
    names: list[str] = []
    renamed: dict[str, str] = {}
    for position, value in enumerate(leaving):
        maker = makers.get(value.name)
        name = target.output
        if name == "auto":
            name = "probabilities" if maker is not None and maker.op_type in {"Softmax", "Sigmoid"} else "outputs"
        if len(leaving) > 1:
            name = plan.output_names[position]
        if name in names:
            name = writer.unique(name)
        old = value.name
        if maker is None or old in renamed:
            old = writer.node("Identity", [renamed.get(old, old)], f"{name}/copy")
        writer.rename(old, name)
        renamed.setdefault(value.name, name)
        names.append(name)
    return names
