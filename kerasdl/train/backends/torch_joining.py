"""Joins operations of PyTorch's recordings: one pass over whole tensors instead of several.

Optimizers are made of such passes: Adam takes two thirds of the time. A product that is added at once is rounded once
instead of twice.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

from kerasdl.train.backends.torch_shortening import Recording, is_float32, same

_OPERATIONS = torch.ops.aten
_ADDED = {_OPERATIONS.add.Tensor: 1, _OPERATIONS.sub.Tensor: -1}
_JOINED = {
    _OPERATIONS.mul.Tensor: _OPERATIONS.addcmul.default,
    _OPERATIONS.div.Tensor: _OPERATIONS.addcdiv.default,
}


def join_additions(recording: Recording) -> None:
    """Turns `x + (y - x) * share` into one operation, and `x + y * z`, `x - y * z`, `x + y / z` and `x - y / z`."""
    for node in list(recording.graph.nodes):
        if node.target not in _ADDED or node.kwargs or not is_float32(node):
            continue
        for summand, part in _parts(node):
            joined, arguments, options = _interpolation(node, summand, part) or (
                _JOINED[part.target],
                (summand, *part.args),
                {"value": _ADDED[node.target]},
            )
            with recording.graph.inserting_before(node):
                result = recording.graph.call_function(joined, arguments, options)
            result.meta = dict(node.meta)
            node.replace_all_uses_with(result)
            recording.graph.erase_node(node)
            break


def _parts(node: Node) -> Iterator[tuple[Node, Node]]:
    """Yields what is added to, with a product or quotient that is used nowhere else."""
    first, second = node.args
    orders = [(first, second)] if node.target is _OPERATIONS.sub.Tensor else [(first, second), (second, first)]
    for summand, part in orders:
        # What is smaller than the sum is cheaper computed before it.
        if _is_alone(part, *_JOINED) and same(part, node, "shape") and all(map(is_float32, (summand, *part.args))):
            yield summand, part


def _is_alone(node: Any, *targets: Any) -> bool:
    return isinstance(node, Node) and node.target in targets and len(node.users) == 1 and not node.kwargs


def _interpolation(node: Node, start: Node, part: Node) -> tuple[Any, tuple[Any, ...], dict[str, Any]] | None:
    if node.target is not _OPERATIONS.add.Tensor or part.target is not _OPERATIONS.mul.Tensor:
        return None
    for distance, share in (part.args, part.args[::-1]):
        if _is_alone(distance, _OPERATIONS.sub.Tensor) and distance.args[1] is start and is_float32(distance.args[0]):
            return _OPERATIONS.lerp.Tensor, (start, distance.args[0], share), {}
    return None


def take_quick_roots(recording: Recording) -> None:
    """Takes square roots as reciprocals of reciprocal ones.

    The mathematical library that PyTorch takes them from needs 25 times as long where some numbers are zero, as the
    second moments of weights are that had no gradient yet.
    """
    for node in list(recording.graph.nodes):
        if node.target is _OPERATIONS.sqrt.default and is_float32(node):
            with recording.graph.inserting_before(node):
                inverse = recording.graph.call_function(_OPERATIONS.rsqrt.default, node.args)
                root = recording.graph.call_function(_OPERATIONS.reciprocal.default, (inverse,))
            inverse.meta, root.meta = dict(node.meta), dict(node.meta)
            node.replace_all_uses_with(root)
            recording.graph.erase_node(node)
