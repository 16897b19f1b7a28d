"""The order in which rows are learned from: settled by the seed and the epoch, on every backend alike."""

import numpy as np


def row_order(rows: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of the training rows in an epoch.

    Args:
        rows: How many rows there are.
        seed: The trial's seed: trials that share it see the same batches.
        epoch: 1 is the first.

    Returns:
        int32, `(rows,)`, a permutation.
    """
    return np.random.default_rng([seed, epoch]).permutation(rows).astype("int32")


def batches(order: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cuts an order into batches, as Keras' `fit` does: full ones, and what is left over.

    Args:
        order: int32, `(..., rows)`.
        batch_size: Rows in a full batch.

    Returns:
        int32 `(steps, ..., batch_size)` and int32 `(..., rest)`, whose `rest` may be 0.
    """
    steps = order.shape[-1] // batch_size
    full = order[..., : steps * batch_size].reshape(*order.shape[:-1], steps, batch_size)
    return np.moveaxis(full, -2, 0), order[..., steps * batch_size :]
