"""The parameters of data sets: what each may be, how it is read and how it is spelt."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from kerasdl.errors import UserError, nearest

LARGEST_SIDE = 4096
"""The most pixels that a side of an image may be resized to."""

_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a data set.

    Attributes:
        kind: `"whole"`, `"number"`, `"text"`, `"character"`, `"list"` (of text), `"folder"`, `"choice"`, `"size"`
            (height and width in pixels) or `"bytes"`.
        minimum: The least value of a number.
        maximum: The greatest value of a number.
        required: Whether loading needs it.
        choices: What a choice may be.
    """

    kind: str
    minimum: float = -math.inf
    maximum: float = math.inf
    required: bool = False
    choices: tuple[str | int, ...] = ()


def known(kind: str, name: str, parameters: Mapping[str, Parameter]) -> Parameter:
    """Returns the parameter of a name.

    Raises:
        UserError: The data set has none of that name.
    """
    if name not in parameters:
        hint = nearest(name, parameters) if parameters else "it takes none"
        raise UserError(f"{kind}: no parameter is called {name!r}; {hint}")
    return parameters[name]


def read(kind: str, name: str, raw: str, parameter: Parameter) -> Any:
    """Turns a parameter's spelling in the text of a specification into its value.

    Args:
        kind: The data set's name, for the message.
        name: The parameter's name.
        raw: Its spelling, percent-encoded.
        parameter: What it may be.

    Returns:
        A number, text, tuple or path.

    Raises:
        UserError: The spelling is not possible.
    """
    if parameter.kind == "list":
        return accept(kind, name, [unquote(item) for item in raw.split(",")], parameter)
    return accept(kind, name, unquote(raw), parameter)


def accept(kind: str, name: str, given: Any, parameter: Parameter) -> Any:
    """Turns a value that was given as text or as an object into the parameter's own type.

    Args:
        kind: The data set's name, for the message.
        name: The parameter's name.
        given: The value.
        parameter: What it may be.

    Returns:
        A number, text, tuple or path.

    Raises:
        UserError: The value is not possible.
    """
    if parameter.kind in ("whole", "number"):
        return _number(kind, name, given, parameter)
    if parameter.kind == "list":
        return _list(kind, name, given)
    if parameter.kind == "choice":
        return _choice(kind, name, given, parameter)
    if parameter.kind == "size":
        return _size(kind, name, given)
    if parameter.kind == "bytes":
        return _bytes(kind, name, given)
    if parameter.kind == "folder" and isinstance(given, Path):
        return given.expanduser()
    if not isinstance(given, str) or not given:
        raise UserError(f"{kind}: {name}={given!r} is empty or not text; give {name}=TEXT")
    if parameter.kind == "folder":
        return Path(given).expanduser()
    if parameter.kind == "character":
        return _character(kind, name, given)
    return given


def spell(value: object) -> str:
    """Spells a parameter's value so that it reads back as the same."""
    if isinstance(value, tuple) and all(isinstance(item, int) for item in value):
        return "x".join(map(str, value))
    if isinstance(value, tuple):
        return ",".join(quote(item, safe="/:-_ ;") for item in value)
    return quote(str(value), safe="/:-_ ;,.+")


def _list(kind: str, name: str, given: Any) -> tuple[str, ...]:
    items: tuple[Any, ...] = ()
    if isinstance(given, str | list | tuple):
        items = tuple(given.split(",") if isinstance(given, str) else given)
    if not items or not all(isinstance(item, str) and item for item in items):
        raise UserError(f"{kind}: {name}={given!r} is not a list of names; write {name}=a,b,c")
    return items


def _choice(kind: str, name: str, given: Any, parameter: Parameter) -> str | int:
    for choice in parameter.choices:
        if str(given) == str(choice):
            return choice
    raise UserError(f"{kind}: {name}={given!r} is not possible; {nearest(str(given), map(str, parameter.choices))}")


def _size(kind: str, name: str, given: Any) -> tuple[int, int]:
    """Returns height and width of `64`, `"64"`, `"48x64"` or `(48, 64)`."""
    sides = given.lower().split("x") if isinstance(given, str) else given
    sides = list(sides) if isinstance(sides, list | tuple) else [sides]
    whole = all(re.fullmatch("[0-9]+", str(side).strip()) for side in sides)
    if not whole or len(sides) not in (1, 2):
        raise UserError(f"{kind}: {name}={given!r} is not a size in pixels; write {name}=64 or {name}=HEIGHTxWIDTH")
    height, width = (int(side) for side in (sides * 2)[:2])
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise UserError(f"{kind}: {name}={given!r} is out of range; a side is from 1 to {LARGEST_SIDE} pixels")
    return height, width


def _bytes(kind: str, name: str, given: Any) -> int:
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", str(given))
    if not match or match[2].upper() not in _BYTES:
        raise UserError(f"{kind}: {name}={given!r} is not an amount of memory; write {name}=500MB or {name}=2GB")
    return int(float(match[1]) * _BYTES[match[2].upper()])


def _character(kind: str, name: str, given: str) -> str:
    character = {"tab": "\t", "\\t": "\t"}.get(given, given)
    if len(character) != 1 or not character.isascii() or character in '"\r\n' or character.isalnum():
        raise UserError(f"{kind}: {name}={given!r} is not one sign; give one such as ; or tab")
    return character


def _number(kind: str, name: str, given: Any, parameter: Parameter) -> int | float:
    sort = "a whole number" if parameter.kind == "whole" else "a number"
    try:
        if isinstance(given, bool):
            raise TypeError
        number = float(given)
        whole = int(given) if parameter.kind == "whole" else 0
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{kind}: {name}={given!r} is not {sort}; give {_bounds(parameter)}") from None
    if (parameter.kind == "whole" and whole != number) or not parameter.minimum <= number <= parameter.maximum:
        raise UserError(f"{kind}: {name}={given} is out of range; give {sort} {_bounds(parameter)}")
    return whole if parameter.kind == "whole" else number


def _bounds(parameter: Parameter) -> str:
    if parameter.maximum == math.inf:
        return f"from {parameter.minimum:g} up"
    return f"from {parameter.minimum:g} to {parameter.maximum:,.0f}"
