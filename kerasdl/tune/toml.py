"""Reads and writes studies as TOML."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit

from kerasdl.errors import UserError


def read(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        UserError: It cannot be read; the message names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def write(content: Mapping[str, Any]) -> str:
    """Returns a table as TOML text; keys whose value is `None` are left out."""
    return tomlkit.dumps(_without_none(content))


def parse_value(text: str) -> Any:
    """Reads one value as TOML writes it; what is no TOML value is a text.

    Args:
        text: Such as `0.1`, `[1, 2]`, `true` or `adam`.
    """
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _without_none(one) for key, one in value.items() if one is not None}
    if isinstance(value, list | tuple):
        return [_without_none(one) for one in value]
    return value
