"""Reads and checks the text that names a data set: `countries?places=20000`, `csv:houses.csv?target=kind`."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from kerasdl.errors import UserError, nearest


@dataclass(frozen=True)
class Parameter:
    """One parameter of a data set.

    Attributes:
        kind: `"whole"`, `"number"`, `"text"`, `"character"`, `"list"` (of text) or `"folder"`.
        minimum: The least value of a number.
        maximum: The greatest value of a number.
        required: Whether loading needs it.
    """

    kind: str
    minimum: float = -math.inf
    maximum: float = math.inf
    required: bool = False


_ROWS = Parameter("whole", minimum=30)
_FOLDER = Parameter("folder")
_IMAGES = {"rows": _ROWS, "folder": _FOLDER}

NAMES: Mapping[str, Mapping[str, Parameter]] = {
    "countries": {"places": Parameter("whole", minimum=200)},
    "digits": {"rows": _ROWS},
    "fashion_mnist": _IMAGES,
    "mnist": _IMAGES,
    "cifar10": _IMAGES,
    "xor": {"rows": Parameter("whole", minimum=30, maximum=10_000_000), "noise": Parameter("number", 0, 10)},
}

FILES: Mapping[str, Mapping[str, Parameter]] = {
    "csv": {
        "target": Parameter("text", required=True),
        "features": Parameter("list"),
        "separator": Parameter("character"),
    },
    "npz": {},
}


@dataclass(frozen=True)
class Spec:
    """A specification that was read and checked.

    Attributes:
        kind: The data set's name, or `"csv"` or `"npz"`.
        path: The file, for `csv` and `npz`.
        parameters: The parameters that were given, by name, as numbers, text, tuples of text or paths.
    """

    kind: str
    path: Path | None
    parameters: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The specification in one spelling: loading it again gives the same data."""
        start = self.kind if self.path is None else f"{self.kind}:{self.path}"
        query = "&".join(f"{name}={_spell(value)}" for name, value in sorted(self.parameters.items()))
        return f"{start}?{query}" if query else start

    @property
    def file(self) -> Path:
        """The file of a `csv` or `npz` specification."""
        if self.path is None:
            raise ValueError(f"{self.kind} has no file")
        return self.path

    def check_files(self) -> None:
        """Checks that the file or folder that the specification names exists.

        Raises:
            UserError: It does not, or is not of the right sort.
        """
        if self.path is not None:
            if self.path.is_dir():
                raise UserError(f"{self.path}: is a folder; {self.kind}: wants the path of a {self.kind.upper()} file")
            if not self.path.is_file():
                raise UserError(f"{self.path}: no such file; write {_pattern(self.kind)} with the path of your file")
        folder = self.parameters.get("folder")
        if folder is not None and not folder.is_dir():
            raise UserError(f"{self.kind}: folder {str(folder)!r} does not exist; name the folder that holds the data")


def parse(spec: str, **keywords: object) -> Spec:
    """Reads a specification.

    Args:
        spec: The text, `NAME?key=value&key=value` or `csv:PATH?key=value` or `npz:PATH`.
        **keywords: Parameters given beside the text; `None` means not given.

    Returns:
        The specification with typed parameters.

    Raises:
        UserError: The name, a parameter or a value is not known or not possible, or is given twice and differently.
    """
    if not isinstance(spec, str):
        raise UserError(f"data {spec!r}: a specification is text, such as 'countries' or 'csv:PATH?target=COLUMN'")
    start, query = _halves(spec)
    kind, path = _subject(spec, start)
    known = FILES[kind] if path is not None else NAMES[kind]
    parameters: dict[str, Any] = {}
    for name, raw in _pairs(spec, query):
        _known(kind, name, known)
        value = _read(kind, name, raw, known[name])
        if parameters.setdefault(name, value) != value:
            raise _twice(kind, name, parameters[name], value)
    for name, given in keywords.items():
        if given is None:
            continue
        _known(kind, name, known)
        value = _accept(kind, name, given, known[name])
        if parameters.setdefault(name, value) != value:
            raise _twice(kind, name, parameters[name], value)
    for name, parameter in known.items():
        if parameter.required and name not in parameters:
            raise UserError(f"{start}: no {name} is given; write {_pattern(kind)}")
    return Spec(kind, path, parameters)


