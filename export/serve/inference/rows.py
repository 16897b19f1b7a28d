"""Brings what people send, lists and objects of numbers, to the arrays that a model takes."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inference.errors import InputError
from inference.model import Input, Model


def arrays_from_json(model: Model, body: Any, most: int | None = None) -> dict[str, np.ndarray]:
    """Reads `{"rows": [...]}`, a bare list of rows, or for several inputs `{"inputs": {"name": [...]}}`.

    Args:
        model: The model.
        body: What a JSON text held.
        most: The number of rows that are taken at most.

    Returns:
        One array for each input.

    Raises:
        InputError: Something in it cannot be used; `where` names the row.
    """
    try:
        return _arrays(model, {"rows": body} if isinstance(body, list) else body, most)
    except RecursionError:
        raise InputError("wrong_shape", "lists are nested too deeply") from None


def _arrays(model: Model, body: Any, most: int | None) -> dict[str, np.ndarray]:
    if not isinstance(body, dict):
        raise InputError("wrong_shape", 'give {"rows": [...]} or a list of rows')
    wanted = "rows" if len(model.inputs) == 1 and "inputs" not in body else "inputs"
    _only(body, [wanted])
    if wanted == "rows":
        named = {model.inputs[0].name: body["rows"]}
    else:
        named = body["inputs"]
        if not isinstance(named, dict):
            raise InputError("wrong_shape", "give an object with a list of rows for each input", "inputs")
        _only(named, [each.name for each in model.inputs], "inputs")
    arrays = {}
    for each in model.inputs:
        place = "rows" if wanted == "rows" else f"inputs.{each.name}"
        rows = named[each.name]
        if not isinstance(rows, list) or not rows:
            raise InputError("no_rows", "give a list of at least one row", place)
        if most is not None and len(rows) > most:
            raise InputError("too_many_rows", f"{len(rows)} rows, and at most {most} are taken at once", place)
        arrays[each.name] = array_from_rows(model, each, rows, place)
    if len({len(array) for array in arrays.values()}) > 1:
        counts = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise InputError("wrong_shape", f"every input needs the same number of rows; given are {counts}", "inputs")
    return arrays


def array_from_rows(model: Model, wanted: Input, rows: Sequence[Any], place: str, first: int = 0) -> np.ndarray:
    """Brings rows, lists of numbers or objects by the names of features, to one checked array.

    Args:
        model: The model.
        wanted: The input that they are for.
        rows: The rows.
        place: What the rows are called in messages, as in `"rows"` of `"rows[3]"`.
        first: The number of the first row in messages.

    Returns:
        The array, `(rows, ...)`, of the input's type.

    Raises:
        InputError: A row has another shape, or values that are no finite numbers.
    """
    lists = [_listed(model, row, f"{place}[{number}]") for number, row in enumerate(rows, first)]
    array = _numbers(lists, wanted, place, first)
    return checked(array, wanted, place, first)


def checked(array: np.ndarray, wanted: Input, place: str, first: int = 0) -> np.ndarray:
    """Checks the shape and the values of an array of numbers and gives it the input's type."""
    if not _fits(array.shape[1:], wanted.row):
        raise InputError("wrong_shape", f"shape {_shown(array.shape[1:])}, and {_wanted(wanted)}", f"{place}[{first}]")
    if wanted.dtype.kind in "iu":
        _refuse(array != np.floor(array), "not_whole", "holds a number that is not whole", place, first)
        limits = np.iinfo(wanted.dtype)
        outside = (array < limits.min) | (array > limits.max)
        _refuse(outside, "out_of_range", f"holds a number outside of {wanted.dtype}", place, first)
        return array.astype(wanted.dtype)
    _refuse(~np.isfinite(array), "not_finite", "holds a value that is NaN or infinite", place, first)
    with np.errstate(over="ignore"):
        typed = array.astype(wanted.dtype)
    _refuse(~np.isfinite(typed), "out_of_range", f"holds a number too large for {wanted.dtype}", place, first)
    return typed


def flat_to_row(array: np.ndarray, wanted: Input) -> np.ndarray:
    """Gives rows of a table, `(rows, columns)`, the shape of an input whose rows have several dimensions."""
    sizes = [size for size in wanted.row if size is not None]
    fits = len(sizes) == len(wanted.row) > 1 and array.shape[1] == np.prod(sizes)
    return array.reshape(-1, *sizes) if fits else array


def _only(given: Mapping[str, Any], names: Sequence[str], place: str = "") -> None:
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise InputError("unknown_field", f"field {name!r} is not known; {hint}", place)
    for name in names:
        if name not in given:
            raise InputError("missing_field", f"field {name!r} is missing", place)


def _listed(model: Model, row: Any, place: str) -> Any:
    """Puts the values of an object in the order of the features."""
    if not isinstance(row, dict):
        return row
    if not model.features:
        raise InputError("wrong_shape", "this model's features have no names; give a list of numbers", place)
    _only(row, model.features, place)
    return [row[name] for name in model.features]


def _numbers(lists: list[Any], wanted: Input, place: str, first: int) -> np.ndarray:
    # The types come first: NumPy would take true for 1, and one long text would widen every cell of its array.
    if _kinds(lists) <= {int, float}:
        try:
            array = np.array(lists)
        except ValueError:
            array = np.array(None)
        if array.dtype.kind in "iuf":
            return array
    # Rows that no array takes: the first that is wrong is named.
    for number, row in enumerate(lists, first):
        here = f"{place}[{number}]"
        for value in _flat(row):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError("not_a_number", f"{_short(value)} is not a number", here)
            if isinstance(value, int) and abs(value) > 2**63 - 1:
                raise InputError("out_of_range", "holds a number that is too large", here)
        shape = _shape(row)
        if shape is None or not _fits(shape, wanted.row):
            found = "lists of different lengths" if shape is None else f"shape {_shown(shape)}"
            raise InputError("wrong_shape", f"{found}, and {_wanted(wanted)}", here)
    raise InputError("wrong_shape", "rows have different shapes; send those of one shape together", place)


def _kinds(value: Any) -> set[type]:
    """Returns the types of the values in lists of lists; lists of numbers are looked through at the speed of `set`."""
    if not isinstance(value, list):
        return {type(value)}
    kinds = set(map(type, value))
    if list in kinds:
        kinds.remove(list)
        for each in value:
            if isinstance(each, list):
                kinds |= _kinds(each)
    return kinds


def _flat(row: Any) -> Iterator[Any]:
    if isinstance(row, list):
        for each in row:
            yield from _flat(each)
    else:
        yield row


def _shape(row: Any) -> tuple[int, ...] | None:
    if not isinstance(row, list):
        return ()
    shapes = {_shape(each) for each in row} or {()}
    if len(shapes) > 1 or None in shapes:
        return None
    return (len(row), *next(iter(shapes)))  # type: ignore[misc]


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, have) for size, have in zip(wanted, shape, strict=True))


def _wanted(wanted: Input) -> str:
    return f"a row of {wanted.name!r} has shape {_shown(wanted.row)}"


def _shown(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _refuse(bad: np.ndarray, reason: str, message: str, place: str, first: int) -> None:
    rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
    if len(rows):
        raise InputError(reason, message, f"{place}[{first + rows[0]}]")
