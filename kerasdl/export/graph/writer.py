"""Collects ONNX nodes and constants, and knows for each value in which layout it lies."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Value:
    """A tensor of the ONNX graph.

    Attributes:
        name: Its name in the graph.
        shape: The shape that Keras gives it, batch first; `None` where a size is not fixed.
        channels_first: It lies in the graph as `(batch, channels, ...)`, where Keras has `(batch, ..., channels)`.
        image: For flattened features that were left in channels-first order: the Keras shape `(..., channels)` that
            they come from; else empty.
    """

    name: str
    shape: tuple[int | None, ...]
    channels_first: bool = False
    image: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """The number of axes, the batch included."""
        return len(self.shape)

    def axis(self, axis: int) -> int:
        """Translates an axis of the Keras shape to the axis in the graph."""
        axis %= self.rank
        if not self.channels_first or axis == 0:
            return axis
        return 1 if axis == self.rank - 1 else axis + 1

    def order(self) -> list[int]:
        """Returns for each axis in the graph the axis of the Keras shape."""
        return [0, self.rank - 1, *range(1, self.rank - 1)] if self.channels_first else list(range(self.rank))


class Writer:
    """The graph being written.

    Args:
        opset: The ONNX operator set that the nodes are of.
        reserved: Names that no node may take, because the graph's outputs will bear them.
    """

    def __init__(self, opset: int, reserved: Iterable[str] = ()) -> None:
        self.opset = opset
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        # The inputs that are not float32, and their types.
        self.other_types: dict[str, str] = {}
        self._contents: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names = set(reserved)
        self._labels: set[str] = set()
        self._cast: dict[str, str] = {}
        self._moved: dict[tuple[str, bool], Value] = {}

    def unique(self, name: str) -> str:
        """Returns a value's name, numbered where it is taken, and takes it."""
        return _take(name, self._names)

    def node(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Adds a node with one output.

        Args:
            kind: The ONNX operator.
            inputs: The names of what it reads; `""` for an optional input that is left out.
            name: The name wanted for the node and its output.
            **attributes: The operator's attributes.

        Returns:
            The name of its output.
        """
        from onnx import helper

        output = self.unique(name)
        label = _take(name, self._labels)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=label, **attributes))
        return output

    def node_with_two(self, kind: str, inputs: Sequence[str], name: str, **attributes: Any) -> tuple[str, str]:
        """Adds a node of which the first two outputs are wanted, as of ONNX's recurrent ones."""
        from onnx import helper

        first, second = self.unique(name), self.unique(f"{name}/last")
        label = _take(name, self._labels)
        self.nodes.append(helper.make_node(kind, list(inputs), [first, second], name=label, **attributes))
        return first, second

    def reduce(self, kind: str, value: Value, axes: Iterable[int], name: str, keep: bool = True) -> str:
        """Adds a reduction, such as `"ReduceMean"`, over axes of the Keras shape, wherever they lie."""
        numbers = self.constant(f"{name}/axes", sorted(value.axis(axis) for axis in axes), "int64")
        return self.node(kind, [value.name, numbers], name, keepdims=int(keep))

    def constant(self, name: str, array: np.ndarray | Sequence[float] | float, dtype: str = "float32") -> str:
        """Adds a constant, or finds one with the same contents, and returns its name."""
        contents = np.ascontiguousarray(np.asarray(array, dtype=dtype))
        key = (dtype, contents.shape, contents.tobytes())
        if key not in self._contents:
            self._contents[key] = self.unique(name)
            self.constants[self._contents[key]] = contents
        return self._contents[key]

    def as_float(self, value: Value) -> Value:
        """Casts an input of another type to float32, once."""
        if value.name not in self.other_types:
            return value
        if value.name not in self._cast:
            from onnx import TensorProto

            self._cast[value.name] = self.node("Cast", [value.name], f"{value.name}/float", to=TensorProto.FLOAT)
        return replace(value, name=self._cast[value.name])

    def as_indices(self, value: Value, name: str) -> str:
        """Returns the name of a value as whole numbers that can be indices; what has another type is cast."""
        if self.other_types.get(value.name) in {"int32", "int64"}:
            return value.name
        from onnx import TensorProto

        return self.node("Cast", [value.name], f"{name}/indices", to=TensorProto.INT32)

    def rename(self, old: str, new: str) -> None:
        """Gives a value another name; the node that writes it keeps its own, which is its layer's."""
        for node in self.nodes:
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    if name == old:
                        names[position] = new

    def as_channels_first(self, value: Value) -> Value:
        """Moves the channels of `(batch, ..., channels)` to the front, once per value."""
        return value if value.channels_first or value.rank < 3 else self._move(value, True)

    def as_keras(self, value: Value) -> Value:
        """Brings a value back to the layout that Keras gives it, once per value."""
        return self._move(value, False) if value.channels_first else value

    def _move(self, value: Value, channels_first: bool) -> Value:
        key = (value.name, channels_first)
        if key not in self._moved:
            rank, channels = value.rank, value.shape[-1]
            target = "channels_first" if channels_first else "channels_last"
            moved = [value.shape[axis] for axis in Value("", value.shape, channels_first).order()]
            if (channels == 1 or set(value.shape[1:-1]) == {1}) and None not in moved[1:]:
                sizes = self.constant(f"{value.name}/{target}/shape", [-1, *(size or 0 for size in moved[1:])], "int64")
                name = self.node("Reshape", [value.name, sizes], f"{value.name}/{target}")
            else:
                order = [0, rank - 1, *range(1, rank - 1)] if channels_first else [0, *range(2, rank), 1]
                name = self.node("Transpose", [value.name], f"{value.name}/{target}", perm=order)
            self._moved[key] = Value(name, value.shape, channels_first)
        return self._moved[key]


def _take(name: str, taken: set[str]) -> str:
    """Takes a name, or that of the same thing done again: `"dense"`, `"dense/2"`."""
    chosen, count = name, 1
    while chosen in taken:
        count += 1
        chosen = f"{name}/{count}"
    taken.add(chosen)
    return chosen
