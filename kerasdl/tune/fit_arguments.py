"""What `search` was given to train with: as arrays that packs can learn from, or the reason why not."""

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
import numpy as np

from kerasdl.data import Dataset, Scaling, Split
from kerasdl.data.dataset import fingerprint
from kerasdl.train import EarlyStopping

# Arguments of `fit` that change nothing in what a pack computes.
_WITHOUT_EFFECT = ("self", "epochs", "batch_size", "verbose", "validation_batch_size")
_READ = ("x", "y", "validation_data", "validation_split", "sample_weight", "class_weight", "callbacks")


class NotPackable(Exception):  # noqa: N818 - no error: Keras' `fit` takes over
    """Trials cannot run as one program; the message is the reason."""


@dataclass(frozen=True)
class FitArguments:
    """What a pack is trained with.

    Attributes:
        dataset: The arrays; the test rows are empty.
        epochs: How many epochs.
        batch_size: Rows in a batch.
        stopping: What Keras' callback `EarlyStopping` asks for, if it was given. Whether it restores the best weights
            is of no account: a trial is scored, and its model kept, by the best epoch of its objective.
    """

    dataset: Dataset
    epochs: int
    batch_size: int
    stopping: EarlyStopping | None = None


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
        if name in _WITHOUT_EFFECT or name in _READ or value is parameter.default:
            continue
        if isinstance(value, int | float) and value == parameter.default:
            continue
        raise NotPackable(f"{name} was given")
    stopping = read_callbacks(values["callbacks"])
    epochs, batch_size = values["epochs"], 32 if values["batch_size"] is None else values["batch_size"]
    if not (_is_count(epochs) and _is_count(batch_size)):
        raise NotPackable("epochs and batch_size are not whole numbers above zero")
    train, validation = _splits(values)
    return FitArguments(_dataset(train, validation), int(epochs), int(batch_size), stopping)


def read_callbacks(callbacks: Any) -> EarlyStopping | None:
    """Reads Keras' callbacks that packs can do without.

    `TerminateOnNaN` ends what ends in a pack of itself.

    Args:
        callbacks: What `fit` would be given.

    Returns:
        What `EarlyStopping` asks for, `None` where it is not among them.

    Raises:
        NotPackable: There are others.
    """
    if not callbacks:
        return None
    if not isinstance(callbacks, list):
        raise NotPackable("callbacks is no list")
    kept = [callback for callback in callbacks if type(callback) is not keras.callbacks.TerminateOnNaN]
    others = [type(callback).__name__ for callback in kept if type(callback) is not keras.callbacks.EarlyStopping]
    if others:
        raise NotPackable(f"callbacks holds {', '.join(others)}")
    if len(kept) > 1:
        raise NotPackable("callbacks holds more than one EarlyStopping")
    return _early_stopping(kept[0]) if kept else None


def _early_stopping(callback: keras.callbacks.EarlyStopping) -> EarlyStopping:
    if callback.baseline is not None:
        raise NotPackable("EarlyStopping has a baseline")
    if callback.start_from_epoch > 0:
        raise NotPackable("EarlyStopping waits for start_from_epoch")
    direction = callback.mode if callback.mode in ("min", "max") else _direction(callback.monitor)
    # Keras stops at the first epoch without improvement where it has no patience, as it does with one epoch of it.
    patience = max(callback.patience, 1)
    # Keras changes the sign of its own where less is better.
    least = abs(callback.min_delta)
    return EarlyStopping(callback.monitor, direction, patience, least, restore_best_weights=False)


def _direction(metric: str) -> Literal["min", "max"]:
    """Infers which values of a metric are better, as Keras does from the metrics of a model."""
    name = metric.removeprefix("val_")
    if name == "loss":
        return "min"
    if name in ("accuracy", "acc"):
        return "max"
    try:
        direction = getattr(keras.metrics.get(name), "_direction", None)
    except ValueError:
        direction = None
    if direction is None:
        raise NotPackable(
            f"EarlyStopping has no mode, and only the model knows whether {metric} is to be small or large"
        )
    return "max" if direction == "up" else "min"


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) > 0


def _splits(values: Mapping[str, Any]) -> tuple[Split, Split]:
    train = _split("", values["x"], values["y"], values["sample_weight"])
    if values["class_weight"] is not None and train.weights is not None:
        raise NotPackable("class_weight and sample_weight were both given")
    held, fraction = values["validation_data"], values["validation_split"]
    if held is not None:
        if not isinstance(held, tuple | list) or len(held) not in (2, 3):
            raise NotPackable("validation_data is neither (x, y) nor (x, y, sample_weight)")
        validation = _split("validation ", *held)
    elif fraction:
        # As Keras does: the last rows, before any shuffling.
        start = math.floor(len(train) * (1.0 - fraction))
        if not 0 < start < len(train):
            raise NotPackable(f"validation_split={fraction} leaves no rows on one side")
        train, validation = _rows(train, slice(start)), _rows(train, slice(start, None))
    else:
        validation = _rows(train, slice(0))
    if values["class_weight"] is not None:
        train = replace(train, weights=_class_weights(train.y, values["class_weight"]))
    return train, validation


def _rows(split: Split, rows: slice) -> Split:
    return Split(*(array[rows] for array in split.arrays))


def _split(kind: str, x: Any, y: Any, weights: Any = None) -> Split:
    parts = [_array(f"{kind}x", x), _array(f"{kind}y", y)]
    if weights is not None:
        parts.append(_array(f"{kind}sample_weight", weights, as_column=False).astype(keras.config.floatx(), copy=False))
        if parts[-1].ndim != 1:
            raise NotPackable(f"{kind}sample_weight is not one number a row")
    rows = [len(part) for part in parts]
    if len(set(rows)) > 1 or not rows[0]:
        raise NotPackable(f"{kind}arrays have {', '.join(map(str, rows))} rows")
    return Split(*parts)


def _class_weights(y: np.ndarray, weights: Any) -> np.ndarray:
    """Gives each row the weight of its class, 1 where there is none; classes are numbers or one-hot rows."""
    if not isinstance(weights, Mapping):
        raise NotPackable(f"class_weight is no dict but {type(weights).__name__}")
    classes = y if y.ndim == 1 else y[..., 0] if y.shape[-1] == 1 else y.argmax(axis=-1)
    if classes.ndim != 1:
        raise NotPackable("class_weight needs one class a row")
    found, places = np.unique(np.round(classes).astype("int64"), return_inverse=True)
    own = np.asarray([weights.get(int(number), 1.0) for number in found], dtype=keras.config.floatx())
    return own[places.reshape(-1)]


def _array(name: str, value: Any, *, as_column: bool = True) -> np.ndarray:
    if isinstance(value, list | tuple | dict) or not hasattr(value, "__array__") or not hasattr(value, "shape"):
        raise NotPackable(f"{name} is no array but {type(value).__name__}")
    try:
        array = keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise NotPackable(f"{name} does not become an array: {error}") from error
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise NotPackable(f"{name} is an array of {array.dtype}")
    if as_column and type(value).__name__ == "Series":
        # As Keras does.
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
        notes=() if train.weights is None else ("the training rows are weighted",),
    )
