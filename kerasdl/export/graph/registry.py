"""Keeps, for each kind of step, the function that writes its ONNX nodes."""

from collections.abc import Callable
from typing import TypeAlias

from kerasdl.export.graph.plan import Step
from kerasdl.export.graph.writer import Value, Writer

Converter: TypeAlias = Callable[[Writer, Step, list[Value]], Value]

CONVERTERS: dict[str, Converter] = {}

# The kinds whose converters read what the layer was called with from `Step.arguments`.
NAMED: set[str] = set()


def converts(*kinds: str, named: bool = False) -> Callable[[Converter], Converter]:
    """Registers a function as the converter of some kinds of steps.

    Args:
        *kinds: The Keras class names; `"ops."` before that of an operation of `keras.ops`.
        named: Whether it reads the arguments of the call from `Step.arguments`, as for a layer that takes several
            tensors by name; else the layer is called with tensors alone.

    Returns:
        The decorator; the function takes the writer, the step and its inputs, and returns the step's output.
    """

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(kinds, function))
        if named:
            NAMED.update(kinds)
        return function

    return register
