"""Writes layers that bring several values together."""

from kerasdl.export.graph.plan import Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

PAIRWISE = {"Add": "Add", "Subtract": "Sub", "Multiply": "Mul"}
TOGETHER = {"Average": "Mean", "Maximum": "Max", "Minimum": "Min"}


@converts(*PAIRWISE)
def pairwise(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes a chain of binary operators."""
    values = together(writer, step, inputs)
    name = values[0].name
    for count, value in enumerate(values[1:], start=2):
        last = count == len(values)
        name = writer.node(PAIRWISE[step.kind], [name, value.name], step.name if last else f"{step.name}/{count}")
    return Value(name, step.shape, values[0].channels_first)


@converts(*TOGETHER)
def at_once(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes one operator that takes any number of values."""
    values = together(writer, step, inputs)
    name = writer.node(TOGETHER[step.kind], [value.name for value in values], step.name)
    return Value(name, step.shape, values[0].channels_first)


@converts("Concatenate")
def concatenate(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Concat` along the axis that Keras' axis is in the graph."""
    values = together(writer, step, inputs)
    axis = values[0].axis(step.layer.axis)
    return Value(
        writer.node("Concat", [value.name for value in values], step.name, axis=axis),
        step.shape,
        values[0].channels_first,
    )


def together(writer: Writer, step: Step, inputs: list[Value]) -> list[Value]:
    """Brings values into one layout: the channels stay first where they are so in any."""
    if len({value.rank for value in inputs}) != 1:
        raise UnsupportedError(f"layer {step.layer.name!r} ({step.kind}) takes values of different ranks")
    if any(value.channels_first for value in inputs):
        return [writer.as_channels_first(value) for value in inputs]
    return inputs
