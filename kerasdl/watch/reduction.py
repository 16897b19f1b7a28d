"""What is kept of a step's gradients: four norms for each weight, computed where the step runs, and what they say."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.train.backends import current_backend
from kerasdl.watch import fused_norms

Tensor = Any

QUANTITIES = ("gradient_norm", "weight_norm", "update_ratio", "zero_share")

# The norms of a weight: of its gradient, of itself, of its change, and of its gradient's signs, whose square counts the
# elements that are not zero.
NORMS = 4
_OF_GRADIENT, _OF_CHANGE = (0, 3), 2

# What float32 does not tell from a count of all elements.
_LEAST_SHARE = 2**-22

# Weights up to this size lie one after another in one tensor and are gathered where several have one size.
_GATHERED = 256


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


def reduce(
    gradients: Sequence[Tensor | None],
    old: Sequence[Tensor],
    new: Sequence[Tensor],
    norms: Callable[[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]], Tensor] = fused_norms.of_tensors,
) -> Tensor:
    """Reduces one step of training to four norms for each weight.

    A pure function of tensors with static shapes: it can be compiled, and mapped over members.

    Args:
        gradients: The loss' gradient by each weight, unscaled; `None` where the loss does not depend on it.
        old: The weights before the step, of the gradients' shapes.
        new: The weights after it.
        norms: What computes the norms, as `fused_norms.of_tensors` does.

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
    if current_backend().FUSES_ROWS:
        return fused_norms.of_parts(gradient, old, new, sizes)
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
    return fused_norms.in_order(parts, order)


def _flat_groups(sizes: Sequence[int]) -> tuple[list[int], list[list[int]]]:
    """Returns the indices of weights that are summed one by one, and those of small weights by their size."""
    groups = fused_norms.by_size(sizes)
    alike = [group for size, group in groups.items() if size <= _GATHERED and len(group) > 1]
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
    return ops.sqrt(fused_norms.in_order(sums, range(len(places))))


def _float32(tensor: Tensor) -> Tensor:
    return tensor if _is_float32(tensor.dtype) else ops.cast(tensor, "float32")


@cache
def _is_float32(dtype: Any) -> bool:
    return bool(keras.backend.standardize_dtype(dtype) == "float32")
