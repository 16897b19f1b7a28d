"""Writes dense layers and embeddings."""

import numpy as np

from kerasdl.export.graph.plan import Step, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


@converts("Dense")
def dense(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Gemm` for `(batch, features)`, `MatMul` and `Add` for more axes."""
    value = writer.as_keras(inputs[0])
    weights = step.weights["kernel"]
    if value.image:
        # The features were flattened with the channels first; the kernel's rows follow them, and no value moves.
        order = [len(value.image) - 1, *range(len(value.image) - 1), len(value.image)]
        weights = weights.reshape(*value.image, -1).transpose(order).reshape(weights.shape)
    kernel = writer.constant(f"{step.name}/kernel", weights)
    bias = writer.constant(f"{step.name}/bias", step.weights["bias"]) if "bias" in step.weights else None
    if value.rank == 2 and bias is not None:
        return Value(writer.node("Gemm", [value.name, kernel, bias], step.name), step.shape)
    product = writer.node("MatMul", [value.name, kernel], f"{step.name}/product" if bias else step.name)
    return Value(writer.node("Add", [product, bias], step.name) if bias else product, step.shape)


@converts("Embedding")
def embedding(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Gather`; indices that come as other numbers are cast first, as Keras does."""
    layer, value = step.layer, writer.as_keras(inputs[0])
    table = writer.constant(f"{step.name}/embeddings", array(layer.embeddings))
    indices = writer.as_indices(value, step.name)
    return Value(writer.node("Gather", [table, indices], step.name, axis=0), step.shape)


@converts("Scaling")
def scaling(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `(x - offset) / scale`, leaving out what does nothing."""
    value = writer.as_keras(inputs[0])
    offset, scale, name = step.weights["offset"], step.weights["scale"], value.name
    if np.any(offset != 0):
        name = writer.node("Sub", [name, writer.constant(f"{step.name}/offset", offset)], f"{step.name}/subtract")
    if np.any(scale != 1):
        name = writer.node("Div", [name, writer.constant(f"{step.name}/scale", scale)], f"{step.name}/divide")
    return Value(name, value.shape)
