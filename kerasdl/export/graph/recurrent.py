"""Writes recurrent layers as ONNX's `LSTM`, `GRU` and `RNN`, whose sequences have the time first.

The gates of Keras and ONNX are the same in another order; `reset_after` is ONNX's `linear_before_reset`
(https://onnx.ai/onnx/operators/onnx__GRU.html).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasdl.export.graph.plan import Step, UnsupportedError, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer

# The Keras layer -> the ONNX operator, and for each of its gates the place of Keras'.
OPERATORS = {"LSTM": ("LSTM", [0, 3, 1, 2]), "GRU": ("GRU", [0, 1, 2]), "SimpleRNN": ("RNN", [0])}
ACTIVATIONS = {"tanh": "Tanh", "sigmoid": "Sigmoid", "relu": "Relu", "softsign": "Softsign", "softplus": "Softplus"}
MERGES = {"sum": "ReduceSum", "ave": "ReduceMean", "mul": "ReduceProd"}


@dataclass(frozen=True)
class Direction:
    """The weights of one layer as ONNX wants them: `(1, gates * units, features)` and its like."""

    kernel: np.ndarray
    recurrent: np.ndarray
    bias: np.ndarray | None


@converts("LSTM", "GRU", "SimpleRNN")
def recurrence(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes one direction."""
    layer = step.layer
    if layer.go_backwards and layer.return_sequences:
        raise UnsupportedError(f"layer {layer.name!r} ({step.kind}) gives its sequence backwards")
    _check(layer, step.kind)
    way = "reverse" if layer.go_backwards else "forward"
    sequence, last = _operator(writer, step, inputs[0], step.kind, [layer], way)
    if not layer.return_sequences:
        axes = writer.constant(f"{step.name}/direction", [0], "int64")
        return Value(writer.node("Squeeze", [last, axes], step.name), step.shape)
    axes = writer.constant(f"{step.name}/direction", [1], "int64")
    single = writer.node("Squeeze", [sequence, axes], f"{step.name}/squeeze")
    return Value(writer.node("Transpose", [single], step.name, perm=[1, 0, 2]), step.shape)


@converts("Bidirectional")
def bidirectional(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes both directions as one operator, and brings them together as the layer does."""
    layer = step.layer
    both = [layer.forward_layer, layer.backward_layer]
    kind = next((base.__name__ for base in type(both[0]).__mro__ if base.__name__ in OPERATORS), "")
    same = ("units", "activation", "recurrent_activation", "use_bias", "reset_after", "return_sequences")
    if not kind or any(getattr(both[0], key, None) != getattr(both[1], key, None) for key in same):
        raise UnsupportedError(
            f"layer {layer.name!r} (Bidirectional) runs other layers than two equal LSTM, GRU or RNN"
        )
    for each in both:
        _check(each, kind)
    if both[0].go_backwards or not both[1].go_backwards or layer.merge_mode is None:
        raise UnsupportedError(f"layer {layer.name!r} (Bidirectional) runs its layers in another order")
    sequence, last = _operator(writer, step, inputs[0], kind, both, "bidirectional")
    # (time, direction, batch, units) -> (batch, time, direction, units); the last state has no time.
    order, axis, value = ([2, 0, 1, 3], 2, sequence) if both[0].return_sequences else ([1, 0, 2], 1, last)
    moved = writer.node("Transpose", [value], f"{step.name}/transpose", perm=order)
    if layer.merge_mode == "concat":
        shape = writer.constant(f"{step.name}/shape", [*[0] * axis, -1], "int64")
        return Value(writer.node("Reshape", [moved, shape], step.name), step.shape)
    axes = writer.constant(f"{step.name}/axes", [axis], "int64")
    return Value(writer.node(MERGES[layer.merge_mode], [moved, axes], step.name, keepdims=0), step.shape)


def _check(layer: Any, kind: str) -> None:
    for setting in ("stateful", "return_state"):
        if getattr(layer, setting, False):
            raise UnsupportedError(f"layer {layer.name!r} ({kind}) has {setting}=True")
    for name in _activations(layer):
        if name not in ACTIVATIONS:
            raise UnsupportedError(f"layer {layer.name!r} ({kind}) has the activation {name!r}")


def _activations(layer: Any) -> list[str]:
    """Names the activations in ONNX's order: of the gates, of the candidate, of the LSTM's output."""
    import keras

    def name(function: Any) -> str:
        label = getattr(function, "__name__", repr(function))
        return str(label) if getattr(keras.activations, label, None) is function else repr(function)

    gates = getattr(layer, "recurrent_activation", None)
    if gates is None:
        return [name(layer.activation)]
    own = name(layer.activation)
    return [name(gates), own, own] if hasattr(layer.cell, "unit_forget_bias") else [name(gates), own]


def _operator(writer: Writer, step: Step, value: Value, kind: str, layers: list[Any], way: str) -> tuple[str, str]:
    """Writes the operator; returns the names of the whole sequence and of the last state."""
    value = writer.as_keras(value)
    operator, gates = OPERATORS[kind]
    directions = [_weights(layer, gates) for layer in layers]
    entry = writer.node("Transpose", [value.name], f"{step.name}/time_first", perm=[1, 0, 2])
    names = [
        entry,
        writer.constant(f"{step.name}/kernel", np.concatenate([each.kernel for each in directions])),
        writer.constant(f"{step.name}/recurrent_kernel", np.concatenate([each.recurrent for each in directions])),
    ]
    biases = [each.bias for each in directions if each.bias is not None]
    if biases:
        names.append(writer.constant(f"{step.name}/bias", np.concatenate(biases)))
    attributes: dict[str, Any] = {
        "hidden_size": layers[0].units,
        "direction": way,
        "activations": [ACTIVATIONS[name] for layer in layers for name in _activations(layer)],
    }
    if kind == "GRU":
        attributes["linear_before_reset"] = int(layers[0].reset_after)
    return writer.node_with_two(operator, names, f"{step.name}/{kind.lower()}", **attributes)


def _weights(layer: Any, gates: list[int]) -> Direction:
    cell, units = layer.cell, layer.units

    def sorted_gates(kernel: np.ndarray) -> np.ndarray:
        """`(..., gates * units)` -> `(1, gates * units, ...)` in ONNX's order of gates."""
        parts = [kernel[..., gate * units : (gate + 1) * units] for gate in gates]
        return np.concatenate(parts, axis=-1).T[np.newaxis]

    kernel, recurrent = sorted_gates(array(cell.kernel)), sorted_gates(array(cell.recurrent_kernel))
    if not cell.use_bias:
        return Direction(kernel, recurrent, None)
    bias = array(cell.bias)
    # A GRU with reset_after has a bias for each product, as ONNX has; all others one in all.
    pair = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    both = [sorted_gates(each[np.newaxis])[..., 0] for each in pair]
    return Direction(kernel, recurrent, np.concatenate(both, axis=1))
