"""Writes normalization layers that could not be folded away."""

import numpy as np

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
    """Writes `LayerNormalization` over the last axes."""
    layer, value = step.layer, writer.as_keras(inputs[0])
    axes = sorted(axis % value.rank for axis in layer.axis)
    if axes != list(range(axes[0], value.rank)) or getattr(layer, "rms_scaling", False):
        raise UnsupportedError(f"layer {layer.name!r} (LayerNormalization) is not over the last axes")
    shape = value.shape[axes[0] :]
    gamma = array(layer.gamma) if layer.gamma is not None else np.ones([size or 1 for size in shape])
    names = [value.name, writer.constant(f"{step.name}/gamma", gamma)]
    if layer.beta is not None:
        names.append(writer.constant(f"{step.name}/beta", array(layer.beta)))
    name = writer.node("LayerNormalization", names, step.name, axis=axes[0], epsilon=float(layer.epsilon))
    return Value(name, value.shape)
