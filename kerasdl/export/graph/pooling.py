"""Writes pooling, global pooling and upsampling."""

from typing import Any

from kerasdl.export.graph.convolution import enter, leave, padding_attributes
from kerasdl.export.graph.plan import Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

RANKS = ("1D", "2D", "3D")


@converts(*(f"{kind}Pooling{rank}" for kind in ("Max", "Average") for rank in RANKS))
def pooling(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `MaxPool` or `AveragePool`; padded cells do not count in an average."""
    value, layer = enter(writer, step, inputs[0]), step.layer
    window = tuple(layer.pool_size)
    attributes: dict[str, Any] = {
        "kernel_shape": list(window),
        "strides": list(layer.strides),
        **padding_attributes(step, value, window),
    }
    name, kind = value.name, "MaxPool" if step.kind.startswith("Max") else "AveragePool"
    if kind == "AveragePool" and layer.padding == "same" and _repeats_edges(attributes):
        pads = attributes.pop("pads")
        half = len(pads) // 2
        cells = writer.constant(f"{step.name}/pads", [0, 0, *pads[:half], 0, 0, *pads[half:]], "int64")
        name = writer.node("Pad", [name, cells], f"{step.name}/edges", mode="edge")
    return leave(step, writer.node(kind, [name], step.name, **attributes))


def _repeats_edges(attributes: dict[str, Any]) -> bool:
    """Tells whether Keras averages over repeated edge cells: it does on torch alone, where padding is uneven.

    The file is to give what the model gave when it was trained, so it follows the running backend.
    """
    import keras

    if keras.backend.backend() != "torch":
        return False
    pads = attributes.get("pads")
    if pads is None:
        raise UnsupportedError("average pooling with padding 'same' over sizes that are not fixed, on torch,")
    return bool(pads[: len(pads) // 2] != pads[len(pads) // 2 :])


@converts(*(f"Global{kind}Pooling{rank}" for kind in ("Max", "Average") for rank in RANKS))
def global_pooling(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes the mean or maximum over all places, where the value lies; no value is moved for it."""
    value, layer = inputs[0], step.layer
    keeps = layer.keepdims or step.keeps_axes
    mean = step.kind.startswith("GlobalAverage")
    if value.channels_first and layer.data_format != "channels_first":
        kind = "GlobalAveragePool" if mean else "GlobalMaxPool"
        if keeps:
            return leave(step, writer.node(kind, [value.name], step.name))
        pooled = writer.node(kind, [value.name], f"{step.name}/pool")
        return Value(writer.node("Flatten", [pooled], step.name, axis=1), step.shape)
    value = writer.as_keras(value)
    first = 2 if layer.data_format == "channels_first" else 1
    axes = writer.constant(f"{step.name}/axes", list(range(first, first + value.rank - 2)), "int64")
    kind, keep = "ReduceMean" if mean else "ReduceMax", int(keeps)
    return Value(writer.node(kind, [value.name, axes], step.name, keepdims=keep), step.shape)


@converts("UpSampling1D", "UpSampling2D", "UpSampling3D")
def upsampling(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Resize`: each cell repeated, or bilinear between the cells' middles."""
    layer = step.layer
    how = getattr(layer, "interpolation", "nearest")
    if how not in {"nearest", "bilinear"}:
        raise UnsupportedError(f"layer {layer.name!r} ({step.kind}) interpolates by {how!r}")
    times = [layer.size] if isinstance(layer.size, int) else list(layer.size)
    if step.kind == "UpSampling1D":
        # This layer alone has no data_format: it repeats axis 1 of (batch, steps, features).
        value, factors = writer.as_keras(inputs[0]), [1.0, *times, 1.0]
    else:
        value, factors = enter(writer, step, inputs[0]), [1.0, 1.0, *times]
    scales = writer.constant(f"{step.name}/scales", factors)
    attributes: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if how == "nearest":
        attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    name = writer.node("Resize", [value.name, "", scales], step.name, **attributes)
    return Value(name, step.shape) if step.kind == "UpSampling1D" else leave(step, name)
