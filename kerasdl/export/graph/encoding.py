"""Writes preprocessing layers: classes as vectors, images at another size."""

from typing import Any

import numpy as np

from kerasdl.export.graph.convolution import enter, leave
from kerasdl.export.graph.plan import Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


@converts("CategoryEncoding")
def category_encoding(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `OneHot`, and the maximum or sum over the columns for several classes a row."""
    layer, value, name = step.layer, writer.as_keras(inputs[0]), step.name
    if layer.output_mode not in {"one_hot", "multi_hot", "count"} or layer.sparse:
        raise UnsupportedError(f"layer {layer.name!r} (CategoryEncoding) encodes by {layer.output_mode!r}")
    indices = writer.as_indices(value, name)
    # onnxruntime has the operator only for a depth of the indices' own type.
    own = "int64" if writer.other_types.get(value.name) == "int64" else "int32"
    depth = writer.constant(f"{name}/classes", np.asarray(layer.num_tokens), own)
    ends = writer.constant(f"{name}/off_on", [0.0, 1.0])
    together = layer.output_mode != "one_hot" and value.rank > 1
    flat = layer.output_mode == "one_hot" and value.rank > 1 and value.shape[-1] == 1
    if flat:
        axes = writer.constant(f"{name}/axis", [-1], "int64")
        indices = writer.node("Squeeze", [indices, axes], f"{name}/column")
    hot = writer.node("OneHot", [indices, depth, ends], f"{name}/one_hot" if together else name, axis=-1)
    if not together:
        return Value(hot, step.shape)
    kind = "ReduceMax" if layer.output_mode == "multi_hot" else "ReduceSum"
    axes = writer.constant(f"{name}/columns", [-2], "int64")
    return Value(writer.node(kind, [hot, axes], name, keepdims=0), step.shape)


@converts("Resizing")
def resizing(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Resize` to a fixed size."""
    layer = step.layer
    if layer.crop_to_aspect_ratio or getattr(layer, "pad_to_aspect_ratio", False) or getattr(layer, "antialias", False):
        raise UnsupportedError(f"layer {layer.name!r} (Resizing) crops, pads or smooths")
    if layer.interpolation not in {"nearest", "bilinear"} or inputs[0].rank != 4:
        raise UnsupportedError(f"layer {layer.name!r} (Resizing) interpolates by {layer.interpolation!r}")
    value = enter(writer, step, inputs[0])
    axes: dict[str, Any] = {"axes": [2, 3]}
    sizes = writer.constant(f"{step.name}/sizes", [layer.height, layer.width], "int64")
    how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if layer.interpolation == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    return leave(step, writer.node("Resize", [value.name, "", "", sizes], step.name, **how, **axes))
