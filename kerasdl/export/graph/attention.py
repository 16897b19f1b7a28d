"""Writes attention: the products, softmax and products of "Attention Is All You Need", and its older relatives."""

from typing import Any

import numpy as np

from kerasdl.export.graph.plan import Link, Step, UnsupportedError, array
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


@converts("MultiHeadAttention", named=True)
def multi_head_attention(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `(batch, time, features)` attention; the factor before the softmax goes into the query's kernel.

    Source: Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.
    """
    layer, given = step.layer, step.arguments
    query, value, key = (_tensor(given.get(name), inputs) for name in ("query", "value", "key"))
    _check_call(step, query, value)
    assert query is not None and value is not None
    heads, width, name = layer._num_heads, layer._key_dim, step.name
    q, k, v = (
        _project(writer, f"{name}/{kind}", source, getattr(layer, f"_{kind}_dense"), factor)
        for kind, source, factor in (
            ("query", query, 1.0 / np.sqrt(width)),
            ("key", key or value, 1.0),
            ("value", value, 1.0),
        )
    )
    q = _heads(writer, f"{name}/query/heads", q, heads, [0, 2, 1, 3])
    k = _heads(writer, f"{name}/key/heads", k, heads, [0, 2, 3, 1])
    v = _heads(writer, f"{name}/value/heads", v, heads, [0, 2, 1, 3])
    scores = writer.node("MatMul", [q, k], f"{name}/scores")
    if given.get("use_causal_mask"):
        scores = _causal(writer, step, scores, query, value)
    shares = writer.node("Softmax", [scores], f"{name}/softmax", axis=-1)
    mixed = writer.node("MatMul", [shares, v], f"{name}/mix")
    together = writer.node("Transpose", [mixed], f"{name}/together", perm=[0, 2, 1, 3])
    shape = writer.constant(f"{name}/shape", [0, 0, -1], "int64")
    flat = writer.node("Reshape", [together, shape], f"{name}/flat")
    kernel = array(layer._output_dense.kernel)
    return Value(_affine(writer, name, flat, kernel.reshape(-1, kernel.shape[-1]), layer._output_dense), step.shape)


def _tensor(argument: Any, inputs: list[Value]) -> Value | None:
    return inputs[argument.place] if isinstance(argument, Link) else None


def _check_call(step: Step, query: Value | None, value: Value | None) -> None:
    layer, label = step.layer, f"layer {step.layer.name!r} (MultiHeadAttention)"
    plain = {"query", "value", "key", "training", "use_causal_mask"}
    for name, given in step.arguments.items():
        if name not in plain and given is not None and given is not False:
            raise UnsupportedError(f"{label} is called with {name}")
    if query is None or value is None or query.rank != 3 or value.rank != 3:
        raise UnsupportedError(f"{label} attends over other axes than one of time")
    if tuple(layer._attention_axes) != (1,) or getattr(layer, "_use_gate", False):
        raise UnsupportedError(f"{label} attends over other axes than one of time, or is gated")


def _project(writer: Writer, name: str, value: Value, dense: Any, factor: float) -> str:
    kernel = array(dense.kernel)
    return _affine(writer, name, writer.as_keras(value).name, kernel.reshape(kernel.shape[0], -1), dense, factor)


def _affine(writer: Writer, name: str, source: str, kernel: np.ndarray, dense: Any, factor: float = 1.0) -> str:
    weights = writer.constant(f"{name}/kernel", kernel * factor)
    if dense.bias is None:
        return writer.node("MatMul", [source, weights], name)
    product = writer.node("MatMul", [source, weights], f"{name}/product")
    bias = writer.constant(f"{name}/bias", array(dense.bias).ravel() * factor)
    return writer.node("Add", [product, bias], name)


def _heads(writer: Writer, name: str, source: str, heads: int, order: list[int]) -> str:
    shape = writer.constant(f"{name}/shape", [0, 0, heads, -1], "int64")
    return writer.node("Transpose", [writer.node("Reshape", [source, shape], f"{name}/split")], name, perm=order)


def _causal(writer: Writer, step: Step, scores: str, query: Value, value: Value) -> str:
    """Puts a number in the place of the scores of later times so small that their softmax is zero, as Keras does."""
    name, times = step.name, (query.shape[1], value.shape[1])
    if None in times:
        raise UnsupportedError(f"layer {name!r} (MultiHeadAttention) has a causal mask over an open length")
    seen = writer.constant(f"{name}/seen", np.tri(int(times[0] or 1), int(times[1] or 1)), "bool")
    # With dropout Keras takes the general path, whose number is another.
    least = -1e9 if step.layer._dropout > 0 else 0.7 * float(np.finfo("float32").min)
    return writer.node("Where", [seen, scores, writer.constant(f"{name}/least", least)], f"{name}/masked")


@converts("Attention", "AdditiveAttention", named=True)
def plain_attention(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes dot-product (Luong et al. 2015) and additive attention (Bahdanau et al. 2015)."""
    layer, given, name = step.layer, step.arguments, step.name
    for argument_name, argument in given.items():
        if argument_name not in {"inputs", "training"} and argument is not None and argument is not False:
            raise UnsupportedError(f"layer {layer.name!r} ({step.kind}) is called with {argument_name}")
    values = [writer.as_keras(value) for value in inputs]
    if any(value.rank != 3 for value in values) or getattr(layer, "score_mode", "dot") != "dot":
        raise UnsupportedError(f"layer {layer.name!r} ({step.kind}) is not over one axis of time, or adds its scores")
    query, value, key = values[0], values[1], values[-1]
    scores = _sums(writer, step, query, key) if step.kind == "AdditiveAttention" else _dots(writer, step, query, key)
    shares = writer.node("Softmax", [scores], f"{name}/softmax", axis=-1)
    return Value(writer.node("MatMul", [shares, value.name], name), step.shape)


def _dots(writer: Writer, step: Step, query: Value, key: Value) -> str:
    turned = writer.node("Transpose", [key.name], f"{step.name}/key", perm=[0, 2, 1])
    scores = writer.node("MatMul", [query.name, turned], f"{step.name}/scores")
    if step.layer.scale is None:
        return scores
    scale = writer.constant(f"{step.name}/scale", array(step.layer.scale))
    return writer.node("Mul", [scores, scale], f"{step.name}/scaled")


def _sums(writer: Writer, step: Step, query: Value, key: Value) -> str:
    name = step.name
    axes = {axis: writer.constant(f"{name}/axis", [axis], "int64") for axis in (1, 2)}
    first = writer.node("Unsqueeze", [query.name, axes[2]], f"{name}/query")
    second = writer.node("Unsqueeze", [key.name, axes[1]], f"{name}/key")
    total = writer.node("Tanh", [writer.node("Add", [first, second], f"{name}/sum")], f"{name}/tanh")
    if step.layer.scale is not None:
        total = writer.node("Mul", [total, writer.constant(f"{name}/scale", array(step.layer.scale))], f"{name}/scaled")
    return writer.node(
        "ReduceSum", [total, writer.constant(f"{name}/last", [-1], "int64")], f"{name}/scores", keepdims=0
    )


@converts("EinsumDense")
def einsum_dense(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Einsum` with the kernel, and `Add`."""
    layer, value = step.layer, writer.as_keras(inputs[0])
    kernel = writer.constant(f"{step.name}/kernel", array(layer.kernel))
    product = writer.node(
        "Einsum",
        [value.name, kernel],
        step.name if layer.bias is None else f"{step.name}/product",
        equation=layer.equation.replace(" ", ""),
    )
    if layer.bias is None:
        return Value(product, step.shape)
    return Value(
        writer.node("Add", [product, writer.constant(f"{step.name}/bias", array(layer.bias))], step.name), step.shape
    )
