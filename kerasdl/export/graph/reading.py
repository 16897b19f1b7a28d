"""Reads a Keras model into a plan: nested models opened, code of one's own recorded, without computing anything."""

import inspect
from collections.abc import Collection, Iterable
from typing import Any

from kerasdl.export.graph.activations import is_known, is_linear
from kerasdl.export.graph.fold import REWRITTEN
from kerasdl.export.graph.opening import forgetting, label_of, record
from kerasdl.export.graph.plan import Link, Plan, Source, Step, UnsupportedError, is_graph, owner_of
from kerasdl.export.graph.registry import CONVERTERS, NAMED

# Keras layers that are known by what they compute, as are custom ones.
OPENED = {"Lambda"}


def read_plan(model: Any, opened: Collection[str] = ()) -> Plan:
    """Reads a built model.

    Args:
        model: The Keras model.
        opened: The names of steps to read as what their layer's code does, as if it were custom.

    Returns:
        Its steps; a layer's fused activation is a step of its own.

    Raises:
        UnsupportedError: Something in the model has no plain meaning here.
    """
    reader = _Reader(opened)
    with forgetting(model):
        inputs, outputs, names = _ends(model)
        sources = [reader.source(tensor, name) for tensor, name in inputs]
        reader.walk(outputs, prefix="")
    return Plan(sources, reader.steps, [reader.values[id(tensor)] for tensor in outputs], names)


def _ends(model: Any) -> tuple[list[tuple[Any, str]], list[Any], list[str]]:
    """Returns the symbolic inputs with their names, the outputs, and the names of these."""
    import keras

    if is_graph(model):
        layers = [tensor._keras_history[0] for tensor in model.inputs]
        named = [(tensor, layer.name) for tensor, layer in zip(model.inputs, layers, strict=True)]
        return named, list(model.outputs), list(getattr(model, "output_names", []))
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if not shapes or not all(_is_shape(shape) for shape in shapes.values()):
        raise UnsupportedError(f"{label_of(model)} and takes a structure of inputs")
    tensors = [keras.Input((*shape[1:],), dtype=model.input_dtype) for shape in shapes.values()]
    given = tensors[0] if len(tensors) == 1 else tensors
    _check_masks(model)
    _, fresh, outputs = record(model.call, _Arguments((given,), {}), label_of(model))
    names = list(outputs) if isinstance(outputs, dict) else []
    flat = keras.tree.flatten(outputs)
    names = names or [f"output_{number}" for number in range(len(flat))]
    return list(zip(fresh, shapes, strict=True)), flat, names


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple | list) and all(size is None or isinstance(size, int) for size in shape)


