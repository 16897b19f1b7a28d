"""Puts the pieces together: plan, fold, write, name the ends."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.export.graph import (
    activations,
    attention,
    convolution,
    dense,
    encoding,
    merging,
    normalization,
    operation_shapes,
    operations,
    pooling,
    recurrent,
    shapes,
)
from kerasdl.export.graph.fold import simplify
from kerasdl.export.graph.plan import Plan, Source, Step, UnsupportedError, blaming
from kerasdl.export.graph.reading import read_plan
from kerasdl.export.graph.registry import CONVERTERS
from kerasdl.export.graph.writer import Value, Writer

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target

# What registers its converters by being imported.
GROUPS = (
    activations,
    attention,
    convolution,
    dense,
    encoding,
    merging,
    normalization,
    operation_shapes,
    operations,
    pooling,
    recurrent,
    shapes,
)

# ONNX files carry the version of their container beside that of their operators; 8 is the oldest that holds opset 18.
# The types that an input may have, and what ONNX calls them.
TYPES = {
    "bool": "BOOL",
    "float16": "FLOAT16",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "int8": "INT8",
    "uint8": "UINT8",
}

# Steps that read whole numbers as they are.
INDICES = {"CategoryEncoding", "Embedding"}

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
    refused: dict[str, UnsupportedError] = {}
    while True:
        try:
            return _build(read_plan(model, refused), target, scaling)
        except UnsupportedError as error:
            # What a layer does in a way that has no converter may be a sum of operations that have.
            known = next((first for name, first in refused.items() if f"{error.step}/".startswith(f"{name}/")), None)
            if known is not None or error.step is None:
                raise (known or error) from error
            refused[error.step] = error


def _build(plan: Plan, target: "Target", scaling: "Scaling | None") -> Any:
    if scaling is not None:
        _scale_input(plan, scaling)
    simplify(plan)
    writer = Writer(target.opset, _reserved(plan, target))
    values = {source.value: _enter(writer, source, target, len(plan.sources)) for source in plan.sources}
    inputs = [values[source.value].name for source in plan.sources]
    for step in plan.steps:
        with blaming(step):
            inputs_here = [_readable(writer, step, values[value]) for value in step.inputs]
            values[step.output] = CONVERTERS[step.kind](writer, step, inputs_here)
    leaving = [writer.as_float(writer.as_keras(values[value])) for value in plan.outputs]
    return _assemble(writer, plan, target, inputs, leaving)


def _scale_input(plan: Plan, scaling: "Scaling") -> None:
    source = plan.sources[0]
    scaled = max([source.value, *(step.output for step in plan.steps), *(each.value for each in plan.sources)]) + 1
    for step in plan.steps:
        step.inputs = [scaled if value == source.value else value for value in step.inputs]
    plan.outputs = [scaled if value == source.value else value for value in plan.outputs]
    weights = {"offset": np.asarray(scaling.offset, "float64"), "scale": np.asarray(scaling.scale, "float64")}
    plan.steps.insert(0, Step("Scaling", "scaling", [source.value], scaled, source.shape, weights=weights))


def _enter(writer: Writer, source: Source, target: "Target", count: int) -> Value:
    if source.dtype not in TYPES:
        raise UnsupportedError(f"input {source.name!r} is {source.dtype}")
    name = writer.unique(target.input if count == 1 else source.name)
    if source.dtype != "float32":
        writer.other_types[name] = source.dtype
    return Value(name, (None, *source.shape[1:]))


def _readable(writer: Writer, step: Step, value: Value) -> Value:
    """Casts an input of another type once, as Keras' layers do with what they read, but for those that take indices."""
    return value if step.kind in INDICES else writer.as_float(value)


def _assemble(writer: Writer, plan: Plan, target: "Target", inputs: list[str], leaving: list[Value]) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    names = _name_outputs(writer, plan, target, leaving)
    batch: str | int = "batch" if target.dynamic_batch else 1
    entering = [
        helper.make_tensor_value_info(
            name, getattr(TensorProto, TYPES[source.dtype]), _shape(source.shape, batch, name)
        )
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
