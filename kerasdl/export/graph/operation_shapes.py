"""Writes operations of `keras.ops` that only move values."""

from typing import Any

from kerasdl.export.graph.merging import together
from kerasdl.export.graph.plan import Link, Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

# An end that lies behind that of any axis.
BEHIND = 2**31 - 1


@converts("ops.Reshape")
def reshape(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Reshape`; one length at most may be open."""
    value = writer.as_keras(inputs[0])
    given = [-1 if size is None else int(size) for size in step.layer.newshape]
    sizes = [size if size is not None else -1 for size in step.shape] if given.count(-1) > 1 else given
    if sizes.count(-1) > 1 and sizes[0] == -1 and value.shape[0] is None:
        sizes[0] = 0
    if sizes.count(-1) > 1:
        raise UnsupportedError(f"{step.name!r} (Reshape) has several axes of unknown length")
    shape = writer.constant(f"{step.name}/shape", sizes, "int64")
    return Value(writer.node("Reshape", [value.name, shape], step.name), step.shape)


@converts("ops.Transpose", "ops.Swapaxes", "ops.Moveaxis")
def transpose(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Transpose`."""
    value = writer.as_keras(inputs[0])
    order = _order(step, value.rank)
    return Value(writer.node("Transpose", [value.name], step.name, perm=order), step.shape)


def _order(step: Step, rank: int) -> list[int]:
    layer, order = step.layer, list(range(rank))
    if step.kind == "ops.Transpose":
        return order[::-1] if layer.axes is None else [axis % rank for axis in layer.axes]
    if step.kind == "ops.Swapaxes":
        first, second = layer.axis1 % rank, layer.axis2 % rank
        order[first], order[second] = order[second], order[first]
        return order
    source, destination = ([axis % rank for axis in axes] for axes in (layer.source, layer.destination))
    order = [axis for axis in order if axis not in source]
    for place, axis in sorted(zip(destination, source, strict=True)):
        order.insert(place, axis)
    return order


@converts("ops.ExpandDims", "ops.Squeeze")
def unsqueeze(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Unsqueeze` or `Squeeze`."""
    value, layer = writer.as_keras(inputs[0]), step.layer
    kind = "Unsqueeze" if step.kind == "ops.ExpandDims" else "Squeeze"
    axes = layer.axis
    if axes is None:
        axes = [axis for axis, size in enumerate(value.shape) if size == 1]
    rank = len(step.shape) if kind == "Unsqueeze" else value.rank
    numbers = sorted(axis % rank for axis in ([axes] if isinstance(axes, int) else axes))
    names = [value.name, writer.constant(f"{step.name}/axes", numbers, "int64")]
    return Value(writer.node(kind, names, step.name), step.shape)


@converts("ops.Concatenate")
def concatenate(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Concat`."""
    if not all(isinstance(each, Link) for each in next(iter(step.arguments.values()))):
        raise UnsupportedError(f"{step.name!r} (Concatenate) takes a constant")
    values = together(writer, step, inputs)
    axis = values[0].axis(step.layer.axis)
    name = writer.node("Concat", [value.name for value in values], step.name, axis=axis)
    return Value(name, step.shape, values[0].channels_first)


@converts("ops.Stack")
def stack(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Unsqueeze` for each value and `Concat`."""
    axis = step.layer.axis % len(step.shape)
    axes = writer.constant(f"{step.name}/axis", [axis], "int64")
    names = [
        writer.node("Unsqueeze", [writer.as_keras(value).name, axes], f"{step.name}/unsqueeze") for value in inputs
    ]
    return Value(writer.node("Concat", names, step.name, axis=axis), step.shape)


@converts("ops.GetItem")
def get_item(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Slice` for ranges, `Squeeze` for the axes of single numbers, `Unsqueeze` for new axes."""
    value = writer.as_keras(inputs[0])
    keys = _keys(step, value.rank)
    cuts: list[tuple[int, int, int, int]] = []
    singles, fresh = [], []
    axis = place = 0
    for key in keys:
        if key is None:
            fresh.append(place)
            place += 1
            continue
        if isinstance(key, int):
            cuts.append((axis, key, key + 1 if key != -1 else BEHIND, 1))
            singles.append(axis)
        else:
            if key != slice(None):
                cuts.append((axis, *_range(step, key)))
            place += 1
        axis += 1
    name = value.name
    if cuts:
        parts = dict(zip(("axes", "starts", "ends", "steps"), zip(*cuts, strict=True), strict=True))
        names = [
            writer.constant(f"{step.name}/{key}", parts[key], "int64") for key in ("starts", "ends", "axes", "steps")
        ]
        name = writer.node("Slice", [name, *names], f"{step.name}/slice" if singles or fresh else step.name)
    for kind, axes in (("Squeeze", singles), ("Unsqueeze", fresh)):
        if axes:
            numbers = writer.constant(f"{step.name}/{kind.lower()}_axes", axes, "int64")
            name = writer.node(kind, [name, numbers], step.name)
    return Value(name, step.shape)


def _keys(step: Step, rank: int) -> list[Any]:
    key = step.arguments["key"]
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if not all(each is None or each is Ellipsis or isinstance(each, int | slice) for each in keys):
        raise UnsupportedError(f"{step.name!r} takes the places of one tensor in another")
    taken = sum(1 for each in keys if each is not None and each is not Ellipsis)
    where = next((place for place, each in enumerate(keys) if each is Ellipsis), len(keys))
    return [*keys[:where], *[slice(None)] * (rank - taken), *keys[where + 1 :]]


def _range(step: Step, key: slice) -> tuple[int, int, int]:
    if any(isinstance(each, Link) for each in (key.start, key.stop, key.step)):
        raise UnsupportedError(f"{step.name!r} takes a range that is computed")
    stride = 1 if key.step is None else key.step
    start = key.start if key.start is not None else (0 if stride > 0 else BEHIND)
    stop = key.stop if key.stop is not None else (BEHIND if stride > 0 else -BEHIND)
    return start, stop, stride


@converts("ops.Tile")
def tile(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Tile`."""
    value, repeats = writer.as_keras(inputs[0]), step.layer.repeats
    times = [repeats] if isinstance(repeats, int) else list(repeats)
    if len(times) > value.rank:
        raise UnsupportedError(f"{step.name!r} (Tile) makes more axes")
    numbers = writer.constant(f"{step.name}/repeats", [1] * (value.rank - len(times)) + times, "int64")
    return Value(writer.node("Tile", [value.name, numbers], step.name), step.shape)


@converts("ops.Einsum")
def einsum(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Einsum`, its other operands being constants or tensors."""
    from kerasdl.export.graph.operations import numbers_of

    operands = step.arguments["operands"]
    values = [writer.as_keras(value) for value in inputs]
    names = [
        values[each.place].name
        if isinstance(each, Link)
        else writer.constant(f"{step.name}/constant", numbers_of(each))
        for each in operands
    ]
    return Value(writer.node("Einsum", names, step.name, equation=step.layer.subscripts.replace(" ", "")), step.shape)
