"""What is kept of a step's gradients: four numbers for each weight, computed where the step runs."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import keras
import numpy as np
from keras import ops

Tensor = Any

QUANTITIES = ("gradient_norm", "weight_norm", "update_ratio", "zero_share")

# Tensors up to this size are laid side by side and summed together: a kernel each would cost more than the sums.
_SMALL = 16_384
_TOGETHER = 65_536

# Weights up to this size lie one after another in one tensor and are gathered where several have one size.
_GATHERED = 256

# The rows of that layout. Sums run down its columns, which every backend vectorizes.
_ROWS = 32


def reduce(
    gradients: Sequence[Tensor | None], old: Sequence[Tensor], new: Sequence[Tensor], side_by_side: bool = True
) -> Tensor:
    """Reduces one step of training to four numbers for each weight.

    A pure function of tensors with static shapes in `keras.ops`: it can be compiled, and mapped over members.

    Args:
        gradients: The loss' gradient by each weight, unscaled; `None` where the loss does not depend on it.
        old: The weights before the step, of the gradients' shapes.
        new: The weights after it.
        side_by_side: Lay small tensors side by side and sum them together. XLA's programs are faster with it, graphs of
            TensorFlow without it.

    Returns:
        A float32 tensor `(weights, 4)` with the columns of `QUANTITIES`: the gradient's 2-norm, the old weight's
        2-norm, `norm(new - old) / norm(old)`, and the share of elements of the gradient that are exactly zero. The
        first and the last are NaN without a gradient and where one of its elements is NaN; the ratio is not finite
        where the old weight is all zeros. Sums of squares are formed in float32, so norms below 1e-19 are zero and
        those above 1e19 infinite.
    """
    given = [ops.zeros_like(weight) if own is None else own for own, weight in zip(gradients, old, strict=True)]
    given, old, new = (list(map(_float32, tensors)) for tensors in (given, old, new))
    sums = (_together if side_by_side else _one_by_one)(given, old, new)
    columns = _columns(ops.sqrt(sums[:3]), sums[3], [_size(weight) for weight in old])
    missing = np.array([gradient is None for gradient in gradients])
    if missing.any():
        lacks = ops.convert_to_tensor(missing)
        columns[0], columns[3] = (ops.where(lacks, float("nan"), columns[i]) for i in (0, 3))
    return ops.stack(columns, axis=1)


def reduce_flat(gradient: Tensor, old: Tensor, new: Tensor, sizes: Sequence[int]) -> Tensor:
    """Reduces one step as `reduce` does, from all weights one after another in one tensor.

    Args:
        gradient: The loss' gradient, float32, `(sum of sizes,)`.
        old: The weights before the step, of the same shape.
        new: The weights after it.
        sizes: How many elements each weight has.

    Returns:
        A float32 tensor `(weights, 4)`, as `reduce` gives it.
    """
    change = new - old
    # Taken of the whole at once, and by signs: PyTorch compares and casts ten times slower.
    nonzero = ops.abs(ops.sign(gradient))
    alone, alike = _flat_groups(sizes)
    order = alone + [index for group in alike for index in group]
    parts = []
    if alone:
        parts.append(_flat_alone((gradient, old, change), nonzero, _places(sizes, alone)))
    if alike:
        parts.append(_flat_alike((gradient, old, change, nonzero), sizes, alike))
    rows = _in_order(_joined(parts), order)
    return ops.stack(_columns(rows[:3], rows[3], sizes), axis=1)


def _flat_groups(sizes: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Returns the indices of weights that are summed one by one, and those of small weights by their size."""
    by_size: dict[int, list[int]] = {}
    for index, size in enumerate(sizes):
        by_size.setdefault(size, []).append(index)
    alike = [group for size, group in by_size.items() if size <= _GATHERED and len(group) > 1]
    return sorted(set(range(len(sizes))).difference(*alike)), alike


