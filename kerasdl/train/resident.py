"""A data set on the device that trains, kept there from one pack to the next."""

import math
import weakref
from dataclasses import dataclass
from typing import Any

import keras

from kerasdl.data import Dataset, Split
from kerasdl.train.scoring import rows_at_once

# Chunks of equal size let validation and test rows be scored by one program; smaller ones are not worth it.
SMALLEST_COMMON_CHUNK = 128

Batch = tuple[Any, ...]

_held: "weakref.WeakKeyDictionary[Dataset, tuple[Batch, dict[int, tuple[list[Batch], list[Batch]]]]]" = (
    weakref.WeakKeyDictionary()
)


@dataclass(frozen=True)
class ResidentData:
    """Tensors of a data set.

    Attributes:
        train: All training rows: features, labels and, where rows have them, weights.
        validation: Batches to score.
        test: Batches to score.
    """

    train: Batch
    validation: list[Batch]
    test: list[Batch]


def resident(dataset: Dataset, model: keras.Model, members: int) -> ResidentData:
    """Moves a data set to the device, or finds it there.

    Args:
        dataset: The data set.
        model: What scores its rows; its widest layer settles how many rows are scored at once.
        members: How many members score at once.
    """
    if dataset not in _held:
        _held.clear()
        _held[dataset] = (_tensors(dataset.train, slice(None)), {})
    train, chunked = _held[dataset]
    size = rows_at_once(model, members)
    common = math.gcd(len(dataset.validation), len(dataset.test))
    if SMALLEST_COMMON_CHUNK <= common <= size:
        size = common
    if size not in chunked:
        chunked[size] = (_chunks(dataset.validation, size), _chunks(dataset.test, size))
    return ResidentData(train, *chunked[size])


def _chunks(split: Split, size: int) -> list[Batch]:
    return [_tensors(split, slice(start, start + size)) for start in range(0, len(split), size)]


def _tensors(split: Split, rows: slice) -> Batch:
    return tuple(keras.ops.convert_to_tensor(array[rows]) for array in split.arrays)
