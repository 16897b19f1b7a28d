"""Writes operations of `keras.ops` that work value by value or along axes."""

from typing import Any

import numpy as np

from kerasdl.export.graph.activations import SINGLE, like
from kerasdl.export.graph.merging import together
from kerasdl.export.graph.plan import Link, Step, UnsupportedError, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

# The class in keras.ops -> the one ONNX operator that computes it.
UNARY = {
    "Abs": "Abs",
    "Absolute": "Abs",
    "Ceil": "Ceil",
    "Cos": "Cos",
    "Cosh": "Cosh",
    "Erf": "Erf",
    "Exp": "Exp",
    "Floor": "Floor",
    "Log": "Log",
    "Negative": "Neg",
    "Reciprocal": "Reciprocal",
    "Relu": "Relu",
    "Round": "Round",
    "Selu": "Selu",
    "Sigmoid": "Sigmoid",
    "Sign": "Sign",
    "Sin": "Sin",
    "Sinh": "Sinh",
    "Softplus": "Softplus",
    "Softsign": "Softsign",
    "Sqrt": "Sqrt",
    "Tan": "Tan",
    "Tanh": "Tanh",
}
BINARY = {
    "Add": "Add",
    "Divide": "Div",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Power": "Pow",
    "Subtract": "Sub",
    "TrueDivide": "Div",
}
REDUCTIONS = {
    "Logsumexp": "ReduceLogSumExp",
    "Max": "ReduceMax",
    "Mean": "ReduceMean",
    "Min": "ReduceMin",
    "Prod": "ReduceProd",
    "Sum": "ReduceSum",
}