def _places(sizes: Sequence[int], indices: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum(sizes).tolist()
    return [(ends[index] - sizes[index], ends[index]) for index in indices]


def _flat_alone(tensors: Sequence[Tensor], nonzero: Tensor, places: Sequence[tuple[int, int]]) -> Tensor:
    """Returns the norms of parts of three tensors and the counts of nonzeros, `(4, places)`."""
    # A norm of a part reads it once and writes one number; squares would be written and read again.
    norms = [ops.norm(tensor[start:end]) for tensor in tensors for start, end in places]
    counts = [ops.sum(nonzero[start:end]) for start, end in places]
    return ops.reshape(ops.stack([*norms, *counts]), (4, len(places)))


def _flat_alike(tensors: Sequence[Tensor], sizes: Sequence[int], groups: Sequence[Sequence[int]]) -> Tensor:
    """Returns the same of weights of few sizes, in few operations: the more weights, the more operations it saves."""
    places = _places(sizes, [index for group in groups for index in group])
    index = np.concatenate([np.arange(start, end, dtype="int32") for start, end in places])
    gathered = ops.stack([ops.take(tensor, index) for tensor in tensors])
    # The signs' squares are their counts.
    squares = ops.square(gathered)
    sums, start = [], 0
    for group in groups:
        size = sizes[group[0]]
        own = squares[:, start : start + len(group) * size]
        sums.append(ops.sum(ops.reshape(own, (4, len(group), size)), axis=2))
        start += len(group) * size
    joined = _joined(sums)
    return ops.concatenate([ops.sqrt(joined[:3]), joined[3:]], axis=0)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _in_order(columns: Tensor, order: Sequence[int]) -> Tensor:
    """Puts columns that stand for weights in an order of theirs into the weights' own."""
    return columns if list(order) == sorted(order) else ops.take(columns, np.argsort(order), axis=1)


def _columns(norms: Sequence[Tensor], nonzero: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Turns the norms of gradients, weights and changes and the counts of nonzeros into the columns of `QUANTITIES`."""
    total = ops.convert_to_tensor(np.array(sizes, "float32"))
    zero_share = ops.where(ops.isnan(norms[0]), float("nan"), (total - nonzero) / total)
    return [norms[0], norms[1], norms[2] / norms[1], zero_share]


def _one_by_one(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Returns the sums of squares of gradients, old weights and changes and the counts of nonzeros, `(4, tensors)`."""
    squared = [*gradients, *old, *(after - before for before, after in zip(old, new, strict=True))]
    sums = [ops.sum(ops.square(tensor)) for tensor in squared]
    counts = [ops.sum(ops.cast(ops.not_equal(gradient, 0), "float32")) for gradient in gradients]
    return ops.reshape(ops.stack([*sums, *counts]), (4, len(old)))


def _together(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Returns what `_one_by_one` returns, with few large operations instead of many small ones."""
    order: list[int] = []
    parts: list[Tensor] = []
    for group in _groups([_size(weight) for weight in old]):
        order += group
        parts += _group_sums(*([tensors[i] for i in group] for tensors in (gradients, old, new)))
    return _in_order(_joined(parts), order)


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


def _group_sums(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> list[Tensor]:
    """Returns the sums of a group in pieces, `(4, tensors of one width)` each, in its order."""
    (gradient, widths), (before, _), (after, _) = (_side_by_side(tensors) for tensors in (gradients, old, new))
    columns = ops.stack(
        [
            *(ops.sum(ops.square(tensor), axis=0) for tensor in (gradient, before, after - before)),
            ops.sum(ops.cast(ops.not_equal(gradient, 0), "float32"), axis=0),
        ]
    )
    sums, start = [], 0
    # Neighbours of one width are one sum: a mask over all columns took YNNPACK a quarter of a step.
    for width, own in groupby(widths):
        count = len(list(own))
        part = columns[:, start : start + count * width]
        sums.append(ops.sum(ops.reshape(part, (4, count, width)), axis=2))
        start += count * width
    return sums


def _side_by_side(tensors: Sequence[Tensor]) -> tuple[Tensor, list[int]]:
    """Returns tensors as one matrix with columns of their own, filled up with zeros, and their numbers of columns."""
    if len(tensors) == 1:
        width = tensors[0].shape[-1] if len(tensors[0].shape) else 1
        return ops.reshape(tensors[0], (-1, width)), [width]
    laid = []
    for tensor in tensors:
        flat = ops.reshape(tensor, (-1,))
        short = -flat.shape[0] % _ROWS
        laid.append(ops.reshape(ops.pad(flat, ((0, short),)) if short else flat, (_ROWS, -1)))
    return ops.concatenate(laid, axis=1), [part.shape[1] for part in laid]


def _size(tensor: Tensor) -> int:
    return int(np.prod(tensor.shape))


def _float32(tensor: Tensor) -> Tensor:
    return tensor if keras.backend.standardize_dtype(tensor.dtype) == "float32" else ops.cast(tensor, "float32")
