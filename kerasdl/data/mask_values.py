"""Which values masks hold, and the class that each stands for."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasdl.errors import UserError

MOST_CLASSES = 64
"""Masks of more values than this look like pictures, unless `classes` names that many."""

_BINARY = (0, 255)
_UNLABELLED = 255


def classes_of(
    root: Path, values: Sequence[int], names: tuple[str, ...] | None
) -> tuple[np.ndarray, tuple[str, ...], list[str]]:
    """Settles the class of each value.

    Args:
        root: The folder, for the message.
        values: The values that the masks hold, ascending.
        names: The name of each class, in the order of their values; `None` where they are named by their values.

    Returns:
        uint8, `(256,)`, the class of each value; the names; what a reader must know.

    Raises:
        UserError: There is one value only, too many, or not as many names as values.
    """
    listed = ", ".join(map(str, values[:10])) + (f" and {len(values) - 10} more" if len(values) > 10 else "")
    lookup = np.zeros(256, "uint8")
    if names is not None and len(set(names)) < len(names):
        raise UserError(f"{root}: classes={','.join(names)} names one class twice; give each its own name")
    if names is not None and len(names) < 2:
        raise UserError(f"{root}: classes={','.join(names)} names one class; two or more are needed")
    if names is not None and len(names) != len(values):
        if values[-1] >= len(names):
            raise UserError(
                f"{root}: classes names {len(names)} classes, and the masks hold {len(values)} values: {listed}; name "
                "one for each value in their order, or number the classes in the masks from 0"
            )
        # A class that no mask happens to hold keeps its name and its number.
        lookup[: len(names)] = np.arange(len(names))
        return lookup, names, []
    if len(values) < 2:
        raise UserError(f"{root}: every mask holds the value {listed} alone; there is nothing to tell apart")
    if names is None and len(values) > MOST_CLASSES:
        raise UserError(
            f"{root}: the masks hold {len(values)} values: {listed}; a mask has one value for each class, from a "
            f"palette or as grey; save them without smoothing, or name all {len(values)} with classes="
        )
    lookup[list(values)] = np.arange(len(values))
    if tuple(values) == _BINARY:
        return lookup, names or ("background", "class 1"), []
    notes = []
    if values[-1] == _UNLABELLED and values[-2] < _UNLABELLED - 1:
        notes.append("masks hold the value 255, often meant for pixels without a label; it is a class of its own here")
    return lookup, names or tuple("background" if value == 0 else f"class {value}" for value in values), notes
