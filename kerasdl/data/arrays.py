"""NPZ files of the user's own: tables and images as NumPy arrays."""

from pathlib import Path

import numpy as np

from kerasdl.data import npz
from kerasdl.data.dataset import Dataset, Scaling, assemble
from kerasdl.data.scaling import by_range, constant_notes, standardize
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM, hold_out, require_rows, three_way
from kerasdl.errors import UserError

_PARTS = ("train", "val", "test")
_KEYS = ("x", "y", "classes", "features", *(f"{axis}_{part}" for part in _PARTS for axis in "xy"))
_LARGEST = float(np.finfo("float32").max)

Pair = tuple[np.ndarray, np.ndarray]


def load(spec: Spec, seed: int) -> Dataset:
    """Loads an NPZ file with the keys `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test`.

    `x` is `(rows, columns)`, or images: `(rows, height, width)` or `(rows, height, width, channels)`. `y` is whole
    numbers from 0, `(rows,)`. Unsigned images are scaled by their type's range; everything else is standardized by the
    training rows, images per channel. Optional: `x_val` and `y_val`; `classes`, the name of each label; `features`, the
    name of each column.

    Args:
        spec: The file.
        seed: Draws the splits that the file does not hold: 64/16/20 % of `x`, or 10 % of `x_train` for validation.

    Returns:
        The data set.

    Raises:
        UserError: The file or an array cannot be used.
    """
    path = spec.file
    stored = npz.read(path, _KEYS)
    parts = {part: _pair(path, stored, part) for part in _present(path, stored)}
    _require_one_form(path, parts)
    parts, classes, notes = _labelled(path, parts, stored.get("classes"))
    train, validation, test = _split(path, parts, classes, np.random.default_rng(seed))
    image = train[0].ndim == 4
    features = () if image else _features(path, stored.get("features"), train[0].shape[1])
    scaling, scaling_notes = _scaling(path, train[0], features)
    return assemble(
        spec.text,
        train=train,
        validation=validation,
        test=test,
        scaling=scaling,
        classes=classes,
        features=features,
        source=str(path),
        licence="not stated",
        notes=[*notes, *scaling_notes],
    )


def _present(path: Path, stored: dict[str, np.ndarray]) -> list[str]:
    """Returns the parts that the file holds: `[""]` for one that we split, else `train`, `test` and perhaps `val`."""
    split = any(f"{axis}_{part}" in stored for part in _PARTS for axis in "xy")
    if split and ("x" in stored or "y" in stored):
        raise UserError(f"{path}: holds both x, y and x_train ...; keep one of the two forms")
    parts = ["train", "test"] if split else [""]
    if "x_val" in stored or "y_val" in stored:
        parts.insert(1, "val")
    missing = [key for part in parts for key in _keys(part) if key not in stored]
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(missing)}; it must hold x and y, or x_train, y_train, x_test and y_test"
        )
    return parts


def _keys(part: str) -> tuple[str, str]:
    return (f"x_{part}", f"y_{part}") if part else ("x", "y")


def _pair(path: Path, stored: dict[str, np.ndarray], part: str) -> Pair:
    """Checks one part and brings images to four dimensions."""
    x_key, y_key = _keys(part)
    x, y = stored[x_key], stored[y_key]
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise UserError(
            f"{path}: {x_key!r} has shape {x.shape}; it must be (rows, columns), or for images (rows, height, width) "
            "or (rows, height, width, channels)"
        )
    if x.dtype.kind not in "iuf":
        raise UserError(f"{path}: {x_key!r} is of type {x.dtype}; save it as numbers")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise UserError(
            f"{path}: {y_key!r} has shape {y.shape} and type {y.dtype}; it must be one whole number a row, its class"
        )
    if len(x) != len(y):
        raise UserError(f"{path}: {x_key!r} has {len(x)} rows and {y_key!r} has {len(y)}; they must be equal")
    if not len(x):
        raise UserError(f"{path}: {x_key!r} has no rows; save some")
    if x.dtype.kind == "f":
        _require_finite(path, x_key, x)
    y = y.astype("int64")
    negative = np.flatnonzero(y < 0)
    if len(negative):
        raise UserError(
            f"{path}: {y_key!r}, row {negative[0]} (counted from 0) is {y[negative[0]]}, and {len(negative) - 1} rows "
            "more are negative; number the classes from 0"
        )
    return (x[..., np.newaxis] if x.ndim == 3 else x), y