class _Arguments:
    """What a call that nobody recorded would have been called with."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs

    def convert(self, function: Any) -> tuple[Any, Any]:
        import keras

        return keras.tree.map_structure(function, self.args), keras.tree.map_structure(function, self.kwargs)


def _check_masks(layer: Any) -> None:
    """Refuses code that makes masks of its own: those after it would have to follow them."""
    owner = owner_of(layer, "compute_mask")
    if not owner.__module__.startswith("keras.src."):
        raise UnsupportedError(f"{label_of(layer)} and makes masks")


def _kind_of(layer: Any) -> str | None:
    """Names the Keras class whose work a layer or operation does; `None` where it computes something of its own."""
    for method in ("call", "__call__"):
        if not owner_of(layer, method).__module__.startswith("keras.src."):
            return None
    base = next(base for base in type(layer).__mro__ if base.__module__.startswith("keras.src."))
    if base.__module__.startswith("keras.src.ops"):
        return f"ops.{base.__name__}"
    return None if base.__name__ in OPENED or base.__module__.startswith("keras.src.models") else base.__name__


class _Reader:
    """Walks Keras' recorded calls backwards from the outputs, and writes steps forwards."""

    def __init__(self, opened: Collection[str]) -> None:
        self.opened = opened
        self.values: dict[int, int] = {}
        self.steps: list[Step] = []
        self._count = 0
        # Recorded tensors must not be collected, as they are known by their address.
        self._kept: list[Any] = []

    def new_value(self) -> int:
        self._count += 1
        return self._count

    def source(self, tensor: Any, name: str) -> Source:
        value = self.values[id(tensor)] = self.new_value()
        self._kept.append(tensor)
        return Source(value, name, tuple(tensor.shape), str(tensor.dtype))

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
            _check_masked(layer, node)
            missing = [each for each in node.input_tensors if id(each) not in self.values]
            if missing:
                stack.extend(missing)
                continue
            self._read(layer, node, prefix)

    def _read(self, layer: Any, node: Any, prefix: str) -> None:
        name = prefix + layer.name
        if is_graph(layer):
            _check_call(layer, node)
            self._enter(node.input_tensors, model_ends=(layer.inputs, layer.outputs), node=node, name=name)
            return
        kind = _kind_of(layer)
        if kind is None or name in self.opened or kind not in CONVERTERS.keys() | REWRITTEN:
            self._open(layer, node, name, kind)
            return
        if kind.startswith("ops."):
            # The numbers in Keras' automatic names count what the process has made so far.
            name = prefix + (layer.name if not prefix else kind.removeprefix("ops.").lower())
        self._step(kind, layer, node, name)

    def _step(self, kind: str, layer: Any, node: Any, name: str) -> None:
        if len(node.outputs) != 1:
            raise UnsupportedError(f"layer {layer.name!r} ({kind}) has {len(node.outputs)} outputs")
        (output,) = node.outputs
        step = Step(kind, name, self._values(node.input_tensors), self.new_value(), tuple(output.shape), layer)
        if kind.startswith("ops."):
            step.arguments = _named(layer, node)
            if str(output.dtype) != "float32":
                raise UnsupportedError(f"{layer.name!r} ({kind}) computes in {output.dtype}")
        elif kind in NAMED:
            step.arguments = _named(layer, node)
            _check_precision(layer)
        else:
            _check_call(layer, node)
        self.steps.append(step)
        self._kept.append(output)
        self.values[id(output)] = step.output
        if not kind.startswith("ops.") and kind not in RECURRENT:
            self._activate(step, node)

    def _values(self, tensors: Iterable[Any]) -> list[int]:
        return [self.values[id(tensor)] for tensor in tensors]

    def _enter(self, given: Iterable[Any], model_ends: tuple[Any, Any], node: Any, name: str) -> None:
        """Reads a graph of layers in place; it may be called more than once, so its values are forgotten afterwards."""
        inputs, outputs = model_ends
        outer, values = self.values, self._values(given)
        self.values = {id(tensor): value for tensor, value in zip(inputs, values, strict=True)}
        self.walk(outputs, prefix=f"{name}/")
        results = self._values(outputs)
        self.values = outer
        self._kept += [*inputs, *outputs, *node.outputs]
        for tensor, value in zip(node.outputs, results, strict=True):
            self.values[id(tensor)] = value

    def _open(self, layer: Any, node: Any, name: str, kind: str | None) -> None:
        import keras

        label = label_of(layer) if kind is None else f"layer {layer.name!r} ({kind})"
        if kind is not None and (kind.startswith("ops.") or kind in CLOSED):
            raise UnsupportedError(label_of(layer) if kind.startswith("ops.") else label)
        _check_masks(layer)
        _check_precision(layer)
        try:
            given, fresh, outputs = record(layer.call, node.arguments, label)
        except UnsupportedError as error:
            error.step = name
            raise
        try:
            self._enter(given, (fresh, keras.tree.flatten(outputs)), node, name)
        except UnsupportedError as error:
            inner = UnsupportedError(f"{label}, and {error}")
            inner.step = name
            raise inner from error

    def _activate(self, step: Step, node: Any) -> None:
        """Writes what a layer does after its main work as a step of its own, or opens it where it is the user's own."""
        function = getattr(step.layer, "activation", None)
        if is_linear(function):
            return
        if not is_known(function):
            output = step.output
            if step.kind == "Activation":
                self.steps.remove(step)
                (output,) = step.inputs
            self._open_activation(function, step, node, output)
        elif step.kind == "Activation":
            step.activation = function
        else:
            name = f"{step.name}/{getattr(function, '__name__', step.kind)}"
            activation = Step("Activation", name, [step.output], self.new_value(), step.shape, activation=function)
            self.steps.append(activation)
            self.values[id(node.outputs[0])] = activation.output

    def _open_activation(self, function: Any, step: Step, node: Any, value: int) -> None:
        import keras

        name = getattr(function, "__name__", type(function).__name__)
        label = f"activation {name!r} of layer {step.name!r} is not one of Keras'"
        arguments = _Arguments((node.outputs[0],), {})
        given, fresh, outputs = record(function, arguments, label)
        self.values[id(given[0])] = value
        self._enter(given, (fresh, keras.tree.flatten(outputs)), node, step.name)


# Layers with activations inside their own work.
RECURRENT = {"GRU", "LSTM", "SimpleRNN"}

# Layers that do more than compute their outputs: masks for those after them, states, indices.
CLOSED = {"Masking", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "StackedRNNCells", "TFSMLayer"}


def _named(layer: Any, node: Any) -> dict[str, Any]:
    """Returns a call's arguments by their names, in the order of the signature, links in the place of tensors."""
    import keras

    # By identity, as Keras' trees are flattened in another order than mapped on some backends.
    places = {id(tensor): place for place, tensor in enumerate(node.input_tensors)}

    def link(argument: Any) -> Any:
        return Link(places[id(argument)]) if isinstance(argument, keras.KerasTensor) else argument

    positional, named = node.arguments.convert(link)
    return dict(inspect.signature(layer.call).bind(*positional, **named).arguments)


def _check_masked(layer: Any, node: Any) -> None:
    """Refuses layers that read a mask; where none does, an embedding may make one."""
    import keras

    for key, given in node.arguments.kwargs.items():
        if key.endswith("mask") and isinstance(given, keras.KerasTensor):
            raise UnsupportedError(
                f"layer {layer.name!r} ({type(layer).__name__}) reads a mask, as Masking and mask_zero=True make them,"
            )


def _check_call(layer: Any, node: Any) -> None:
    arguments = node.arguments
    for key, given in arguments.kwargs.items():
        # Keras records the default of a signature, too, and passes what the model is called with in its place.
        default = inspect.signature(layer.call).parameters[key].default if key == "training" else None
        if not (given is None or (key == "training" and (given is False or default is True))):
            raise UnsupportedError(f"layer {layer.name!r} is called with {key}={given!r}")
    if len(arguments.args) != 1:
        raise UnsupportedError(
            f"layer {layer.name!r} ({type(layer).__name__}) is called with {len(arguments.args)} arguments"
        )
    _check_precision(layer)


def _check_precision(layer: Any) -> None:
    policy = getattr(layer, "compute_dtype", "float32")
    if policy != "float32" and layer.weights:
        raise UnsupportedError(f"layer {layer.name!r} computes in {policy}")
    if getattr(layer, "quantization_mode", None) is not None:
        raise UnsupportedError(f"layer {layer.name!r} is quantized by Keras ({layer.quantization_mode})")