@converts(*(f"ops.{kind}" for kind in UNARY))
def unary(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the one operator."""
    return like(inputs[0], writer.node(UNARY[step.kind.removeprefix("ops.")], [inputs[0].name], step.name))


@converts(*(f"ops.{kind}" for kind in BINARY))
def binary(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes one operator on two tensors, or a tensor and a constant, that are broadcast as in NumPy."""
    operands = list(step.arguments.values())
    values = list(inputs)
    if len({value.rank for value in values}) > 1:
        values = [writer.as_keras(value) for value in values]
    elif len(values) == 2:
        values = together(writer, step, values)
    elif np.ndim(numbers_of(next(each for each in operands if not isinstance(each, Link)))) > values[0].rank:
        raise UnsupportedError(f"{step.name!r} broadcasts to more axes")
    layout = values[0]
    names = [
        values[each.place].name if isinstance(each, Link) else _constant(writer, step, layout, each)
        for each in operands
    ]
    if len(names) != 2:
        raise UnsupportedError(f"{step.name!r} ({step.kind}) takes {len(names)} arguments")
    kind = BINARY[step.kind.removeprefix("ops.")]
    return Value(writer.node(kind, names, step.name), step.shape, layout.channels_first)


def numbers_of(argument: Any) -> np.ndarray:
    """Returns a constant argument as an array."""
    if isinstance(argument, bool | int | float | np.ndarray | np.generic):
        return np.asarray(argument, "float64")
    if hasattr(argument, "shape"):
        return array(argument)
    raise UnsupportedError(f"an operation takes {type(argument).__name__}")


def _constant(writer: Writer, step: Step, value: Value, argument: Any) -> str:
    """Writes a constant, its axes in the order in which those of the value beside it lie."""
    numbers = numbers_of(argument)
    if value.channels_first and numbers.ndim:
        numbers = numbers.reshape((1,) * (value.rank - numbers.ndim) + numbers.shape).transpose(value.order())
    return writer.constant(f"{step.name}/constant", numbers)


@converts("ops.Matmul")
def matmul(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `MatMul`."""
    values = [writer.as_keras(value) for value in inputs]
    names = [
        values[each.place].name
        if isinstance(each, Link)
        else writer.constant(f"{step.name}/constant", numbers_of(each))
        for each in step.arguments.values()
    ]
    return Value(writer.node("MatMul", names, step.name), step.shape)


@converts("ops.Rsqrt")
def rsqrt(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Sqrt` and `Reciprocal`."""
    root = writer.node("Sqrt", [inputs[0].name], f"{step.name}/root")
    return like(inputs[0], writer.node("Reciprocal", [root], step.name))


@converts("ops.Square")
def square(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Mul` of a value with itself."""
    return like(inputs[0], writer.node("Mul", [inputs[0].name, inputs[0].name], step.name))


@converts("ops.Silu")
def silu(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Sigmoid` and `Mul`."""
    sigmoid = writer.node("Sigmoid", [inputs[0].name], f"{step.name}/sigmoid")
    return like(inputs[0], writer.node("Mul", [inputs[0].name, sigmoid], step.name))


@converts("ops.Clip")
def clip(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Clip` between two numbers."""
    ends = {"low": step.layer.x_min, "high": step.layer.x_max}
    if any(np.ndim(end) for end in ends.values()):
        raise UnsupportedError(f"{step.name!r} (Clip) has a limit for each value")
    bounds = [writer.constant(f"{step.name}/{key}", numbers_of(end)) for key, end in ends.items()]
    return like(inputs[0], writer.node("Clip", [inputs[0].name, *bounds], step.name))


@converts("ops.LeakyRelu", "ops.Elu", "ops.Celu")
def sloped(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the operator with its slope."""
    kind = step.kind.removeprefix("ops.")
    slope = step.layer.negative_slope if kind == "LeakyRelu" else step.layer.alpha
    return like(inputs[0], writer.node(kind, [inputs[0].name], step.name, alpha=float(slope)))


@converts("ops.HardSigmoid", "ops.HardSilu")
def hard(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the operator with Keras' slope of 1/6."""
    name = "hard_sigmoid" if step.kind.endswith("Sigmoid") else "hard_silu"
    kind, attributes = SINGLE[name]
    return like(inputs[0], writer.node(kind, [inputs[0].name], step.name, **attributes))


@converts("ops.Gelu")
def gelu(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the exact GELU, or x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) for the approximate one."""
    value, name = inputs[0], step.name
    if not step.layer.approximate:
        from kerasdl.export.graph.activations import COMPOSED

        return like(value, COMPOSED["gelu"](writer, name, value.name))
    if writer.opset >= 20:
        return like(value, writer.node("Gelu", [value.name], name, approximate="tanh"))
    number = {"three": 3.0, "cubic": 0.044715, "root": np.sqrt(2 / np.pi), "one": 1.0, "half": 0.5}
    names = {key: writer.constant(f"{name}/{key}", each) for key, each in number.items()}
    cube = writer.node("Pow", [value.name, names["three"]], f"{name}/cube")
    term = writer.node("Mul", [cube, names["cubic"]], f"{name}/term")
    inner = writer.node("Mul", [writer.node("Add", [value.name, term], f"{name}/sum"), names["root"]], f"{name}/inner")
    plus = writer.node("Add", [writer.node("Tanh", [inner], f"{name}/tanh"), names["one"]], f"{name}/plus")
    half = writer.node("Mul", [value.name, names["half"]], f"{name}/product")
    return like(value, writer.node("Mul", [half, plus], name))


@converts("ops.Softmax", "ops.LogSoftmax")
def softmax(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Softmax` over one axis."""
    axis = step.layer.axis
    if not isinstance(axis, int):
        raise UnsupportedError(f"{step.name!r} ({step.kind}) goes over several axes")
    value = inputs[0]
    return like(value, writer.node(step.kind.removeprefix("ops."), [value.name], step.name, axis=value.axis(axis)))


@converts(*(f"ops.{kind}" for kind in REDUCTIONS))
def reduction(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the reduction over some axes of the Keras shape, in the layout in which the value lies where that fits."""
    layer, value = step.layer, inputs[0]
    if getattr(layer, "initial", None) is not None or getattr(layer, "dtype", None) is not None:
        raise UnsupportedError(f"{step.name!r} ({step.kind}) has a first value or a type")
    given = range(value.rank) if layer.axis is None else layer.axis
    axes = {axis % value.rank for axis in given}
    places = set(range(1, value.rank - 1))
    if not (layer.keepdims or places <= axes):
        value = writer.as_keras(value)
    name = writer.reduce(REDUCTIONS[step.kind.removeprefix("ops.")], value, axes, step.name, layer.keepdims)
    return Value(name, step.shape, value.channels_first and layer.keepdims)
