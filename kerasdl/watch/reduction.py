"""What is kept of a step's gradients: four norms for each weight, computed where the step runs, and what they say."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.train.backends import current_backend

Tensor = Any

QUANTITIES = ("gradient_norm", "weight_norm", "update_ratio", "zero_share")

# The norms of a weight: of its gradient, of itself, of its change, and of its gradient's signs, whose square counts the
# elements that are not zero.
NORMS = 4
_OF_GRADIENT, _OF_CHANGE = (0, 3), 2

# What float32 does not tell from a count of all elements.
_LEAST_SHARE = 2**-22

# Tensors up to this size are laid side by side and summed together: a kernel each would cost more than the sums.
_SMALL = 16_384
_TOGETHER = 65_536

# Weights up to this size lie one after another in one tensor and are gathered where several have one size.
_GATHERED = 256

# The rows of that layout. Sums run down its columns, which every backend vectorizes.
_ROWS = 32


def quantities(norms: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Turns the norms of recorded steps into what they say.

    Args:
        norms: What `reduce` gave in each step, float32, `(..., 4, weights)`.
        sizes: How many elements each weight has.

    Returns:
        A float32 array `(..., weights, 4)` with the columns of `QUANTITIES`: the gradient's 2-norm, the old weight's
        2-norm, `norm(new - old) / norm(old)`, and the share of elements of the gradient that are exactly zero. The
        first and the last are NaN without a gradient and where one of its elements is NaN; the ratio is not finite
        where the old weight is all zeros or the step moved nothing. Squares are summed in float32, so norms below 1e-19
        are zero and those above 1e19 infinite.
    """
    gradient, weight, change, signs = (norms[..., row, :] for row in range(NORMS))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = change / weight
    zero_share = 1 - np.rint(np.square(signs, dtype="float64")) / np.asarray(sizes)
    zero_share[zero_share < _LEAST_SHARE] = 0
    zero_share[np.isnan(gradient)] = np.nan
    return np.stack([gradient, weight, ratio, zero_share.astype("float32")], axis=-1)


def norms_together(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Computes the norms of each weight, with small tensors laid side by side: XLA's programs are fastest with it.

    Args:
        gradients: The gradients, float32.
        old: The weights before the step, float32.
        new: The weights after it, float32.

    Returns:
        A float32 tensor `(4, weights)`.
    """
    return ops.sqrt(_together(gradients, old, new))


def reduce(
    gradients: Sequence[Tensor | None],
    old: Sequence[Tensor],
    new: Sequence[Tensor],
    norms: Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor] = norms_together,
) -> Tensor:
    """Reduces one step of training to four norms for each weight.

    A pure function of tensors with static shapes: it can be compiled, and mapped over members.

    Args:
        gradients: The loss' gradient by each weight, unscaled; `None` where the loss does not depend on it.
        old: The weights before the step, of the gradients' shapes.
        new: The weights after it.
        norms: What computes the norms, as `norms_together` does.

    Returns:
        A float32 tensor `(4, weights)`, as `quantities` takes it.
    """
    given = [ops.zeros_like(weight) if own is None else own for own, weight in zip(gradients, old, strict=True)]
    found = norms(*(list(map(_float32, tensors)) for tensors in (given, old, new)))
    return _with_missing(found, gradients)


def _with_missing(norms: Tensor, gradients: Sequence[Tensor | None]) -> Tensor:
    """Makes the norms of gradients NaN for weights without one."""
    missing = [gradient is None for gradient in gradients]
    if not any(missing):
        return norms
    lacks = np.outer(np.isin(np.arange(NORMS), _OF_GRADIENT), missing)
    return ops.where(ops.convert_to_tensor(lacks), float("nan"), norms)


def without_change(norms: Tensor, moved: Tensor | None) -> Tensor:
    """Makes the change's norm NaN where a step only gathered gradients or was skipped; `None`: every step moves."""
    if moved is None:
        return norms
    others = (np.arange(NORMS) != _OF_CHANGE)[:, None]
    return ops.where(ops.logical_or(moved, ops.convert_to_tensor(others)), norms, float("nan"))


def reduce_flat(gradient: Tensor, old: Tensor, new: Tensor, sizes: Sequence[int]) -> Tensor:
    """Reduces one step as `reduce` does, from all weights one after another in one tensor.

    Args:
        gradient: The loss' gradient, float32, `(sum of sizes,)`.
        old: The weights before the step, of the same shape.
        new: The weights after it.
        sizes: How many elements each weight has.

    Returns:
        A float32 tensor `(4, weights)`, as `quantities` takes it.
    """
    change = new - old
    # Taken of the whole at once; PyTorch compares and casts ten times slower.
    signs = ops.sign(gradient)
    alone, alike = _flat_groups(sizes)
    order = alone + [index for group in alike for index in group]
    parts = []
    if alone:
        parts.append(_flat_alone((gradient, old, change, signs), _places(sizes, alone)))
    if alike:
        parts.append(_flat_alike((gradient, old, change, signs), sizes, alike))
    return _in_order(_joined(parts), order)


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


def _flat_alone(tensors: Sequence[Tensor], places: Sequence[tuple[int, int]]) -> Tensor:
    """Returns the norms of parts of tensors, `(tensors, places)`."""
    # A norm of a part reads it once and writes one number; squares would be written and read again.
    norms = [current_backend().norm(tensor[start:end]) for tensor in tensors for start, end in places]
    return ops.reshape(ops.stack(norms), (len(tensors), len(places)))


def _flat_alike(tensors: Sequence[Tensor], sizes: Sequence[int], groups: Sequence[Sequence[int]]) -> Tensor:
    """Returns the same of weights of few sizes, in few operations: the more weights, the more operations it saves."""
    places = _places(sizes, [index for group in groups for index in group])
    index = np.concatenate([np.arange(start, end, dtype="int32") for start, end in places])
    squares = ops.square(ops.stack([ops.take(tensor, index) for tensor in tensors]))
    sums, start = [], 0
    for group in groups:
        size = sizes[group[0]]
        own = squares[:, start : start + len(group) * size]
        sums.append(ops.sum(ops.reshape(own, (4, len(group), size)), axis=2))
        start += len(group) * size
    return ops.sqrt(_joined(sums))


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=1)


def _in_order(columns: Tensor, order: Sequence[int]) -> Tensor:
    """Puts columns that stand for weights in an order of theirs into the weights' own."""
    return columns if list(order) == sorted(order) else ops.take(columns, np.argsort(order), axis=1)


def _together(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Returns the sums of squares of gradients, old weights, changes and signs, `(4, weights)`."""
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
    return tensor if _is_float32(tensor.dtype) else ops.cast(tensor, "float32")


@cache
def _is_float32(dtype: Any) -> bool:
    return bool(keras.backend.standardize_dtype(dtype) == "float32")
