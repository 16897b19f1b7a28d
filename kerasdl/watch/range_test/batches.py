"""Gives Keras' `fit` the data of a range test, whatever form they have."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.errors import UserError

# What Keras' `fit` takes where nothing is said.
BATCH_SIZE = 32

_FORMS = "give (x, y) arrays, a kerasdl Dataset, a PyDataset, a tf.data.Dataset or a torch DataLoader"


class ShuffledRows(keras.utils.PyDataset):
    """The rows of arrays in one order, drawn without touching any random state.

    Args:
        parts: `(x, y, sample_weight)` or the first of these; each an array or a structure of arrays.
        batch_size: Rows in a batch.
        seed: Draws the order.
    """

    def __init__(self, parts: tuple[Any, ...], batch_size: int, seed: int) -> None:
        super().__init__()
        self._parts = parts
        self._batch_size = batch_size
        self._order = np.random.default_rng(seed).permutation(_rows(parts))

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return tuple(keras.tree.map_structure(lambda array: array[rows], part) for part in self._parts)


def fit_arguments(data: Any, batch_size: int | None, seed: int) -> dict[str, Any]:
    """Returns the arguments of `fit` that make it train on the data.

    Args:
        data: As for `find_learning_rate`.
        batch_size: Rows in a batch of arrays.
        seed: Draws the order of arrays.

    Raises:
        UserError: The data are of no form that `fit` takes, or arrays do not fit together.
    """
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise UserError(f"batch_size: {batch_size!r} is not a whole number of at least 1; give one such as 32")
    if isinstance(data, Dataset):
        data = (data.train.x, data.train.y)
    if isinstance(data, tuple | list) and 1 <= len(data) <= 3:
        return _of_arrays(tuple(data), batch_size, seed)
    if isinstance(data, np.ndarray | dict) or keras.ops.is_tensor(data):
        return _of_arrays((data,), batch_size, seed)
    if isinstance(data, str | bytes) or not isinstance(data, Iterable | keras.utils.PyDataset):
        raise UserError(f"data: a {type(data).__name__} cannot be trained on; {_FORMS}")
    if batch_size is not None:
        raise UserError(f"batch_size: a {type(data).__name__} has batches of its own; leave batch_size out")
    if hasattr(data, "__next__"):
        # Keras takes a generator, no other iterator, and would go on with its first two batches after its end.
        return {"x": (batch for batch in data), "shuffle": False, "epochs": 1}
    # `fit` shuffles the batches of a PyDataset with an end unless told otherwise, and warns where it cannot.
    ends = isinstance(data, keras.utils.PyDataset) and data.num_batches is not None
    return {"x": data, "shuffle": ends}


def _of_arrays(parts: tuple[Any, ...], batch_size: int | None, seed: int) -> dict[str, Any]:
    # A sample weight may be missing, a target too (an autoencoder's own loss).
    while parts and parts[-1] is None:
        parts = parts[:-1]
    parts = tuple(keras.tree.map_structure(_array, part) for part in parts)
    lengths = {array.shape[:1] for array in keras.tree.flatten(parts)}
    if len(lengths) != 1 or () in lengths:
        raise UserError(f"data: the arrays have {_counted(parts)} rows; each must have the same number; {_FORMS}")
    if _rows(parts) == 0:
        raise UserError("data: the arrays have no rows; give some")
    return {"x": ShuffledRows(parts, batch_size or BATCH_SIZE, seed), "shuffle": False}


def _array(value: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)


def _rows(parts: tuple[Any, ...]) -> int:
    return len(keras.tree.flatten(parts)[0])


def _counted(parts: tuple[Any, ...]) -> str:
    return ", ".join(str(array.shape[0]) if array.ndim else "no" for array in keras.tree.flatten(parts))
