"""What a data set is: three splits of arrays, and the facts about them."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

# Bytes of an array that are looked at in one go.
_PART = 2**24


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        x: float32, `(rows, *features)`, scaled. A memory map (`numpy.memmap`) where memory would not hold it.
        y: int64, `(rows,)`, the class of each row; or of images that are segmented uint8, `(rows, height, width)`, the
            class of each pixel, which the sparse losses and metrics of Keras take on every backend.
        weights: float32, `(rows,)`, how much each row counts in the loss; `None` where all count the same.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """What a batch is made of: `x` and `y`, and the weights where there are any."""
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True, eq=False)
class Scaling:
    """How raw features became what the model sees: `(raw - offset) / scale`.

    Attributes:
        offset: float32, broadcastable to one row of features.
        scale: float32, the same shape, nowhere zero.
    """

    offset: np.ndarray
    scale: np.ndarray

    def apply(self, raw: np.ndarray) -> np.ndarray:
        """Scales raw features, `(rows, *features)`, to float32 of the same shape."""
        # One array of the result's size at a time: an image set and its scaled copy are all that memory has to hold.
        x = raw - self.offset
        x /= self.scale
        return x.astype("float32", copy=False)

    def invert(self, x: np.ndarray) -> np.ndarray:
        """Gives back the raw features of scaled ones, float32 of the same shape."""
        return (x * self.scale + self.offset).astype("float32")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Arrays to learn from and the facts about them.

    Attributes:
        name: The specification it was loaded by, such as `"countries"` or `"csv:houses.csv?target=kind"`.
        train: The rows to learn from.
        validation: The rows to choose by.
        test: The rows that are looked at once per trial, at its end.
        classes: The name of each class, in the order of the labels.
        features: The name of each input column; empty for images.
        scaling: How the raw features were scaled, by statistics of the training rows alone.
        source: Where the data come from.
        licence: Under which terms.
        fingerprint: SHA-256 of the arrays' contents, hexadecimal.
        notes: What a reader must know (a sample was taken, rows were left out).
        places: int64, where each training and each validation row lies on a line along which neighbours are alike, as
            slices of a body are; `None` where rows have nothing to do with each other.
        gap: Rows no farther apart than this on that line are too much alike to be in different splits.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    features: tuple[str, ...]
    scaling: Scaling
    source: str
    licence: str
    fingerprint: str
    notes: tuple[str, ...] = field(default=())
    places: tuple[np.ndarray, np.ndarray] | None = None
    gap: int = 0

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row of features."""
        return self.train.x.shape[1:]

    @property
    def task(self) -> str:
        """`"classification"`, a class for each row, or `"segmentation"`, a class for each pixel."""
        return "classification" if self.train.y.ndim == 1 else "segmentation"

    @property
    def mapped(self) -> bool:
        """Whether arrays are memory maps, which are read from disk part by part and never held as a whole."""
        splits = (self.train, self.validation, self.test)
        return any(isinstance(array, np.memmap) for split in splits for array in split.arrays)

    def facts(self) -> dict[str, object]:
        """Returns what is known about the data as values that JSON can hold, without the arrays."""
        return {
            "name": self.name,
            "task": self.task,
            "rows": {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)},
            "input_shape": list(self.input_shape),
            "classes": list(self.classes),
            "features": list(self.features),
            "scaling": {"offset": self.scaling.offset.tolist(), "scale": self.scaling.scale.tolist()},
            "source": self.source,
            "licence": self.licence,
            "fingerprint": self.fingerprint,
            "notes": list(self.notes),
        }


def fingerprint(splits: Iterable[Split], classes: Iterable[str]) -> str:
    """Returns the SHA-256 of what is learnt from, so that two runs can prove that they saw the same data.

    Args:
        splits: The splits, in the order train, validation, test.
        classes: The name of each class.

    Returns:
        64 hexadecimal digits over the dtype, shape and bytes of every array and over the class names.
    """
    return fingerprint_of(((split.x, split.y) for split in splits), classes)


def fingerprint_of(pairs: Iterable[tuple[Any, Any]], classes: Iterable[str]) -> str:
    """Returns the fingerprint of features and labels that are no splits yet.

    Args:
        pairs: Features and labels of train, validation and test; of each, anything with a `dtype`, a `shape` and rows
            that are read by slices.
        classes: The name of each class.

    Returns:
        What `fingerprint` returns of the same.
    """
    digest = hashlib.sha256()
    for pair in pairs:
        for array in pair:
            digest.update(f"{array.dtype.str}{array.shape};".encode())
            # What lies on disk is read part by part, never as a whole.
            rows = max(_PART // max(array[:1].nbytes, 1), 1)
            for start in range(0, len(array), rows):
                digest.update(np.ascontiguousarray(array[start : start + rows]).data)
    for name in classes:
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        encoded = name.encode()
        digest.update(f"{len(encoded)}:".encode() + encoded)
    return digest.hexdigest()


def assemble(
    name: str,
    *,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    scaling: Scaling,
    classes: Iterable[str],
    features: Iterable[str] = (),
    source: str,
    licence: str,
    notes: Iterable[str] = (),
) -> Dataset:
    """Scales raw splits and puts a data set together.

    Args:
        name: The specification it was loaded by.
        train: Raw features `(rows, *features)` of any number type and integer labels `(rows,)`.
        validation: The same for the rows to choose by.
        test: The same for the rows looked at once.
        scaling: How raw features become what the model sees.
        classes: The name of each class, in the order of the labels.
        features: The name of each input column; empty for images.
        source: Where the data come from.
        licence: Under which terms.
        notes: What a reader must know.

    Returns:
        The data set, float32 features and int64 labels, with its fingerprint.
    """
    splits = [Split(scaling.apply(raw), y.astype("int64", copy=False)) for raw, y in (train, validation, test)]
    classes = tuple(classes)
    return Dataset(
        name=name,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        classes=classes,
        features=tuple(features),
        scaling=scaling,
        source=source,
        licence=licence,
        fingerprint=fingerprint(splits, classes),
        notes=tuple(notes),
    )
