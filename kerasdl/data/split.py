"""Draws rows class by class, so that every split has every class in its share."""

import reprlib
from collections.abc import Sequence

import numpy as np

from kerasdl.errors import UserError

MINIMUM = 3
"""The rows that a class needs to be in training, validation and test."""


def allot(sizes: np.ndarray, count: int, *, at_least: int = 0, leave: int = 0) -> np.ndarray:
    """Shares out a number of rows over classes in proportion to their sizes (largest remainders, Hamilton's method).

    Args:
        sizes: int64, `(classes,)`, how many rows each class has.
        count: How many rows to give out in all.
        at_least: The fewest rows of each class, as far as it has them.
        leave: The rows of each class that must stay behind.

    Returns:
        int64, `(classes,)`. Each is within one row of its proportional share and the sum is `count`, except where
        `at_least` and `leave` ask for more or allow less.
    """
    share = sizes * count / max(int(sizes.sum()), 1)
    high = np.maximum(sizes - leave, 0)
    low = np.minimum(at_least, high)
    given = np.clip(np.floor(share).astype("int64"), low, high)
    while (missing := count - int(given.sum())) > 0 and (given < high).any():
        order = np.argsort(np.where(given < high, given - share, np.inf), kind="stable")
        given[order[: min(missing, int((given < high).sum()))]] += 1
    while count < int(given.sum()) and (given > low).any():
        given[np.argmax(np.where(given > low, given - share, -np.inf))] -= 1
    return given


def choose(
    labels: np.ndarray, count: int, generator: np.random.Generator, *, at_least: int = 0, leave: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a stratified sample of rows.

    Args:
        labels: Integer labels from 0, `(rows,)`.
        count: How many rows to draw.
        generator: Draws them.
        at_least: The fewest rows of each class, as far as it has them.
        leave: The rows of each class that must not be drawn.

    Returns:
        The drawn rows and the others, int64 row numbers in random order: together every row once.
    """
    sizes = np.bincount(labels)
    given = allot(sizes, count, at_least=at_least, leave=leave)
    drawn = np.zeros(len(labels), dtype=bool)
    for rows, number in zip(np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1]), given, strict=True):
        drawn[generator.permutation(rows)[:number]] = True
    return generator.permutation(np.flatnonzero(drawn)), generator.permutation(np.flatnonzero(~drawn))


def hold_out(labels: np.ndarray, fraction: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Holds a stratified fraction of the rows back, at least one of each class, and leaves at least one of each.

    Args:
        labels: Integer labels from 0, `(rows,)`, each class at least twice.
        fraction: The part to hold back.
        generator: Draws it.

    Returns:
        The kept and the held rows, int64 row numbers in random order.
    """
    held, kept = choose(labels, round(fraction * len(labels)), generator, at_least=1, leave=1)
    return kept, held


def three_way(labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits rows 64/16/20 % into train, validation and test, stratified, each class at least once in each.

    Args:
        labels: Integer labels from 0, `(rows,)`, each class at least three times.
        generator: Draws the splits.

    Returns:
        Row numbers, int64 in random order, of train, validation and test.
    """
    test, rest = choose(labels, round(0.2 * len(labels)), generator, at_least=1, leave=2)
    kept, held = hold_out(labels[rest], 0.2, generator)
    return rest[kept], rest[held], test


def require_rows(labels: np.ndarray, classes: Sequence[str], least: int, place: str) -> None:
    """Checks that there are several classes and that each has rows enough to be split.

    Args:
        labels: Integer labels from 0, `(rows,)`.
        classes: The name of each class.
        least: The rows that each class needs.
        place: The file or data set, and the column or key if there is one, for the message.

    Raises:
        UserError: One class only, or a class with too few rows.
    """
    if len(classes) < 2:
        raise UserError(
            f"{place}: only one class, {reprlib.repr(classes[0])}; two or more are needed to learn a difference"
        )
    sizes = np.bincount(labels, minlength=len(classes))
    short = np.flatnonzero(sizes < least)
    if len(short):
        first = int(short[0])
        others = f" (and {len(short) - 1} more classes)" if len(short) > 1 else ""
        raise UserError(
            f"{place}: class {reprlib.repr(classes[first])} has {sizes[first]} rows{others}, and {least} are needed "
            "to split it; add rows or take the class out"
        )
