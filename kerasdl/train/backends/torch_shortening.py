"""Shortens PyTorch's recordings: what a list of operations need not do, and what it can do with fewer numbers.

Every change keeps each result as it is, to the bit but for products that are put side by side and the sign of zeros.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import TensorMetadata

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


def leave_out(module: GraphModule) -> None:
    """Takes out operations that change nothing, since no operation of a recording writes into another's result."""
    for node in list(module.graph.nodes):
        if node.target in _COPIES or _changes_nothing(node):
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def _changes_nothing(node: Node) -> bool:
    if node.target in _RESHAPES:
        return _same(node, "shape")
    if node.target is _OPERATIONS.clone.default:
        return not node.kwargs and _same(node, "stride")
    return node.target is _OPERATIONS.pow.Tensor_Scalar and node.args[1] == 1 and _same(node, "dtype")


def _same(node: Node, what: str) -> bool:
    """Tells whether an operation's result and its first argument have the same shape, stride or type."""
    given, found = _meta(node.args[0]), _meta(node)
    return given is not None and found is not None and getattr(given, what) == getattr(found, what)


def reorder(module: GraphModule) -> None:
    """Scales what is spread over rows before it is spread, and negates sums instead of what is summed."""
    for outer in list(module.graph.nodes):
        inner = outer.args[0] if outer.target in _SWAPPED else None
        if not isinstance(inner, Node) or inner.target is not _SWAPPED[outer.target] or len(inner.users) > 1:
            continue
        source = inner.args[0]
        if not (_is_floating(source) and _same(inner, "dtype") and _same(outer, "dtype")):
            continue
        with module.graph.inserting_before(outer):
            first = module.graph.call_function(outer.target, (source, *outer.args[1:]), outer.kwargs)
            second = module.graph.call_function(inner.target, (first, *inner.args[1:]), inner.kwargs)
        first.meta = dict((source if inner.target is _OPERATIONS.expand.default else outer).meta)
        second.meta = dict(outer.meta)
        outer.replace_all_uses_with(second)
        module.graph.erase_node(outer)
        module.graph.erase_node(inner)


def convert_numbers(module: GraphModule) -> None:
    """Makes float32 tensors of the numbers that meet float32 tensors, which each step would make anew."""
    made: dict[str, str] = {}
    for node in list(module.graph.nodes):
        if node.target not in _BY_NUMBER or node.kwargs or len(node.args) != 2 or not _is_float32(node):
            continue
        tensor, number = node.args
        if not isinstance(number, int | float) or not _is_float32(tensor):
            continue
        # As words, since 0.0 equals -0.0.
        written = repr(number)
        if written not in made:
            made[written] = f"_number{len(made)}"
            module.register_buffer(made[written], torch.tensor(number, dtype=torch.float32))
        with module.graph.inserting_before(node):
            constant = module.graph.get_attr(made[written])
        node.target = _BY_NUMBER[node.target]
        node.args = (tensor, constant)


def join_products(module: GraphModule) -> None:
    """Turns products of one shared matrix with many narrow ones into a single wide product.

    A first layer sees the same rows in every member: `(rows, features)` times `(members, features, units)` is
    `(rows, features)` times `(features, members x units)`.
    """
    for node, shared in _products_of_one(module):
        own = node.args[1]
        members, rows, columns = _shape(node)
        inner = _shape(node.args[0])[2]
        if columns > _NARROW or math.prod((members, rows, inner, columns)) < _WORTH_REARRANGING:
            continue
        call = module.graph.call_function
        with module.graph.inserting_before(node):
            side_by_side = call(_OPERATIONS.permute.default, (own, [1, 0, 2]))
            wide = call(_OPERATIONS.reshape.default, (side_by_side, [inner, members * columns]))
            product = call(_OPERATIONS.mm.default, (shared, wide))
            apart = call(_OPERATIONS.view.default, (product, [rows, members, columns]))
            stacked = call(_OPERATIONS.permute.default, (apart, [1, 0, 2]))
            result = call(_OPERATIONS.contiguous.default, (stacked,))
        result.meta = dict(node.meta)
        node.replace_all_uses_with(result)


def _products_of_one(module: GraphModule) -> Iterator[tuple[Node, Node]]:
    """Yields products of one matrix with several, and that matrix."""
    for node in list(module.graph.nodes):
        if node.target is not _OPERATIONS.bmm.default or _shape(node)[0] == 1:
            continue
        left = node.args[0]
        if left.target is _OPERATIONS.expand.default and _shape(left.args[0]) == _shape(left)[1:]:
            yield node, left.args[0]


def _shape(node: Any) -> tuple[int, ...]:
    meta = _meta(node)
    return () if meta is None else tuple(meta.shape)


def _is_float32(node: Any) -> bool:
    meta = _meta(node)
    return meta is not None and meta.dtype == torch.float32


def _is_floating(node: Any) -> bool:
    meta = _meta(node)
    return meta is not None and meta.dtype.is_floating_point


def _meta(node: Any) -> TensorMetadata | None:
    """Returns shape, stride and type of what an operation gives; `None` where that is not one tensor."""
    meta = node.meta.get("tensor_meta") if isinstance(node, Node) else None
    return meta if isinstance(meta, TensorMetadata) else None
