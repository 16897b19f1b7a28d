"""Reads and checks the text that names a data set: `countries?places=20000`, `csv:houses.csv?target=kind`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kerasdl.data.parameters import Parameter, accept, known, read, spell
from kerasdl.errors import UserError, nearest

_ROWS = Parameter("whole", minimum=30)
_FOLDER = Parameter("folder")
_FORM = {
    "size": Parameter("size"),
    "channels": Parameter("choice", choices=(1, 3)),
    "resize": Parameter("choice", choices=("stretch", "crop", "pad")),
    "memory": Parameter("bytes"),
}
_IMAGES = {"rows": _ROWS, "folder": _FOLDER, **_FORM}

NAMES: Mapping[str, Mapping[str, Parameter]] = {
    "brain": {
        "size": _FORM["size"],
        "channels": _FORM["channels"],
        "axis": Parameter("choice", choices=("axial", "coronal", "sagittal")),
        "memory": _FORM["memory"],
    },
    "countries": {"places": Parameter("whole", minimum=200)},
    "digits": {"rows": _ROWS, **_FORM},
    "fashion_mnist": _IMAGES,
    "fashion_pair": {"pair": Parameter("list"), "folder": _FOLDER, **_FORM},
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

FOLDERS: Mapping[str, Mapping[str, Parameter]] = {
    "folder": {
        "rows": Parameter("whole", minimum=6),
        "corrupt": Parameter("choice", choices=("refuse", "skip")),
        **_FORM,
    },
    "segmentation": {
        "rows": Parameter("whole", minimum=3),
        "classes": Parameter("list"),
        "corrupt": Parameter("choice", choices=("refuse", "skip")),
        "unpaired": Parameter("choice", choices=("refuse", "skip")),
        **_FORM,
    },
}

_PATHS = {**FILES, **FOLDERS}


@dataclass(frozen=True)
class Spec:
    """A specification that was read and checked.

    Attributes:
        kind: The data set's name, or `"csv"`, `"npz"`, `"folder"` or `"segmentation"`.
        path: The file or folder, for those.
        parameters: The parameters that were given, by name, as numbers, text, tuples of text or paths.
    """

    kind: str
    path: Path | None
    parameters: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The specification in one spelling: loading it again gives the same data."""
        start = self.kind if self.path is None else f"{self.kind}:{self.path}"
        query = "&".join(f"{name}={spell(value)}" for name, value in sorted(self.parameters.items()))
        return f"{start}?{query}" if query else start

    @property
    def file(self) -> Path:
        """The file or folder of a specification that has one."""
        if self.path is None:
            raise ValueError(f"{self.kind} has no file")
        return self.path

    def check_files(self) -> None:
        """Checks that the file or folder that the specification names exists.

        Raises:
            UserError: It does not, or is not of the right sort.
        """
        if self.path is not None:
            wants_folder = self.kind in FOLDERS
            if wants_folder and self.path.is_file():
                raise UserError(f"{self.path}: is a file; {self.kind}: wants the path of a folder of images")
            if not wants_folder and self.path.is_dir():
                raise UserError(
                    f"{self.path}: is a folder; {self.kind}: wants the path of a {self.kind.upper()} file "
                    "(for a folder of images write folder:PATH)"
                )
            if not self.path.exists():
                sort = "folder" if wants_folder else "file"
                raise UserError(
                    f"{self.path}: no such {sort}; write {_pattern(self.kind)} with the path of your {sort}"
                )
        folder = self.parameters.get("folder")
        if folder is not None and not folder.is_dir():
            raise UserError(f"{self.kind}: folder {str(folder)!r} does not exist; name the folder that holds the data")


def parse(spec: str, **keywords: object) -> Spec:
    """Reads a specification.

    Args:
        spec: The text, `NAME?key=value&key=value` or one with a path, such as `csv:PATH?key=value`.
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
    possible = _PATHS[kind] if path is not None else NAMES[kind]
    parameters: dict[str, Any] = {}
    for name, raw in _pairs(spec, query):
        value = read(kind, name, raw, known(kind, name, possible))
        if parameters.setdefault(name, value) != value:
            raise _twice(kind, name, parameters[name], value)
    for name, given in keywords.items():
        if given is None:
            continue
        value = accept(kind, name, given, known(kind, name, possible))
        if parameters.setdefault(name, value) != value:
            raise _twice(kind, name, parameters[name], value)
    for name, parameter in possible.items():
        if parameter.required and name not in parameters:
            raise UserError(f"{start}: no {name} is given; write {_pattern(kind)}")
    return Spec(kind, path, parameters)


def _halves(spec: str) -> tuple[str, str]:
    """Splits at the first `?` that begins a query; a file's name may itself hold a question mark."""
    if spec.startswith(tuple(f"{kind}:" for kind in _PATHS)):
        match = re.search(r"\?(?=\w+=)", spec)
        return (spec[: match.start()], spec[match.end() :]) if match else (spec, "")
    start, _, query = spec.partition("?")
    return start, query


def _subject(spec: str, start: str) -> tuple[str, Path | None]:
    kind, colon, path = start.partition(":")
    if colon and kind in _PATHS:
        if not path:
            raise UserError(f"data {spec!r}: no path is given; write {_pattern(kind)}")
        return kind, Path(path).expanduser()
    if start in NAMES:
        return start, None
    for ending, wanted in ((".csv", "csv"), (".csv.gz", "csv"), (".npz", "npz")):
        if start.endswith(ending):
            raise UserError(f"data {spec!r}: not a name; for a file write {_pattern(wanted)}")
    if start in _PATHS:
        raise UserError(f"data {spec!r}: no path is given; write {_pattern(start)}")
    if colon and path:
        raise UserError(f"data {spec!r}: {kind!r} is no kind of file or folder; {nearest(kind, _PATHS)}")
    if start and Path(start).is_dir():
        raise UserError(f"data {spec!r}: not a name; for a folder of images write folder:PATH or segmentation:PATH")
    raise UserError(
        f"data {spec!r}: no data set has this name; {nearest(start, NAMES)} (or csv:PATH?target=COLUMN, npz:PATH, "
        "folder:PATH or segmentation:PATH)"
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


def _twice(kind: str, name: str, first: object, second: object) -> UserError:
    return UserError(f"{kind}: {name} is given twice, as {spell(first)!r} and as {spell(second)!r}; give it once")


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
