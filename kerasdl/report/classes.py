"""Accuracy of each class, and which pairs are confused."""

import math
from dataclasses import dataclass

import numpy as np

from kerasdl.report.statistics import ALPHA, wilson


@dataclass(frozen=True)
class ClassAccuracy:
    """How well the rows of one class are recognized.

    Attributes:
        index: The label.
        name: The class.
        rows: Its test rows, in one repeat.
        accuracy: Share of them that is recognized, the mean over repeats.
        low: Lower end of the 95 % Wilson interval.
        high: Upper end.
        below: Whether it lies surely below the accuracy over all rows (interval corrected for the number of classes).
    """

    index: int
    name: str
    rows: float
    accuracy: float
    low: float
    high: float
    below: bool


def class_accuracies(matrix: np.ndarray, names: list[str], repeats: int) -> list[ClassAccuracy]:
    """Computes the accuracy of each class from a confusion matrix summed over repeats.

    All repeats see the same test rows, so they add no rows: the interval is Wilson's for the rows of one repeat, at the
    mean share over repeats. Whether a class is surely below the average is decided at 0.05 / classes (Bonferroni).

    Args:
        matrix: int64, `(classes, classes)`: truth by prediction, summed over repeats.
        names: The classes.
        repeats: How many trials were summed.

    Returns:
        One entry for each class with test rows, the worst first.
    """
    total = matrix.sum()
    if total == 0 or repeats == 0:
        return []
    average = float(np.trace(matrix) / total)
    counts = matrix.sum(axis=1)
    alpha = ALPHA / max(1, int((counts > 0).sum()))
    found = []
    for index in np.flatnonzero(counts):
        rows, right = counts[index] / repeats, matrix[index, index] / repeats
        low, high = wilson(right, rows)
        below = wilson(right, rows, alpha)[1] < average
        found.append(ClassAccuracy(int(index), names[index], float(rows), float(right / rows), low, high, below))
    return sorted(found, key=lambda item: (item.accuracy, item.index))


@dataclass(frozen=True)
class Confused:
    """Rows of one class that are taken for another.

    Attributes:
        truth: The class they belong to.
        predicted: The class they are taken for.
        rows: How many, a mean over repeats.
        share: Their share of the rows of the true class.
    """

    truth: str
    predicted: str
    rows: float
    share: float


def most_confused(matrix: np.ndarray, names: list[str], repeats: int, limit: int = 12) -> list[Confused]:
    """Returns the pairs of classes with most rows off the diagonal, the largest first; pairs without rows stay out."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:limit]
    rows = matrix.sum(axis=1)
    pairs = [(int(index) // len(names), int(index) % len(names)) for index in order]
    return [
        Confused(names[a], names[b], float(wrong[a, b]) / repeats, float(wrong[a, b] / rows[a]))
        for a, b in pairs
        if wrong[a, b] > 0
    ]


def display_order(matrix: np.ndarray) -> list[int]:
    """Orders classes for the picture: up to twelve as the data have them, more so that confused classes are neighbours.

    Average-linkage clustering of the symmetric confusion rates with optimal leaf order (Z. Bar-Joseph et al.,
    Bioinformatics 17, 2001).

    Args:
        matrix: int64, `(classes, classes)`.

    Returns:
        The labels in order, `classes` of them.
    """
    classes = len(matrix)
    if classes <= 12:
        return list(range(classes))
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    rates = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    likeness = np.sqrt((rates + rates.T) / 2)
    distance = 1 - likeness / max(float(likeness.max()), math.ulp(1.0))
    np.fill_diagonal(distance, 0)
    condensed = squareform(distance, checks=False)
    return [int(leaf) for leaf in leaves_list(linkage(condensed, "average", optimal_ordering=True))]
