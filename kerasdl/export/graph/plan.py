"""Reads a Keras model as a flat list of steps, nested models opened, without running it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class UnsupportedError(Exception):
    """The graph writer has no ONNX nodes for something in the model; Keras' own exporter may.

    Attributes:
        step: The name of the step whose layer it is, where it is known.
    """

    step: str | None = None


@contextlib.contextmanager
def blaming(step: "Step") -> Iterator[None]:
    """Says of what is not supported inside to which step it belongs."""
    try:
        yield
    except UnsupportedError as error:
        error.step = error.step or step.name
        raise


@dataclass
class Step:
    """One layer's work on named values.

    Attributes:
        kind: The layer's Keras class, such as `"Dense"`, whatever a subclass calls itself; `"Activation"` and
            `"Scaling"` also stand for what layers do beside their main work.
        name: The layer's name, behind those of the models that it is nested in: `"encoder/dense"`.
        inputs: The values it reads.
        output: The value it writes.
        shape: The output's Keras shape; `None` where a size is not fixed.
        layer: The Keras layer, for its settings.
        weights: Its arrays, float64, in Keras' layout; folding changes them.
        activation: For an `"Activation"`: the Keras function.
        keeps_axes: For global pooling: its output keeps the axes of the places, whatever the layer says.
        margins: For a convolution: zeros before and after each of its places that a layer before it would have added.
        arguments: For an operation, or a layer that takes more than one tensor by name: what it was called with, by
            name; a `Link` stands for a tensor.
        any_order: For a `"Flatten"`: its readers can take the features in any order.
    """

    kind: str
    name: str
    inputs: list[int]
    output: int
    shape: tuple[int | None, ...]
    layer: Any = None
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    activation: Any = None
    any_order: bool = False
    keeps_axes: bool = False
    margins: tuple[tuple[int, int], ...] = ()
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A tensor among a step's arguments: its place in `Step.inputs`."""

    place: int


@dataclass
class Source:
    """One input of the model: its value, name, Keras shape and dtype."""

    value: int
    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass
class Plan:
    """A model as steps in the order in which they can run.

    Attributes:
        sources: The inputs.
        steps: What happens to them.
        outputs: The values that leave.
        output_names: Their Keras names.
    """

    sources: list[Source]
    steps: list[Step]
    outputs: list[int]
    output_names: list[str]

    def readers(self, value: int) -> list[Step]:
        """Returns the steps that read a value."""
        return [step for step in self.steps if value in step.inputs]

    def only_reader(self, value: int) -> Step | None:
        """Returns the one step that reads a value, or `None` where several do or it leaves the model."""
        readers = self.readers(value)
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def writer(self, value: int) -> Step | None:
        """Returns the step that writes a value, `None` for an input."""
        return next((step for step in self.steps if step.output == value), None)

    def remove(self, step: Step) -> None:
        """Takes out a step with one input; its readers read that input instead."""
        self.steps.remove(step)
        for other in self.steps:
            other.inputs = [step.inputs[0] if value == step.output else value for value in other.inputs]
        self.outputs = [step.inputs[0] if value == step.output else value for value in self.outputs]


def is_graph(model: Any) -> bool:
    """Tells whether a model is a built Sequential or functional one whose `call` nobody has overridden."""
    owner = owner_of(model, "call")
    if owner.__module__.startswith("keras.src.models") and owner.__name__ in {"Functional", "Sequential"}:
        try:
            return bool(model.inputs and model.outputs)
        except AttributeError:
            return False
    return False


def array(variable: Any) -> np.ndarray:
    """Returns a Keras variable or tensor as a float64 array."""
    import keras

    return np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float64)


def owner_of(thing: Any, method: str) -> type:
    """Returns the class that defines a method of an object."""
    return next(base for base in type(thing).__mro__ if method in vars(base))
