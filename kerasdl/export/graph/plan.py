"""Reads a Keras model as a flat list of steps, nested models opened, without running it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np


class UnsupportedError(Exception):
    """The graph writer has no ONNX nodes for something in the model; Keras' own exporter may."""


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


def read_plan(model: Any) -> Plan:
    """Reads a built Sequential or functional model.

    Args:
        model: The Keras model.

    Returns:
        Its steps; a layer's fused activation is a step of its own.

    Raises:
        UnsupportedError: The model is not a graph of layers, or a layer is called in a way that has no plain meaning.
    """
    if not is_graph(model):
        raise UnsupportedError(f"model {model.name!r} is subclassed ({type(model).__name__})")
    reader = _Reader()
    sources = [reader.source(tensor) for tensor in model.inputs]
    reader.walk(model.outputs, prefix="")
    outputs = [reader.values[id(tensor)] for tensor in model.outputs]
    return Plan(sources, reader.steps, outputs, list(getattr(model, "output_names", [])))


def is_graph(model: Any) -> bool:
    """Tells whether a model is a built Sequential or functional one whose `call` nobody has overridden."""
    owner = _owner(model, "call")
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


def _owner(thing: Any, method: str) -> type:
    return next(base for base in type(thing).__mro__ if method in vars(base))


def kind_of(layer: Any) -> str:
    """Names the Keras class whose work a layer does.

    Raises:
        UnsupportedError: The layer computes something of its own.
    """
    for method in ("call", "__call__"):
        if not _owner(layer, method).__module__.startswith("keras.src."):
            raise UnsupportedError(f"layer {layer.name!r} is custom ({type(layer).__name__})")
    base = next(base for base in type(layer).__mro__ if base.__module__.startswith("keras.src."))
    if not base.__module__.startswith(("keras.src.layers", "keras.src.models")):
        raise UnsupportedError(f"{layer.name!r} is a bare operation (keras.ops, {base.__name__})")
    return base.__name__


class _Reader:
    """Walks Keras' recorded calls backwards from the outputs, and writes steps forwards."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.steps: list[Step] = []
        self._count = 0

    def new_value(self) -> int:
        self._count += 1
        return self._count

    def source(self, tensor: Any) -> Source:
        value = self.values[id(tensor)] = self.new_value()
        layer = getattr(tensor, "_keras_history", (None,))[0]
        return Source(value, getattr(layer, "name", tensor.name), tuple(tensor.shape), str(tensor.dtype))

    def walk(self, outputs: Iterable[Any], prefix: str) -> None:
        """Reads what the outputs need; a stack of its own, as deep models would exceed Python's."""
        stack = list(outputs)
        while stack:
            tensor = stack[-1]
            if id(tensor) in self.values:
                stack.pop()
                continue
            layer, node_index, _ = tensor._keras_history
            node = layer._inbound_nodes[node_index]
            missing = [each for each in node.input_tensors if id(each) not in self.values]
            if missing:
                stack.extend(missing)
                continue
            self._read(layer, node, prefix)

    def _read(self, layer: Any, node: Any, prefix: str) -> None:
        _check_call(layer, node)
        inputs = [self.values[id(tensor)] for tensor in node.input_tensors]
        name = prefix + layer.name
        if is_graph(layer):
            self._open(layer, node, inputs, name)
            return
        kind = kind_of(layer)
        if len(node.outputs) != 1:
            raise UnsupportedError(f"layer {layer.name!r} ({kind}) has {len(node.outputs)} outputs")
        shape = tuple(node.outputs[0].shape)
        step = Step(kind, name, inputs, self.new_value(), shape, layer)
        self.steps.append(step)
        self.values[id(node.outputs[0])] = self._with_activation(step)

    def _open(self, model: Any, node: Any, inputs: list[int], name: str) -> None:
        """Reads a nested model in place; it may be called more than once, so its values are forgotten afterwards."""
        outer = self.values
        self.values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}
        self.walk(model.outputs, prefix=f"{name}/")
        results = [self.values[id(tensor)] for tensor in model.outputs]
        self.values = outer
        for tensor, value in zip(node.outputs, results, strict=True):
            self.values[id(tensor)] = value

    def _with_activation(self, step: Step) -> int:
        import keras

        function = getattr(step.layer, "activation", None)
        if function is None or function is keras.activations.linear:
            return step.output
        if step.kind == "Activation":
            step.activation = function
            return step.output
        label = getattr(function, "__name__", type(function).__name__)
        activation = Step("Activation", f"{step.name}/{label}", [step.output], self.new_value(), step.shape)
        activation.activation = function
        self.steps.append(activation)
        return activation.output


def _check_call(layer: Any, node: Any) -> None:
    arguments = node.arguments
    for key, given in arguments.kwargs.items():
        if not (given is None or (key == "training" and given is False)):
            raise UnsupportedError(f"layer {layer.name!r} is called with {key}={given!r}")
    if len(arguments.args) != 1:
        raise UnsupportedError(
            f"layer {layer.name!r} ({type(layer).__name__}) is called with {len(arguments.args)} arguments"
        )
    policy = getattr(layer, "compute_dtype", "float32")
    if policy != "float32" and layer.weights:
        raise UnsupportedError(f"layer {layer.name!r} computes in {policy}")
    if getattr(layer, "quantization_mode", None) is not None:
        raise UnsupportedError(f"layer {layer.name!r} is quantized by Keras ({layer.quantization_mode})")
