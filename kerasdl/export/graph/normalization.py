"""Writes normalization layers that could not be folded away."""

from dataclasses import replace

import numpy as np

from kerasdl.export.graph.activations import like
from kerasdl.export.graph.plan import Step, UnsupportedError, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


@converts("BatchNormalization")
def batch_normalization(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `BatchNormalization` where the channels stand second, else a product and a sum."""
    value, layer = inputs[0], step.layer
    factor, shift = step.weights["factor"], step.weights["shift"]
    axis = value.axis(layer.axis)
    if axis == 1 and value.rank > 2:
        numbers = {
            "gamma": factor,
            "beta": shift,
            "moving_mean": np.zeros_like(factor),
            "moving_variance": np.ones_like(factor),
        }
        names = [writer.constant(f"{step.name}/{key}", numbers[key]) for key in numbers]
        name = writer.node("BatchNormalization", [value.name, *names], step.name, epsilon=0.0)
    else:
        shape = [1] * (value.rank - axis)
        shape[0] = -1
        scale = writer.constant(f"{step.name}/factor", factor.reshape(shape))
        product = writer.node("Mul", [value.name, scale], f"{step.name}/product")
        name = writer.node("Add", [product, writer.constant(f"{step.name}/shift", shift.reshape(shape))], step.name)
    return Value(name, value.shape, value.channels_first)


@converts("LayerNormalization")
def layer_normalization(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `LayerNormalization` over the last axes, else its parts."""
    layer, value = step.layer, inputs[0]
    if getattr(layer, "rms_scaling", False):
        raise UnsupportedError(f"layer {layer.name!r} (LayerNormalization) scales by the root mean square")
    axes = sorted(axis % value.rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis))
    gamma = array(layer.gamma) if layer.gamma is not None else None
    beta = array(layer.beta) if layer.beta is not None else None
    if axes != list(range(axes[0], value.rank)):
        return _by_parts(writer, step, value, axes, gamma, beta)
    value = writer.as_keras(value)
    ones = np.ones([size or 1 for size in value.shape[axes[0] :]])
    names = [value.name, writer.constant(f"{step.name}/gamma", ones if gamma is None else gamma)]
    if beta is not None:
        names.append(writer.constant(f"{step.name}/beta", beta))
    name = writer.node("LayerNormalization", names, step.name, axis=axes[0], epsilon=float(layer.epsilon))
    return Value(name, value.shape)


def _by_parts(
    writer: Writer, step: Step, value: Value, axes: list[int], gamma: np.ndarray | None, beta: np.ndarray | None
) -> Value:
    """Writes `(x - mean) / sqrt(variance + epsilon) * gamma + beta` over any axes, where the value lies."""
    name = step.name
    centred = writer.node(
        "Sub", [value.name, writer.reduce("ReduceMean", value, axes, f"{name}/mean")], f"{name}/centred"
    )
    square = writer.node("Mul", [centred, centred], f"{name}/square")
    variance = writer.reduce("ReduceMean", replace(value, name=square), axes, f"{name}/variance")
    root = _root(writer, name, variance, step.layer.epsilon)
    shape = _across(value, axes)
    parts = {
        key: numbers.reshape(shape).transpose(value.order())
        for key, numbers in (("gamma", gamma), ("beta", beta))
        if numbers is not None
    }
    return like(value, _affine(writer, name, writer.node("Div", [centred, root], _inner(name, parts)), parts))


def _across(value: Value, axes: list[int]) -> list[int]:
    """Returns the shape of gains over some axes that is broadcast to a value; their lengths are always known."""
    return [int(size or 1) if axis in axes else 1 for axis, size in enumerate(value.shape)]


def _root(writer: Writer, name: str, mean: str, epsilon: float) -> str:
    padded = writer.node("Add", [mean, writer.constant(f"{name}/epsilon", float(epsilon))], f"{name}/padded")
    return writer.node("Sqrt", [padded], f"{name}/root")


def _inner(name: str, parts: dict[str, np.ndarray]) -> str:
    return f"{name}/normal" if parts else name


def _affine(writer: Writer, name: str, value: str, parts: dict[str, np.ndarray]) -> str:
    """Writes the product with `gamma` and the sum with `beta`, where they are there; the last node bears the name."""
    for kind, key in (("Mul", "gamma"), ("Add", "beta")):
        if key in parts:
            last = key == "beta" or "beta" not in parts
            operands = [value, writer.constant(f"{name}/{key}", parts[key])]
            value = writer.node(kind, operands, name if last else f"{name}/scaled")
    return value


@converts("RMSNormalization")
def rms_normalization(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `x / sqrt(mean(x^2) + epsilon) * gamma`."""
    layer, value, name = step.layer, inputs[0], step.name
    axes = [axis % value.rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis)]
    square = writer.node("Mul", [value.name, value.name], f"{name}/square")
    mean = writer.reduce("ReduceMean", replace(value, name=square), axes, f"{name}/mean")
    shape = _across(value, axes)
    parts = {"gamma": array(layer.scale).reshape(shape).transpose(value.order())}
    normal = writer.node("Div", [value.name, _root(writer, name, mean, layer.epsilon)], _inner(name, parts))
    return like(value, _affine(writer, name, normal, parts))


@converts("UnitNormalization")
def unit_normalization(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `x / max(|x|, 1e-6)`."""
    value, name, axis = inputs[0], step.name, step.layer.axis
    axes = [each % value.rank for each in ([axis] if isinstance(axis, int) else axis)]
    length = writer.reduce("ReduceL2", value, axes, f"{name}/length")
    longest = writer.node("Max", [length, writer.constant(f"{name}/least", 1e-6)], f"{name}/divisor")
    return like(value, writer.node("Div", [value.name, longest], name))


@converts("GroupNormalization")
def group_normalization(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `InstanceNormalization` on `(batch, groups, rest)`, between two `Reshape`, and the gains by channel.

    Source: Wu & He 2018, https://arxiv.org/abs/1803.08494; from opset 21 on ONNX has the operator itself, which
    onnxruntime runs as these.
    """
    layer, value, name = step.layer, inputs[0], step.name
    last = layer.axis % value.rank == value.rank - 1
    if not last and layer.axis != 1:
        raise UnsupportedError(f"layer {layer.name!r} (GroupNormalization) has its channels on axis {layer.axis}")
    value = writer.as_channels_first(value) if last else writer.as_keras(value)
    channels = int(step.shape[layer.axis] or 1)
    groups = channels if layer.groups == -1 else layer.groups
    into = writer.constant(f"{name}/groups", [0, groups, -1], "int64")
    grouped = writer.node("Reshape", [value.name, into], f"{name}/grouped")
    parts = {"scale": np.ones(groups), "offset": np.zeros(groups)}
    names = [grouped, *(writer.constant(f"{name}/{key}", part) for key, part in parts.items())]
    normal = writer.node("InstanceNormalization", names, f"{name}/normal", epsilon=float(layer.epsilon))
    sizes = [value.shape[axis] for axis in value.order()]
    if sizes[1:].count(None):
        shape = writer.node("Shape", [value.name], f"{name}/shape")
    else:
        shape = writer.constant(f"{name}/shape", [0, *(size or 0 for size in sizes[1:])], "int64")
    wide = (1, -1, *[1] * (value.rank - 2))
    gains = {key: getattr(layer, key) for key in ("gamma", "beta") if getattr(layer, key, None) is not None}
    affine = {key: array(gain).reshape(wide) for key, gain in gains.items()}
    back = writer.node("Reshape", [normal, shape], f"{name}/back" if affine else name)
    return like(value, _affine(writer, name, back, affine))
