"""Mean and variance in each channel, of one batch or of many."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.errors import UserError
from kerasdl.watch.forward import Batch

Tensor = Any


class Moments:
    """Mean and variance of what was added, by channel.

    Batches are joined pairwise in float64 (T. F. Chan, G. H. Golub, R. J. LeVeque, Updating formulae and a pairwise
    algorithm for computing sample variances, 1979).

    Attributes:
        mean: float64 `(channels,)`.
    """

    def __init__(self) -> None:
        self._count: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0
        self.mean: np.ndarray = np.zeros(())

    @property
    def variance(self) -> np.ndarray:
        """The variance with the number of values as divisor, as batch normalization takes it; float64 `(channels,)`."""
        return np.asarray(self._squares / self._count)

    def add(self, inputs: Tensor, mask: Tensor | None, axis: int) -> None:
        """Adds a batch.

        Args:
            inputs: A tensor with channels along `axis`.
            mask: `None`, or which entries count, of the inputs' shape without the last axis.
            axis: The channels' axis.
        """
        inputs = ops.cast(inputs, "float32")
        axis = axis % len(inputs.shape)
        others = tuple(number for number in range(len(inputs.shape)) if number != axis)
        weights = ops.ones_like(inputs) if mask is None else ops.zeros_like(inputs) + _spread(mask)
        counts = ops.sum(weights, axis=others, keepdims=True)
        mean = ops.sum(inputs * weights, axis=others, keepdims=True) / ops.maximum(counts, 1)
        distance = inputs - mean
        sums = (counts, mean, ops.sum(weights * distance, axis=others), ops.sum(weights * distance**2, axis=others))
        count, rounded, rest, squares = (np.asarray(ops.convert_to_numpy(part), "float64").reshape(-1) for part in sums)
        # The mean was rounded to float32; what the distances from it still sum to says by how much.
        missed = rest / np.maximum(count, 1)
        self._join(count, rounded + missed, squares - count * missed**2)

    def _join(self, count: np.ndarray, mean: np.ndarray, squares: np.ndarray) -> None:
        total = self._count + count
        difference = mean - self.mean
        weight = count / np.maximum(total, 1)
        self._squares = self._squares + squares + difference**2 * self._count * weight
        self.mean = self.mean + difference * weight
        self._count = total


def _spread(mask: Tensor) -> Tensor:
    return ops.expand_dims(ops.cast(mask, "float32"), axis=-1)


def slices(batch: Batch, size: int, where: str) -> Iterator[Batch]:
    """Cuts rows into batches, the last of what is left.

    Args:
        batch: Arrays with the rows as their first axis.
        size: Rows in each.
        where: Who asks, for messages.

    Yields:
        Batches of features alone.

    Raises:
        UserError: There are no rows.
    """
    rows = [len(part) for part in keras.tree.flatten(batch.x)]
    if not rows or min(rows) == 0:
        raise UserError(f"{where}(whole=...): there are no rows to take moments of")
    for start in range(0, rows[0], size):
        yield Batch(keras.tree.map_structure(lambda part, start=start: part[start : start + size], batch.x), None, None)
