"""What recording steps have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.watch import reduction

Tensor = Any
Listened = Callable[[], Sequence[keras.Variable]]

# Rows that are kept on the device between two readings. The numbers of an epoch wait on the host.
ROWS = 128


class RecordingStep:
    """Stands in for `model.train_function`, does what that does and keeps a row for each recorded step.

    Args:
        model: A compiled model whose `make_train_function` was called.
        listened: Returns the variables to record; asked when the first step runs, and the same ever after.
        every: Record every so many steps, counted from the start of each epoch.
    """

    def __init__(self, model: keras.Model, listened: Listened, every: int) -> None:
        self._model = model
        self._listened = listened
        self._every = every
        self._read: list[np.ndarray] = []

    def __call__(self, *arguments: Any) -> Any:
        """Runs one call of the train function."""
        raise NotImplementedError

    def begin_epoch(self) -> None:
        """Forgets all rows and starts to count steps anew."""
        raise NotImplementedError

    def rows(self) -> np.ndarray:
        """Returns the rows recorded since `begin_epoch`, `(recorded steps, variables, 4)`."""
        raise NotImplementedError

    def _joined(self) -> np.ndarray:
        return np.concatenate(self._read) if self._read else np.zeros((0, 0, len(reduction.QUANTITIES)), "float32")


def without_ratio(rows: Tensor, moved: Tensor | None) -> Tensor:
    """Makes the update's ratio NaN where a step only gathered gradients or was skipped; `None`: every step moves."""
    if moved is None:
        return rows
    others = np.array([quantity != "update_ratio" for quantity in reduction.QUANTITIES])
    return ops.where(ops.logical_or(moved, ops.convert_to_tensor(others)), rows, float("nan"))
