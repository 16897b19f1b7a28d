"""Finds the recipes that ship with kerasdl: studies in `tuning/`, targets in `export/`."""

from pathlib import Path
from typing import Literal

from kerasdl.errors import UserError, nearest

Kind = Literal["tuning", "export"]

_NOUN = {"tuning": "study", "export": "target"}


def folder(kind: Kind) -> Path:
    """Returns the folder of one kind of recipe: inside the wheel, or at the top of a checkout."""
    package = Path(__file__).parent
    installed = package / "_recipes" / kind
    return installed if installed.is_dir() else package.parent / kind


def names(kind: Kind) -> list[str]:
    """Returns the names of the shipped recipes of one kind, sorted."""
    return sorted(path.stem for path in folder(kind).glob("*.toml"))


def find(kind: Kind, name_or_path: str) -> Path:
    """Finds a recipe: a bare name is a shipped one, anything else is the user's own file.

    Args:
        kind: `"tuning"` for a study, `"export"` for a target.
        name_or_path: `"mlp"`, or a path such as `"studies/mine.toml"`.

    Returns:
        The path of the TOML file.

    Raises:
        UserError: No such recipe, or the path is no file.
    """
    path = Path(name_or_path)
    if path.suffix == ".toml" or len(path.parts) > 1:
        if path.is_file():
            return path
        raise UserError(f"{name_or_path}: no such {_NOUN[kind]} file; give the path of a TOML file or a shipped name")
    if name_or_path in names(kind):
        return folder(kind) / f"{name_or_path}.toml"
    hint = nearest(name_or_path, names(kind))
    raise UserError(f"{name_or_path}: no shipped {_NOUN[kind]} has this name; {hint} (a path ends in .toml)")
