"""Changes a study as `--set KEY=VALUE` does."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from kerasdl import data
from kerasdl.errors import UserError


def change(content: dict[str, Any], key: str, value: Any, fields: Collection[str]) -> None:
    """Changes one key of a study in place.

    A setting that varied is fixed by a value, and goes on varying by a list or a range.

    Args:
        content: The study as a table.
        key: A key of the study, the name of a setting, or `table.key`.
        value: The new value.
        fields: The keys of a study; every other name is a setting.

    Raises:
        UserError: The key reaches into what is not a table.
    """
    first, dot, rest = key.partition(".")
    if dot:
        _change_in_table(content, first, rest, value)
        return
    space, fixed = content.get("space", {}), content.get("fixed", {})
    if isinstance(space, dict) and key in space:
        if isinstance(value, list | dict):
            space[key] = value
            return
        del space[key]
    if isinstance(fixed, dict):
        fixed.pop(key, None)
    if key in fields:
        content[key] = _located_here(key, value)
    else:
        _change_in_table(content, "fixed", key, value)


def _change_in_table(content: dict[str, Any], table: str, key: str, value: Any) -> None:
    inner = content.setdefault(table, {})
    if not isinstance(inner, dict):
        raise UserError(f"--set {table}.{key}: {table} is not a table; write --set {table}=VALUE")
    first, dot, rest = key.partition(".")
    if dot:
        _change_in_table(inner, first, rest, value)
        return
    inner[key] = value


def _located_here(key: str, value: Any) -> Any:
    """Makes what a change names be looked for in the current folder, not in the study's."""
    if not isinstance(value, str):
        return value
    if key == "data":
        return data.located(value, Path.cwd())
    if key == "model" and value.rpartition(":")[0].endswith(".py"):
        return str(Path.cwd() / value)
    return value
