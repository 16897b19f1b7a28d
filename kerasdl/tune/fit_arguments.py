"""What `search` was given to train with: as arrays that packs can learn from, or the reason why not."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset, Scaling, Split
from kerasdl.data.dataset import fingerprint

# Arguments of `fit` that change nothing in what a pack computes.
_WITHOUT_EFFECT = ("self", "x", "y", "epochs", "batch_size", "verbose", "validation_batch_size")
_DATA = ("validation_data", "validation_split")


class NotPackable(Exception):  # noqa: N818 - no error: Keras' `fit` takes over
    """Trials cannot run as one program; the message is the reason."""


@dataclass(frozen=True)
class FitArguments:
    """What a pack is trained with.

    Attributes:
        dataset: The arrays; the test rows are empty.
        epochs: How many epochs.
        batch_size: Rows in a batch.
    """

    dataset: Dataset
    epochs: int
    batch_size: int


def read_arguments(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> FitArguments:
    """Reads what is meant for `keras.Model.fit`.

    Args:
        arguments: Positional arguments of `search`.
        keywords: Its keyword arguments.

    Raises:
        NotPackable: Only Keras' `fit` can do what is asked for, or say what is wrong with it.
    """
    signature = inspect.signature(keras.Model.fit)
    try:
        given = signature.bind(None, *arguments, **keywords)
    except TypeError as error:
        raise NotPackable(f"fit does not take these arguments: {error}") from error
    given.apply_defaults()
    values = given.arguments
    for name, parameter in signature.parameters.items():
        value = values[name]
        if name in _WITHOUT_EFFECT or name in _DATA or value is parameter.default:
            continue
        if isinstance(value, int | float) and value == parameter.default:
            continue
        if name == "callbacks" and not value:
            continue
        raise NotPackable(f"{name} was given")
    epochs, batch_size = values["epochs"], 32 if values["batch_size"] is None else values["batch_size"]
    if not (_is_count(epochs) and _is_count(batch_size)):
        raise NotPackable("epochs and batch_size are not whole numbers above zero")
    train, validation = _splits(values)
    return FitArguments(_dataset(train, validation), int(epochs), int(batch_size))


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0


def _splits(values: Mapping[str, Any]) -> tuple[Split, Split]:
    train = _split("", values["x"], values["y"])
    held, fraction = values["validation_data"], values["validation_split"]
    if held is not None:
        if not isinstance(held, tuple | list) or len(held) != 2:
            raise NotPackable("validation_data is not a pair of arrays")
        return train, _split("validation ", *held)
    if not fraction:
        return train, Split(train.x[:0], train.y[:0])
    rows = len(train)
    # As Keras does: the last rows, before any shuffling.
    start = math.floor(rows * (1.0 - fraction))
    if not 0 < start < rows:
        raise NotPackable(f"validation_split={fraction} leaves no rows on one side")
    return Split(train.x[:start], train.y[:start]), Split(train.x[start:], train.y[start:])


def _split(kind: str, x: Any, y: Any) -> Split:
    x, y = _array(f"{kind}x", x), _array(f"{kind}y", y)
    if len(x) != len(y) or not len(x):
        raise NotPackable(f"{kind}x has {len(x)} rows and {kind}y {len(y)}")
    return Split(x, y)


def _array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, list | tuple | dict) or not hasattr(value, "__array__") or not hasattr(value, "shape"):
        raise NotPackable(f"{name} is no array but {type(value).__name__}")
    try:
        array = keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotPackable(f"{name} does not become an array: {error}") from error
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise NotPackable(f"{name} is an array of {array.dtype}")
    if type(value).__name__ == "Series":
        array = array[:, None]
    return array.astype(keras.config.floatx(), copy=False) if array.dtype.kind == "f" else array


def _dataset(train: Split, validation: Split) -> Dataset:
    shape = train.x.shape[1:]
    empty = Split(train.x[:0], train.y[:0])
    unscaled = Scaling(np.zeros((), "float32"), np.ones((), "float32"))
    digest = fingerprint((train, validation, empty), ())
    return Dataset(
        name=f"arrays {tuple(shape)}",
        train=train,
        validation=validation,
        test=empty,
        classes=(),
        features=(),
        scaling=unscaled,
        source="arrays given to search",
        licence="unknown",
        fingerprint=digest,
    )
