"""Keeps, for each kind of step, the function that writes its ONNX nodes."""

from collections.abc import Callable
from typing import TypeAlias

from kerasdl.export.graph.plan import Step
from kerasdl.export.graph.writer import Value, Writer

Converter: TypeAlias = Callable[[Writer, Step, list[Value]], Value]

CONVERTERS: dict[str, Converter] = {}


def converts(*kinds: str) -> Callable[[Converter], Converter]:
    """Registers a function as the converter of some kinds of steps.

    Args:
        *kinds: The Keras class names.

    Returns:
        The decorator; the function takes the writer, the step and its inputs, and returns the step's output.
    """

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, function))
        return function

    return register
