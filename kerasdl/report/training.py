"""Reads the learning curves: where overfitting begins, and whether training was over too soon."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.report.scores import Scores
from kerasdl.report.statistics import ALPHA, MeanTest, holm, mean_test

if TYPE_CHECKING:
    import pandas as pd

# "Well before the end": the best epoch lies in the first four fifths; "the end": the last fifth, three epochs at least.
TAIL = 0.2
FEWEST_TAIL_EPOCHS = 3


@dataclass(frozen=True)
class Curve:
    """A question to the curves of one configuration, and its answer.

    Attributes:
        index: The configuration's index in the scores.
        epoch: The epoch where validation loss was best (overfitting), or where the last epochs begin (improving).
        epochs: How many epochs were trained.
        test: The rise of the validation loss from there to the end, or the gain of the objective per epoch.
        alpha: The corrected level of the interval.
        p_adjusted: After Holm's correction over configurations.
    """

    index: int
    epoch: int
    epochs: int
    test: MeanTest
    alpha: float = ALPHA
    p_adjusted: float = math.nan

    @property
    def sure(self) -> bool:
        """Whether the corrected interval lies above zero."""
        return self.p_adjusted < ALPHA and self.test.mean > 0


def by_configuration(scores: Scores, curves: "pd.DataFrame", metric: str) -> dict[int, np.ndarray]:
    """Gathers one metric's curves of the completed trials.

    Args:
        scores: The scores.
        curves: As `Run.curves()` gives them.
        metric: A metric of the epochs.

    Returns:
        By the configuration's index: float64, `(seeds, epochs)`, without missing values. Configurations with a gap are
        left out.
    """
    if metric not in curves or curves.empty:
        return {}
    found = {}
    groups = {own: group.to_numpy() for own, group in curves.groupby(["configuration", "seed"], sort=False)[metric]}
    for index, number in enumerate(scores.configurations):
        completed = [
            seed for seed, value in zip(scores.seeds, scores.values[index], strict=True) if math.isfinite(value)
        ]
        rows = [groups[number, seed] for seed in completed if (number, seed) in groups]
        if rows and len(rows) == len(completed) and len({len(row) for row in rows}) == 1 and len(rows[0]):
            stacked = np.stack(rows)
            if np.isfinite(stacked).all():
                found[index] = stacked
    return found


def _corrected(found: list[Curve]) -> list[Curve]:
    # One-sided claims (a rise, a gain) tested two-sided: on the safe side.
    adjusted, alphas = holm([item.test.p for item in found])
    return [
        Curve(item.index, item.epoch, item.epochs, item.test, alpha, p)
        for item, p, alpha in zip(found, adjusted, alphas, strict=True)
    ]


def overfitting(scores: Scores, curves: "pd.DataFrame") -> list[Curve]:
    """Looks for validation loss that rises after its best epoch.

    The lowest point of a noisy curve is always followed by a rise. So each seed's rise is measured from the epoch that
    is best in the mean of the *other* seeds, which knows nothing of its own noise (cross-fitting), and Student's t is
    taken over seeds, with Holm's correction over configurations.

    Args:
        scores: The scores.
        curves: As `Run.curves()` gives them.

    Returns:
        One answer for each configuration whose best epoch lies well before the end.
    """
    found = []
    for index, losses in by_configuration(scores, curves, "val_loss").items():
        seeds, epochs = losses.shape
        best = int(np.argmin(losses.mean(axis=0)))
        if seeds < 2 or epochs < 2 or best + 1 > (1 - TAIL) * epochs:
            continue
        total = losses.sum(axis=0)
        rises = [losses[seed, -1] - losses[seed, int(np.argmin(total - losses[seed]))] for seed in range(seeds)]
        found.append(Curve(index, best + 1, epochs, mean_test(rises, overlap=scores.overlap)))
    return _corrected(found)


def improving(scores: Scores, curves: "pd.DataFrame") -> list[Curve]:
    """Looks for objectives that still got better in the last epochs.

    A least-squares line through the last fifth of the epochs (three at least) of each seed; Student's t of its slope
    over seeds, with Holm's correction over configurations.

    Args:
        scores: The scores.
        curves: As `Run.curves()` gives them.

    Returns:
        One answer for each configuration; the slope is positive where the objective gets better.
    """
    found = []
    for index, values in by_configuration(scores, curves, scores.objective).items():
        seeds, epochs = values.shape
        tail = max(FEWEST_TAIL_EPOCHS, math.ceil(TAIL * epochs))
        if seeds < 2 or epochs < tail:
            continue
        line = np.polynomial.polynomial.polyfit(np.arange(tail), values[:, -tail:].T, 1)
        slopes = scores.sign * line[1]
        found.append(Curve(index, epochs - tail + 1, epochs, mean_test(slopes, scores.step / tail, scores.overlap)))
    return _corrected(found)