def _require_finite(path: Path, key: str, x: np.ndarray) -> None:
    # A number beyond float32, which is what networks are fed, is as good as infinite; NaN fails the comparison too.
    good = (np.abs(x) <= _LARGEST).reshape(len(x), -1).all(axis=1)
    if not good.all():
        row = int(np.argmin(good))
        raise UserError(
            f"{path}: {key!r}, row {row} (counted from 0) holds NaN or a number that is infinite in float32, as do "
            f"{int((~good).sum()) - 1} rows more; remove or fill them"
        )


def _require_one_form(path: Path, parts: dict[str, Pair]) -> None:
    (first, (x, _)), *others = parts.items()
    for part, (other, _) in others:
        if other.shape[1:] != x.shape[1:] or other.dtype != x.dtype:
            raise UserError(
                f"{path}: 'x_{part}' is {other.dtype} of shape {other.shape[1:]} a row and 'x_{first}' {x.dtype} of "
                f"{x.shape[1:]}; they must be equal"
            )


def _labelled(
    path: Path, parts: dict[str, Pair], names: np.ndarray | None
) -> tuple[dict[str, Pair], tuple[str, ...], list[str]]:
    """Gives labels their names; labels with gaps are numbered anew where the file names no classes."""
    values = np.unique(np.concatenate([y for _, y in parts.values()]))
    if names is not None:
        classes = _texts(path, "classes", names)
        if values[-1] >= len(classes):
            raise UserError(
                f"{path}: label {values[-1]} has no name; 'classes' holds {len(classes)}, one for each label from 0"
            )
        return parts, classes, []
    numbered = {part: (x, np.searchsorted(values, y)) for part, (x, y) in parts.items()}
    gaps = values[-1] != len(values) - 1
    return numbered, tuple(map(str, values)), ["labels have gaps and were numbered anew"] if gaps else []


def _texts(path: Path, key: str, array: np.ndarray) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise UserError(f"{path}: {key!r} must be a one-dimensional array of text, not {array.dtype} of {array.shape}")
    texts = tuple(array.tolist())
    if len(set(texts)) < len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise UserError(f"{path}: {key!r} holds {twice!r} twice; give each its own name")
    return texts


def _features(path: Path, names: np.ndarray | None, columns: int) -> tuple[str, ...]:
    if names is None:
        return tuple(f"x{number}" for number in range(1, columns + 1))
    features = _texts(path, "features", names)
    if len(features) != columns:
        raise UserError(f"{path}: 'features' holds {len(features)} names for {columns} columns; give one for each")
    return features


def _split(
    path: Path, parts: dict[str, Pair], classes: tuple[str, ...], generator: np.random.Generator
) -> tuple[Pair, Pair, Pair]:
    if "" in parts:
        x, y = parts[""]
        require_rows(y, classes, MINIMUM, f"{path}, 'y'")
        train, validation, test = ((x[rows], y[rows]) for rows in three_way(y, generator))
        return train, validation, test
    x, y = parts["train"]
    require_rows(y, classes, 1 if "val" in parts else 2, f"{path}, 'y_train'")
    if "val" in parts:
        return (x, y), parts["val"], parts["test"]
    kept, held = hold_out(y, 0.1, generator)
    return (x[kept], y[kept]), (x[held], y[held]), parts["test"]


def _scaling(path: Path, x: np.ndarray, features: tuple[str, ...]) -> tuple[Scaling, list[str]]:
    if x.ndim == 4 and x.dtype in (np.dtype("uint8"), np.dtype("uint16")):
        return by_range(np.iinfo(x.dtype).max), []
    scaling, constant = standardize(x)
    names = features or tuple(f"channel {number}" for number in range(len(constant)))
    return scaling, constant_notes(constant, names, str(path))
