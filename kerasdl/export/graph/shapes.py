"""Writes layers that only move values: flatten, reshape, permute, pad, crop, repeat."""

from kerasdl.export.graph.plan import Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


@converts("Flatten")
def flatten(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Flatten`; where only dense layers read it, the channels stay first and their kernels follow."""
    value, layer = inputs[0], step.layer
    if layer.data_format == "channels_first" and value.rank > 2:
        value = writer.as_keras(value)
        order = [0, *range(2, value.rank), 1]
        name = writer.node("Transpose", [value.name], f"{step.name}/channels_last", perm=order)
        return Value(writer.node("Flatten", [name], step.name, axis=1), step.shape)
    image = tuple(size for size in value.shape[1:] if size is not None)
    # A single place has its channels in the same order either way.
    single = value.channels_first and set(value.shape[1:-1]) == {1}
    if value.channels_first and not single and not (step.any_order and len(image) == value.rank - 1):
        value = writer.as_keras(value)
    if value.rank == 2:
        return Value(value.name, step.shape)
    name = writer.node("Flatten", [value.name], step.name, axis=1)
    return Value(name, step.shape, image=image if value.channels_first and not single else ())


@converts("Reshape")
def reshape(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Reshape`; the batch is what remains, or is kept where another axis is."""
    value = writer.as_keras(inputs[0])
    target = [-1 if size is None else size for size in step.shape[1:]]
    if target.count(-1) > 1:
        raise UnsupportedError(f"layer {step.layer.name!r} (Reshape) has several axes of unknown length")
    sizes = writer.constant(f"{step.name}/shape", [0 if -1 in target else -1, *target], "int64")
    return Value(writer.node("Reshape", [value.name, sizes], step.name), step.shape)


@converts("Permute")
def permute(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Transpose`."""
    value = writer.as_keras(inputs[0])
    return Value(writer.node("Transpose", [value.name], step.name, perm=[0, *step.layer.dims]), step.shape)


@converts("RepeatVector")
def repeat_vector(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Unsqueeze` and `Tile`: `(batch, features)` to `(batch, n, features)`."""
    axis = writer.constant(f"{step.name}/axis", [1], "int64")
    single = writer.node("Unsqueeze", [inputs[0].name, axis], f"{step.name}/unsqueeze")
    times = writer.constant(f"{step.name}/repeats", [1, step.layer.n, 1], "int64")
    return Value(writer.node("Tile", [single, times], step.name), step.shape)


@converts("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D")
def zero_padding(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Pad` in the layout in which the value lies."""
    value = inputs[0]
    begins, ends = _margins(step, step.layer.padding, value)
    pads = writer.constant(f"{step.name}/pads", begins + ends, "int64")
    return Value(writer.node("Pad", [value.name, pads], step.name, mode="constant"), step.shape, value.channels_first)


@converts("Cropping1D", "Cropping2D", "Cropping3D")
def cropping(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Slice` in the layout in which the value lies."""
    value = inputs[0]
    begins, ends = _margins(step, step.layer.cropping, value)
    axes = [axis for axis in range(value.rank) if begins[axis] or ends[axis]]
    if not axes:
        return value
    starts = [begins[axis] for axis in axes]
    # A slice's end counts from the back; nothing cropped there means as far as the axis goes.
    stops = [-ends[axis] if ends[axis] else 2**31 - 1 for axis in axes]
    parts = {"starts": starts, "ends": stops, "axes": axes}
    names = [writer.constant(f"{step.name}/{key}", parts[key], "int64") for key in parts]
    return Value(writer.node("Slice", [value.name, *names], step.name), step.shape, value.channels_first)


def _margins(step: Step, margins: object, value: Value) -> tuple[list[int], list[int]]:
    """Returns the cells before and after, for each axis in the graph."""
    pairs = [margins] if step.kind.endswith("1D") else list(margins)  # type: ignore[call-overload]
    first = 2 if getattr(step.layer, "data_format", None) == "channels_first" else 1
    begins, ends = [0] * value.rank, [0] * value.rank
    for axis, (begin, end) in enumerate(pairs, start=first):
        begins[value.axis(axis)], ends[value.axis(axis)] = int(begin), int(end)
    return begins, ends
