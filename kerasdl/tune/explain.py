"""Says what is wrong with a study in one line."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ValidationError

from kerasdl.errors import nearest

# Pydantic names the member of a union that it tried; the key in the file has no such part.
_MEMBERS = ("Choices", "Range", "Objective", "str", "int", "float")


def explain(error: ValidationError, study: type[BaseModel], tables: Mapping[str, type[BaseModel]]) -> str:
    """Says the thing that is wrong in words for who wrote the study.

    Args:
        error: What pydantic found.
        study: The type of the study.
        tables: The types of its tables, and of the members of its unions, by name.

    Returns:
        The key, what is wrong with it and what to do.
    """
    # A key that nobody knows explains what else is missing; and what is wrong inside a table is the more precise word.
    errors = sorted(error.errors(), key=lambda one: (one["type"] != "extra_forbidden", -len(one["loc"])))
    unknown: dict[tuple[str, ...], tuple[int | str, ...]] = {}
    for one in errors:
        if one["type"] == "extra_forbidden":
            unknown.setdefault(_path(one["loc"]), one["loc"])
    if unknown:
        return " | ".join(_unknown_key(path, _fields(place, study, tables)) for path, place in unknown.items())
    found = errors[0]
    key = ".".join(_path(found["loc"]))
    if found["type"] == "missing":
        return f"{key}: missing; it must be given"
    message = found["msg"].removeprefix("Value error, ")
    shown = repr(found["input"])
    return f"{key}: {message} (it is {shown if len(shown) <= 60 else shown[:57] + '...'})"


def _path(place: tuple[int | str, ...]) -> tuple[str, ...]:
    """Returns the parts of a key as it stands in the file."""
    return tuple(str(part) for part in place if not _is_member(str(part)))


def _is_member(part: str) -> bool:
    return part in _MEMBERS or part.startswith(("is-instance", "callable", "function"))


def _unknown_key(path: Sequence[str], fields: Iterable[str]) -> str:
    hint = nearest(path[-1], fields)
    if len(path) == 1 and "did you mean" not in hint:
        hint = f"{hint}; settings of the model or the optimizer belong under [fixed] or [space]"
    return f"{'.'.join(path)}: no such key; {hint}"


def _fields(place: tuple[int | str, ...], study: type[BaseModel], tables: Mapping[str, type[BaseModel]]) -> list[str]:
    """Returns the keys of the innermost table that a place is in."""
    for part in reversed(place[:-1]):
        if str(part) in tables:
            own = [*tables[str(part)].model_fields]
            return [*own, "values"] if part == "Range" else own
    return [*study.model_fields]
