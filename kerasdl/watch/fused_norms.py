"""Norms for programs that XLA compiles: weights are laid out as matrices and summed down their columns.

A sum along a row waits for each of its additions; down columns, as many are added at once as a vector holds. What is
left is one row of sums, which is summed along.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
from keras import ops

from kerasdl.train.backends import current_backend

Tensor = Any

# The rows of such a matrix at most. Where rows are added one by one, each is more to compile: of many matrices each has
# fewer, down to the least, and all together about so many.
_ROWS = 32
_LEAST_ROWS = 4
_ALL_ROWS = 256

# Tensors up to this size are laid side by side and summed together: a loop each would cost more than the sums.
_SMALL = 16_384
_TOGETHER = 65_536

# Parts smaller than this are a row each: what is left of a matrix of theirs would be as long to sum.
_LEAST = 512


def of_tensors(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Computes the norms of each weight, with small tensors laid side by side.

    Args:
        gradients: The gradients, float32.
        old: The weights before the step, float32.
        new: The weights after it, float32.

    Returns:
        A float32 tensor `(4, weights)`.
    """
    groups = list(_groups([_size(weight) for weight in old]))
    rows = _most_rows(len(groups)) if current_backend().FUSES_ROWS else _ROWS
    parts: list[Tensor] = []
    for group in groups:
        parts += _group_sums(rows, *([tensors[i] for i in group] for tensors in (gradients, old, new)))
    return ops.sqrt(in_order(parts, [index for group in groups for index in group]))


def of_parts(gradient: Tensor, old: Tensor, new: Tensor, sizes: Sequence[int]) -> Tensor:
    """Computes the same of weights that lie one after another, those of one size together, where sums of rows fuse.

    Args:
        gradient: The gradients, float32, `(sum of sizes,)`.
        old: The weights before the step, of the same shape.
        new: The weights after it.
        sizes: How many elements each weight has.

    Returns:
        A float32 tensor `(4, weights)`.
    """
    starts = np.cumsum([0, *sizes[:-1]])
    groups = by_size(sizes)
    most = _most_rows(sum(size >= _LEAST for size in groups))
    parts = []
    for size, group in groups.items():
        rows = _rows(size, most) if size >= _LEAST else 1
        width = size // rows
        columns = _added(
            tuple(_windows(tensor, starts[group] + row * width, width) for tensor in (gradient, old, new))
            for row in range(rows)
        )
        parts.append(ops.sum(columns, axis=2))
    return ops.sqrt(in_order(parts, [index for group in groups.values() for index in group]))


def _terms(gradient: Tensor, old: Tensor, new: Tensor) -> list[Tensor]:
    """Returns the squares of gradients, old weights and changes, and ones for gradients that are not zero."""
    return [*map(ops.square, (gradient, old, new - old)), ops.cast(ops.not_equal(gradient, 0), "float32")]


def _added(rows: Iterable[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """Adds up the terms of rows, one after another.

    Args:
        rows: The gradients, old and new weights of each row, of one shape.

    Returns:
        A tensor `(4, *shape)`.
    """
    sums: list[Tensor] = []
    for row in rows:
        terms = _terms(*row)
        sums = [all_ + own for all_, own in zip(sums, terms, strict=True)] if sums else terms
    return ops.stack(sums)


def _down(matrices: Sequence[Tensor]) -> Tensor:
    """Returns the sums down the columns of matrices of gradients, old and new weights, `(4, columns)`."""
    if current_backend().FUSES_ROWS:
        return _added(zip(*map(ops.unstack, matrices), strict=True))
    return ops.stack([ops.sum(term, axis=0) for term in _terms(*matrices)])


def _windows(tensor: Tensor, starts: np.ndarray, width: int) -> Tensor:
    """Returns parts of one width of a flat tensor, `(parts, width)`."""
    if len(starts) == 1:
        return tensor[int(starts[0]) : int(starts[0]) + width][None]
    given = ops.convert_to_tensor(starts, "int32")
    return ops.vectorized_map(lambda start: ops.slice(tensor, start[None], (width,)), given)


def _most_rows(matrices: int) -> int:
    """Returns how many rows each of so many matrices has at most."""
    return min(_ROWS, max(_LEAST_ROWS, _ALL_ROWS // max(matrices, 1)))


def _rows(size: int, most: int) -> int:
    """Returns how many rows of one width hold a weight of this size without a remainder."""
    return max(rows for rows in range(1, most + 1) if size % rows == 0)


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Yields the indices of tensors that are summed together: small ones in groups by size, large ones alone."""
    together: list[int] = []
    total = 0
    for index, size in sorted(enumerate(sizes), key=itemgetter(1)):
        if size > _SMALL:
            yield [index]
            continue
        if total + size > _TOGETHER:
            yield together
            together, total = [], 0
        together.append(index)
        total += size
    if together:
        yield together


def _group_sums(rows: int, gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> list[Tensor]:
    """Returns the sums of a group in pieces, `(4, tensors of one width)` each, in its order."""
    matrices, widths = zip(*(_side_by_side(tensors, rows) for tensors in (gradients, old, new)), strict=True)
    columns = _down(matrices)
    sums, start = [], 0
    # Neighbours of one width are one sum.
    for width, own in groupby(widths[0]):
        count = len(list(own))
        part = columns[:, start : start + count * width]
        sums.append(ops.sum(ops.reshape(part, (4, count, width)), axis=2))
        start += count * width
    return sums


def _side_by_side(tensors: Sequence[Tensor], rows: int) -> tuple[Tensor, list[int]]:
    """Returns tensors as one matrix with columns of their own, filled up with zeros, and their numbers of columns."""
    if len(tensors) == 1:
        size = _size(tensors[0])
        width = size // _rows(size, rows) if current_backend().FUSES_ROWS else (1, *tensors[0].shape)[-1]
        return ops.reshape(tensors[0], (-1, width)), [width]
    laid = []
    for tensor in tensors:
        flat = ops.reshape(tensor, (-1,))
        short = -flat.shape[0] % rows
        laid.append(ops.reshape(ops.pad(flat, ((0, short),)) if short else flat, (rows, -1)))
    return ops.concatenate(laid, axis=1), [part.shape[1] for part in laid]


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))


def by_size(sizes: Sequence[int]) -> dict[int, list[int]]:
    """Returns the indices of weights by how many elements they have."""
    groups: dict[int, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return groups


def in_order(parts: Sequence[Tensor], order: Sequence[int]) -> Tensor:
    """Joins columns that stand for weights in an order of theirs, and puts them into the weights' own.

    Args:
        parts: Tensors `(4, some of the weights)`.
        order: Which weight each column stands for, of all parts.

    Returns:
        A tensor `(4, weights)`.
    """
    columns = parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)
    return columns if list(order) == sorted(order) else ops.take(columns, np.argsort(order), axis=1)
