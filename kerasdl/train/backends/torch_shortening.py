"""Shortens PyTorch's recordings: what a list of operations need not do, and what it can do with fewer numbers.

Every change keeps each result as it is, to the bit but for products that are put side by side and the sign of zeros.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.fx import Graph, Node
from torch.fx.passes.shape_prop import TensorMetadata, _extract_tensor_metadata

_OPERATIONS = torch.ops.aten

_COPIES = (_OPERATIONS.lift_fresh_copy.default, _OPERATIONS.detach.default, _OPERATIONS.alias.default)
_RESHAPES = (_OPERATIONS.view.default, _OPERATIONS._unsafe_view.default, _OPERATIONS.expand.default)
# `key(value(x))` is computed as `value(key(x))`, on fewer numbers.
_SWAPPED = {
    _OPERATIONS.mul.Scalar: _OPERATIONS.expand.default,
    _OPERATIONS.div.Scalar: _OPERATIONS.expand.default,
    _OPERATIONS.sum.dim_IntList: _OPERATIONS.neg.default,
}
# By a number, these cost as much as by a tensor, and a conversion of the number before.
_BY_NUMBER = {
    _OPERATIONS.add.Tensor: _OPERATIONS.add.Tensor,
    _OPERATIONS.sub.Tensor: _OPERATIONS.sub.Tensor,
    _OPERATIONS.mul.Tensor: _OPERATIONS.mul.Tensor,
    _OPERATIONS.div.Tensor: _OPERATIONS.div.Tensor,
    _OPERATIONS.mul.Scalar: _OPERATIONS.mul.Tensor,
    _OPERATIONS.div.Scalar: _OPERATIONS.div.Tensor,
}

# Products with fewer columns than this leave most of a processor's vector units idle.
_NARROW = 32
# Multiplications below which a product is cheaper than rearranging its operands.
_WORTH_REARRANGING = 200_000


class Recording(NamedTuple):
    """Operations, and the tensors that are the same each time, by the names that they have there."""

    graph: Graph
    constants: dict[str, torch.Tensor]


def changes_nothing(operation: Any, arguments: Any, options: Any, result: torch.Tensor) -> bool:
    """Tells whether an operation gives what its first argument is, since none writes into another's result."""
    if operation in _COPIES:
        return True
    given = arguments[0] if arguments else None
    if not isinstance(given, torch.Tensor):
        return False
    if operation in _RESHAPES:
        return given.shape == result.shape
    if operation is _OPERATIONS.clone.default:
        return not options and given.stride() == result.stride()
    if operation is _OPERATIONS.permute.default:
        return list(arguments[1]) == list(range(given.ndim))
    return operation is _OPERATIONS.pow.Tensor_Scalar and arguments[1] == 1 and given.dtype == result.dtype


def same(node: Any, other: Any, what: str) -> bool:
    """Tells whether two operations' results have the same shape, stride or dtype."""
    one, two = _meta(node), _meta(other)
    return one is not None and two is not None and bool(getattr(one, what) == getattr(two, what))


def reorder(recording: Recording) -> None:
    """Scales what is spread over rows before it is spread, and negates sums instead of what is summed."""
    for outer in list(recording.graph.nodes):
        inner = outer.args[0] if outer.target in _SWAPPED else None
        if not isinstance(inner, Node) or inner.target is not _SWAPPED[outer.target] or len(inner.users) > 1:
            continue
        source = inner.args[0]
        if not (_is_floating(source) and same(inner, source, "dtype") and same(outer, inner, "dtype")):
            continue
        with recording.graph.inserting_before(outer):
            first = recording.graph.call_function(outer.target, (source, *outer.args[1:]), outer.kwargs)
            second = recording.graph.call_function(inner.target, (first, *inner.args[1:]), inner.kwargs)
        first.meta = dict((source if inner.target is _OPERATIONS.expand.default else outer).meta)
        second.meta = dict(outer.meta)
        outer.replace_all_uses_with(second)
        recording.graph.erase_node(outer)
        recording.graph.erase_node(inner)


