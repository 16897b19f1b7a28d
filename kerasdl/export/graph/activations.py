"""Writes activations: those fused into layers, `Activation`, and the layers that are nothing but one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from kerasdl.export.graph.plan import Step, UnsupportedError, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

# Keras' name -> the one ONNX operator that computes it, with its attributes.
SINGLE: dict[str, tuple[str, dict[str, float]]] = {
    "celu": ("Celu", {}),
    "elu": ("Elu", {}),
    "exponential": ("Exp", {}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_silu": ("HardSwish", {}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.2}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}
CLIPPED: dict[str, tuple[float, float]] = {"relu6": (0.0, 6.0), "hard_tanh": (-1.0, 1.0)}


def is_linear(function: Any) -> bool:
    """Tells whether an activation does nothing."""
    import keras

    return function is None or function is keras.activations.linear


def is_known(function: Any) -> bool:
    """Tells whether an activation is one of Keras' that are written, by identity and not by name alone."""
    import keras

    name = getattr(function, "__name__", "")
    known = SINGLE.keys() | CLIPPED.keys() | COMPOSED.keys() | {"softmax", "log_softmax", "linear"}
    return name in known and getattr(keras.activations, name, None) is function


@converts("Activation")
def activation(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes a Keras activation function."""
    value, name = inputs[0], step.activation.__name__
    if name in SINGLE:
        kind, attributes = SINGLE[name]
        return like(value, writer.node(kind, [value.name], step.name, **attributes))
    if name in CLIPPED:
        return _clip(writer, step.name, value, *CLIPPED[name])
    if name in {"softmax", "log_softmax"}:
        kind = "Softmax" if name == "softmax" else "LogSoftmax"
        return like(value, writer.node(kind, [value.name], step.name, axis=value.axis(-1)))
    if name in COMPOSED:
        return like(value, COMPOSED[name](writer, step.name, value.name))
    raise UnsupportedError(f"activation {name!r} of {step.name!r}")


def _silu(writer: Writer, name: str, x: str) -> str:
    return writer.node("Mul", [x, writer.node("Sigmoid", [x], f"{name}/sigmoid")], name)


def _log_sigmoid(writer: Writer, name: str, x: str) -> str:
    # log(sigmoid(x)) = -softplus(-x), which does not underflow for very negative x.
    softplus = writer.node("Softplus", [writer.node("Neg", [x], f"{name}/negative")], f"{name}/softplus")
    return writer.node("Neg", [softplus], name)


def _gelu(writer: Writer, name: str, x: str) -> str:
    if writer.opset >= 20:
        return writer.node("Gelu", [x], name)
    # x / 2 * (1 + erf(x / sqrt(2))), in the form that onnxruntime fuses into one kernel.
    root = writer.constant(f"{name}/root", np.sqrt(2.0))
    error = writer.node("Erf", [writer.node("Div", [x, root], f"{name}/divide")], f"{name}/erf")
    plus = writer.node("Add", [error, writer.constant(f"{name}/one", 1.0)], f"{name}/add")
    return writer.node(
        "Mul", [writer.node("Mul", [x, plus], f"{name}/product"), writer.constant(f"{name}/half", 0.5)], name
    )


COMPOSED: dict[str, Callable[[Writer, str, str], str]] = {"silu": _silu, "log_sigmoid": _log_sigmoid, "gelu": _gelu}


@converts("ReLU")
def relu_layer(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `ReLU` with its ceiling and its slope below zero."""
    layer, value = step.layer, inputs[0]
    slope, ceiling = float(layer.negative_slope or 0.0), layer.max_value
    if layer.threshold:
        raise UnsupportedError(f"layer {layer.name!r} (ReLU) has a threshold")
    if ceiling is None:
        if slope == 0.0:
            return like(value, writer.node("Relu", [value.name], step.name))
        return like(value, writer.node("LeakyRelu", [value.name], step.name, alpha=slope))
    if slope == 0.0:
        return _clip(writer, step.name, value, 0.0, float(ceiling))
    leaky = writer.node("LeakyRelu", [value.name], f"{step.name}/leaky", alpha=slope)
    top = writer.constant(f"{step.name}/ceiling", np.array(float(ceiling)))
    return like(value, writer.node("Min", [leaky, top], step.name))


@converts("LeakyReLU")
def leaky_relu_layer(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `LeakyReLU`."""
    slope = float(step.layer.negative_slope)
    return like(inputs[0], writer.node("LeakyRelu", [inputs[0].name], step.name, alpha=slope))


@converts("ELU")
def elu_layer(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `ELU`."""
    return like(inputs[0], writer.node("Elu", [inputs[0].name], step.name, alpha=float(step.layer.alpha)))


@converts("PReLU")
def prelu_layer(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `PReLU`; its slopes are laid out as the value is."""
    value = inputs[0]
    slopes = array(step.layer.alpha)[np.newaxis].transpose(value.order())[0]
    slope = writer.constant(f"{step.name}/alpha", slopes)
    return like(value, writer.node("PRelu", [value.name, slope], step.name))


@converts("Softmax")
def softmax_layer(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Softmax` over one axis, its parts over several."""
    axis, value, name = step.layer.axis, inputs[0], step.name
    axes = [axis] if isinstance(axis, int) else list(axis)
    if len(axes) == 1:
        return like(value, writer.node("Softmax", [value.name], name, axis=value.axis(axes[0])))
    largest = writer.reduce("ReduceMax", value, axes, f"{name}/largest")
    power = writer.node("Exp", [writer.node("Sub", [value.name, largest], f"{name}/difference")], f"{name}/power")
    total = writer.reduce("ReduceSum", replace(value, name=power), axes, f"{name}/total")
    return like(value, writer.node("Div", [power, total], name))


def _clip(writer: Writer, name: str, value: Value, low: float, high: float) -> Value:
    bounds = [writer.constant(f"{name}/{end}", bound) for end, bound in (("low", low), ("high", high))]
    return like(value, writer.node("Clip", [value.name, *bounds], name))


def like(value: Value, name: str) -> Value:
    """Returns a value that lies as another does."""
    return Value(name, value.shape, value.channels_first)
