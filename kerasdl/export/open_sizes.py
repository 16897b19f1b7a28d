"""Gives rows to models whose images or sequences may have any size, and compares such models at a second size.

A file that was traced can hold the size of its first rows as a constant; at any other size it is then wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Lengths of one, two and three open axes: sequences, images, volumes. Networks halve them up to four times.
LENGTHS = {1: 16, 2: 48, 3: 16}

# A multiple of 16, so that networks that halve and double sizes fit at the second size where they did at the first.
STEP = 16
ROWS = 2

Specifications = Sequence[tuple[str, tuple[int | None, ...], str]]


def closed(shape: tuple[int | None, ...]) -> list[int]:
    """Returns a row's lengths, the open ones chosen.

    Args:
        shape: The Keras shape, batch first.
    """
    open_axes = shape[1:].count(None)
    return [LENGTHS.get(open_axes, STEP) if size is None else size for size in shape[1:]]


def at_another_size(rows: Sequence[np.ndarray], specifications: Specifications) -> tuple[np.ndarray, ...]:
    """Returns two rows that are longer along each open axis, their own values going round.

    Args:
        rows: One array per input, `(rows, *shape)`.
        specifications: Name, Keras shape and dtype of each input.

    Returns:
        One array per input; nothing where no size is open.
    """
    if not any(None in shape[1:] for _, shape, _ in specifications):
        return ()
    larger = []
    for array, (_, shape, _) in zip(rows, specifications, strict=True):
        margins = [(0, STEP if size is None and axis else 0) for axis, size in enumerate(shape)]
        larger.append(np.pad(array[:ROWS], margins, mode="wrap"))
    return tuple(larger)


def answered(function: Any, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Returns what a model says of rows at a second size; nothing where the model itself does not take it."""
    try:
        return tuple(function(rows)) if rows else ()
    except Exception:  # noqa: BLE001  each backend has its own errors for shapes that do not fit together
        return ()