def convert_numbers(recording: Recording) -> None:
    """Makes float32 tensors of the numbers that meet float32 tensors, which each step would make anew.

    They have one axis, since TorchScript makes numbers of constants without any.
    """
    made: dict[str, str] = {}
    for node in list(recording.graph.nodes):
        if node.target not in _BY_NUMBER or node.kwargs or len(node.args) != 2 or not is_float32(node):
            continue
        tensor = node.args[0]
        number = _number(recording, node.args[1])
        if number is None or not is_float32(tensor) or not _shape(tensor):
            continue
        # As words, since 0.0 equals -0.0.
        written = repr(number)
        if written not in made:
            made[written] = f"_number{len(made)}"
            recording.constants[made[written]] = torch.tensor([number], dtype=torch.float32)
        with recording.graph.inserting_before(node):
            constant = recording.graph.get_attr(made[written])
        constant.meta = {"tensor_meta": _extract_tensor_metadata(recording.constants[made[written]])}
        node.target = _BY_NUMBER[node.target]
        node.args = (tensor, constant)


def _number(recording: Recording, argument: Any) -> float | None:
    """Returns an argument's value, where that is one number in every step."""
    if isinstance(argument, int | float):
        return float(argument)
    if isinstance(argument, Node) and argument.op == "get_attr" and is_float32(argument) and not _shape(argument):
        return float(recording.constants[str(argument.target)])
    return None


def join_products(recording: Recording) -> None:
    """Turns products of one shared matrix with many narrow ones into a single wide product.

    A first layer sees the same rows in every member: `(rows, features)` times `(members, features, units)` is
    `(rows, features)` times `(features, members x units)`.
    """
    for node, shared in _products_of_one(recording):
        own = node.args[1]
        members, rows, columns = _shape(node)
        inner = _shape(node.args[0])[2]
        if columns > _NARROW or math.prod((members, rows, inner, columns)) < _WORTH_REARRANGING:
            continue
        call = recording.graph.call_function
        with recording.graph.inserting_before(node):
            side_by_side = call(_OPERATIONS.permute.default, (own, [1, 0, 2]))
            wide = call(_OPERATIONS.reshape.default, (side_by_side, [inner, members * columns]))
            product = call(_OPERATIONS.mm.default, (shared, wide))
            apart = call(_OPERATIONS.view.default, (product, [rows, members, columns]))
            stacked = call(_OPERATIONS.permute.default, (apart, [1, 0, 2]))
            result = call(_OPERATIONS.contiguous.default, (stacked,))
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)


def _products_of_one(recording: Recording) -> Iterator[tuple[Node, Node]]:
    """Yields products of one matrix with several, and that matrix."""
    for node in list(recording.graph.nodes):
        if node.target is not _OPERATIONS.bmm.default or _shape(node)[0] == 1:
            continue
        left = node.args[0]
        if left.target is _OPERATIONS.expand.default and _shape(left.args[0]) == _shape(left)[1:]:
            yield node, left.args[0]


def _shape(node: Any) -> tuple[int, ...]:
    meta = _meta(node)
    return () if meta is None else tuple(meta.shape)


def is_float32(node: Any) -> bool:
    """Tells whether an operation, or an argument of the recording, gives one float32 tensor."""
    meta = _meta(node)
    return meta is not None and meta.dtype == torch.float32


def _is_floating(node: Any) -> bool:
    meta = _meta(node)
    return meta is not None and meta.dtype.is_floating_point


def _meta(node: Any) -> TensorMetadata | None:
    """Returns shape, stride and type of what an operation gives; `None` where that is not one tensor."""
    meta = node.meta.get("tensor_meta") if isinstance(node, Node) else None
    return meta if isinstance(meta, TensorMetadata) else None