def _halves(spec: str) -> tuple[str, str]:
    """Splits at the first `?` that begins a query; a file's name may itself hold a question mark."""
    match = re.search(r"\?(?=\w+=)", spec) if spec.startswith(tuple(f"{kind}:" for kind in FILES)) else None
    if match:
        return spec[: match.start()], spec[match.end() :]
    if spec.startswith(tuple(f"{kind}:" for kind in FILES)):
        return spec, ""
    start, _, query = spec.partition("?")
    return start, query


def _subject(spec: str, start: str) -> tuple[str, Path | None]:
    kind, colon, path = start.partition(":")
    if colon and kind in FILES:
        if not path:
            raise UserError(f"data {spec!r}: no path is given; write {_pattern(kind)}")
        return kind, Path(path).expanduser()
    if start in NAMES:
        return start, None
    for ending, wanted in ((".csv", "csv"), (".csv.gz", "csv"), (".npz", "npz")):
        if start.endswith(ending):
            raise UserError(f"data {spec!r}: not a name; for a file write {_pattern(wanted)}")
    if start in FILES:
        raise UserError(f"data {spec!r}: no path is given; write {_pattern(start)}")
    raise UserError(
        f"data {spec!r}: no data set has this name; {nearest(start, NAMES)} (or csv:PATH?target=COLUMN, or npz:PATH)"
    )


def _pattern(kind: str) -> str:
    return "csv:PATH?target=COLUMN" if kind == "csv" else f"{kind}:PATH"


def _pairs(spec: str, query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in query.split("&") if query else []:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise UserError(f"data {spec!r}: {part!r} is not of the form key=value (an & inside a value is %26)")
        pairs.append((name, value))
    return pairs


def _known(kind: str, name: str, known: Mapping[str, Parameter]) -> None:
    if name not in known:
        hint = nearest(name, known) if known else "it takes none"
        raise UserError(f"{kind}: no parameter is called {name!r}; {hint}")


def _twice(kind: str, name: str, first: object, second: object) -> UserError:
    return UserError(f"{kind}: {name} is given twice, as {_spell(first)!r} and as {_spell(second)!r}; give it once")


def _read(kind: str, name: str, raw: str, parameter: Parameter) -> Any:
    """Turns a parameter's spelling in the text into its value."""
    if parameter.kind == "list":
        return _accept(kind, name, [unquote(item) for item in raw.split(",")], parameter)
    return _accept(kind, name, unquote(raw), parameter)


def _accept(kind: str, name: str, given: Any, parameter: Parameter) -> Any:
    """Turns a value that was given as text or as an object into the parameter's own type."""
    if parameter.kind in ("whole", "number"):
        return _number(kind, name, given, parameter)
    if parameter.kind == "list":
        items = tuple(given.split(",") if isinstance(given, str) else given) if _iterable(given) else ()
        if not items or not all(isinstance(item, str) and item for item in items):
            raise UserError(f"{kind}: {name}={given!r} is not a list of names; write {name}=a,b,c")
        return items
    if parameter.kind == "folder" and isinstance(given, Path):
        return given.expanduser()
    if not isinstance(given, str) or not given:
        raise UserError(f"{kind}: {name}={given!r} is empty or not text; give {name}=TEXT")
    if parameter.kind == "folder":
        return Path(given).expanduser()
    if parameter.kind == "character":
        character = {"tab": "\t", "\\t": "\t"}.get(given, given)
        if len(character) != 1 or not character.isascii() or character in '"\r\n' or character.isalnum():
            raise UserError(f"{kind}: {name}={given!r} is not one sign; give one such as ; or tab")
        return character
    return given


def _iterable(given: object) -> bool:
    return isinstance(given, str | list | tuple)


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


def _spell(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(quote(item, safe="/:-_ ;") for item in value)
    return quote(str(value), safe="/:-_ ;,.+")


def located(spec: str, folder: Path) -> str:
    """Spells a specification so that it means the same from every folder.

    Args:
        spec: The specification.
        folder: Where its relative paths start.

    Returns:
        The specification with absolute paths.
    """
    parsed = parse(spec)
    path = None if parsed.path is None else (folder / parsed.path).absolute()
    named = parsed.parameters.get("folder")
    places = {} if named is None else {"folder": (folder / named).absolute()}
    return replace(parsed, path=path, parameters={**parsed.parameters, **places}).text
