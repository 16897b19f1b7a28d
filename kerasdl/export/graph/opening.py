"""Opens what is not a layer of known meaning: its `call` is recorded on symbolic tensors, as Keras' own operations.

Custom layers, subclassed models, `Lambda` and activations that are functions of one's own thereby become layers and
operations that the writer knows, on every backend. Nothing is computed, and the model stays as it was.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from kerasdl.export.graph.plan import UnsupportedError


def record(function: Callable[..., Any], arguments: Any, label: str) -> tuple[list[Any], list[Any], Any]:
    """Calls a function on symbolic tensors.

    Args:
        function: A layer's or model's `call`, or an activation.
        arguments: The `SymbolicArguments` of a call that Keras recorded.
        label: What is called, for messages.

    Returns:
        The tensors of the recorded call, the fresh ones that stood for them, and what came out, as a structure.

    Raises:
        UnsupportedError: It does more than Keras operations on tensors.
    """
    import keras

    given: list[Any] = []
    fresh: list[Any] = []

    def renew(argument: Any) -> Any:
        if not isinstance(argument, keras.KerasTensor):
            return argument
        given.append(argument)
        fresh.append(keras.Input(batch_shape=argument.shape, dtype=argument.dtype))
        return fresh[-1]

    positional, named = arguments.convert(renew)
    named = {key: value for key, value in named.items() if key != "training" and value is not None}
    if "training" in inspect.signature(function).parameters:
        named["training"] = False
    try:
        with keras.StatelessScope():
            outputs = function(*positional, **named)
    except Exception as error:  # whatever the code of others raises on tensors without values
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:120]
        raise UnsupportedError(f"{label}, and its code does not work on symbolic tensors ({line})") from error
    if not all(isinstance(each, keras.KerasTensor) for each in keras.tree.flatten(outputs)):
        raise UnsupportedError(f"{label}, and its code gives something that is not computed from its inputs")
    return given, fresh, outputs


@contextlib.contextmanager
def forgetting(model: Any) -> Iterator[None]:
    """Takes back, at its end, the calls that were recorded on a model's layers inside."""
    layers = [model, *model._flatten_layers(include_self=False)]
    lengths = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        yield
    finally:
        for layer, inbound, outbound in lengths:
            del layer._inbound_nodes[inbound:]
            del layer._outbound_nodes[outbound:]


def label_of(layer: Any) -> str:
    """Names a layer or model whose meaning is its own code: `"layer 'noise' is custom (MyNoise)"`."""
    import keras

    if isinstance(layer, keras.Model):
        return f"model {layer.name!r} is subclassed ({type(layer).__name__})"
    if isinstance(layer, keras.layers.Layer):
        return f"layer {layer.name!r} is custom ({type(layer).__name__})"
    return f"{layer.name!r} is a bare operation (keras.ops, {type(layer).__name__})"
