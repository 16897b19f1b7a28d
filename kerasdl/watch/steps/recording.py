"""What recording steps have in common."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasdl.watch import fused_norms, reduction
from kerasdl.watch.seam import Update

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
        """Returns `QUANTITIES` of the steps recorded since `begin_epoch`, `(recorded steps, variables, 4)`."""
        self._empty()
        if not self._read:
            return np.zeros((0, 0, len(reduction.QUANTITIES)), "float32")
        sizes = [int(np.prod(variable.shape)) for variable in self._listened()]
        return reduction.quantities(np.concatenate(self._read), sizes)

    def _row(self, update: Update) -> Tensor:
        """Returns the norms of a step, `(4, variables)`."""
        found = reduction.reduce(update.gradients, update.old, update.new, self._norms)
        return reduction.without_change(found, update.moved)

    def _norms(self, gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
        """Computes the norms in the way that suits the backend."""
        return fused_norms.of_tensors(gradients, old, new)

    def _empty(self) -> None:
        """Brings the norms that wait on the device to the host, `(steps, 4, variables)`, into `_read`."""
        raise NotImplementedError
