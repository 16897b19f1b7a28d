"""CSV files of the user's own: numeric columns and a column of classes."""

import reprlib

import numpy as np

from kerasdl.data.csv_file import Table, read
from kerasdl.data.dataset import Dataset, assemble
from kerasdl.data.scaling import constant_notes, standardize
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM, require_rows, three_way
from kerasdl.errors import UserError, nearest

MOST_CLASSES = 1000
"""The most classes that a target may have."""

MOST_FRACTIONS = 20
"""A target of numbers with fractions and more distinct values than this is a quantity, not a class."""

_LARGEST = float(np.finfo("float32").max)


def load(spec: Spec, seed: int) -> Dataset:
    """Loads a CSV file: its first line names the columns, one is the class, the others are numbers.

    Args:
        spec: The file and its parameters: `target`, the column to learn, text or whole numbers; `features`, the columns
            to learn from (all others, where not given); `separator`, the sign between fields (a comma).
        seed: Draws the splits.

    Returns:
        The data set, standardized by the training rows, split 64/16/20 %.

    Raises:
        UserError: The file, a column or a value cannot be used.
    """
    target = spec.parameters["target"]
    table = read(spec.file, target, spec.parameters.get("separator", ","))
    features = _features(table, target, spec.parameters.get("features"))
    raw = np.stack([_numbers(table, name) for name in features], axis=1)
    _require_finite(table, features, raw)
    labels, classes = _labels(table, target)
    require_rows(labels, classes, MINIMUM, f"{table.path}, column {target!r}")
    train, validation, test = ((raw[rows], labels[rows]) for rows in three_way(labels, np.random.default_rng(seed)))
    scaling, constant = standardize(train[0])
    return assemble(
        spec.text,
        train=train,
        validation=validation,
        test=test,
        scaling=scaling,
        classes=classes,
        features=features,
        source=str(table.path),
        licence="not stated",
        notes=constant_notes(constant, features, str(table.path)),
    )


def _features(table: Table, target: str, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    features = wanted or tuple(name for name in table.header if name != target)
    if not features:
        raise UserError(f"{table.path}: has no column besides the target {target!r}; add columns of numbers")
    for name in features:
        if name not in table.header:
            raise UserError(
                f"{table.path}: features names column {name!r}, which is not there; {nearest(name, table.header)}"
            )
        if name == target:
            raise UserError(f"{table.path}: features names the target {name!r}; leave it out")
        if features.count(name) > 1:
            raise UserError(f"{table.path}: features names column {name!r} twice; name it once")
    return features


def _numbers(table: Table, name: str) -> np.ndarray:
    """Returns one column as float64, NaN where a field is blank."""
    import pandas

    column = table.frame[table.header.index(name)]
    if column.dtype.kind == "b":
        column = column.astype(str)
    if column.dtype.kind not in "iuf":
        numbers = pandas.to_numeric(column.astype(str).where(column.notna()), errors="coerce")
        text = (numbers.isna() & column.notna()).to_numpy()
        if text.any():
            row = int(np.argmax(text))
            raise UserError(
                f"{table.path}: row {table.line(row)}, column {name!r}: {reprlib.repr(str(column.iloc[row]))} is not a "
                f"number ({int(text.sum())} such rows); mend it, or name the columns to learn from with features="
            )
        column = numbers
    return column.to_numpy("float64")


def _require_finite(table: Table, features: tuple[str, ...], raw: np.ndarray) -> None:
    # A number beyond float32, which is what networks are fed, is as good as infinite; NaN fails the comparison too.
    bad = ~(np.abs(raw) <= _LARGEST)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        value = raw[row, column]
        fault = "blank or NaN" if np.isnan(value) else f"{value:g}, infinite in float32"
        raise UserError(
            f"{table.path}: row {table.line(int(row))}, column {features[column]!r} is {fault} ({int(bad.sum())} such "
            "values in all); remove or fill them, or name the columns to learn from with features="
        )


def _labels(table: Table, target: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns labels, int64 `(rows,)`, and the name of each class: numbers in their order, text in the alphabet's."""
    column = table.frame[table.header.index(target)]
    place = f"{table.path}, column {target!r}"
    texts = column.fillna("").astype(str).str.strip().to_numpy(dtype=str)
    values, labels, counts = np.unique(texts, return_inverse=True, return_counts=True)
    if values[0] == "":
        row = int(np.argmax(texts == ""))
        raise UserError(
            f"{table.path}: row {table.line(row)}, column {target!r} is blank ({counts[0]} such rows); "
            "remove or fill them"
        )
    numbers = _as_numbers(values)
    if numbers is not None:
        if not np.isfinite(numbers).all():
            row = int(np.argmax(labels == np.argmin(np.isfinite(numbers))))
            raise UserError(
                f"{table.path}: row {table.line(row)}, column {target!r} is {str(texts[row])!r} among numbers; "
                "remove or fill such rows"
            )
        if (numbers != np.round(numbers)).any() and len(values) > MOST_FRACTIONS:
            raise UserError(
                f"{place}: {len(values)} different numbers with fractions are a quantity, and kerasdl learns classes; "
                "name a column of classes, or sort the numbers into a few ranges"
            )
        order = np.argsort(numbers, kind="stable")
        values, labels = values[order], np.argsort(order)[labels]
    if len(values) > MOST_CLASSES:
        raise UserError(f"{place}: {len(values)} classes are more than {MOST_CLASSES}; name a column with fewer")
    return labels.astype("int64"), tuple(values.tolist())


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
    try:
        return values.astype("float64")
    except ValueError:
        return None
