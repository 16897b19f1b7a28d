"""Tells how sure the winner is.

The method. The question "which configuration is the best" is answered by a set that holds the best one with 95 %
confidence: multiple comparisons with the best (J. Hsu, Annals of Statistics 9, 1981), here with paired t tests over
shared seeds instead of a pooled variance, because configurations differ in spread. A configuration leaves the set if
the winner beats it one-sided at 0.05 / (configurations - 1): the true best is then thrown out in at most 5 % of
studies, however the winner was picked. Where all are equal, something would still leave the set now and then; so the
set is only stated where Friedman's test finds any difference at all at 5 %.
"""

import math
from dataclasses import dataclass

import numpy as np

from kerasdl.report.scores import Scores
from kerasdl.report.statistics import ALPHA, MeanTest, friedman_p, mean_test


@dataclass(frozen=True)
class Standing:
    """The winner against the others.

    Attributes:
        winner: Its index in the scores.
        rivals: The indices of the others that completed the winner's seeds, the best mean first.
        tests: Winner minus each rival, in the objective's unit.
        ruled_out: Whether each rival is surely not the best.
        alpha: The two-sided level whose interval fits the decisions.
        apart: The p-value of Friedman's test (of the paired t test where there are two configurations).
    """

    winner: int
    rivals: list[int]
    tests: list[MeanTest]
    ruled_out: list[bool]
    alpha: float
    apart: float

    @property
    def tied(self) -> list[int]:
        """The rivals that the winner cannot be told from."""
        return [rival for rival, out in zip(self.rivals, self.ruled_out, strict=True) if not out]

    def test(self, rival: int) -> MeanTest:
        """Returns the comparison of the winner with one rival."""
        return self.tests[self.rivals.index(rival)]


def standing(scores: Scores, winner: int) -> Standing:
    """Compares the winner with every configuration that completed the same seeds.

    Args:
        scores: The scores.
        winner: The index of the winner.

    Returns:
        Where it stands; nothing is ruled out where there are fewer than two repeats.
    """
    seeds = np.isfinite(scores.values[winner])
    # A configuration that diverged with some seed ranks below: it is a fact, not a comparison of means.
    rivals = [
        index
        for index in range(len(scores.values))
        if index != winner and np.isfinite(scores.values[index][seeds]).all() and seeds.any()
    ]
    rivals.sort(key=lambda index: -scores.sign * float(scores.values[index][seeds].mean()))
    pairs = [scores.values[winner][seeds] - scores.values[rival][seeds] for rival in rivals]
    tests = [mean_test(pair, scores.step, scores.overlap) for pair in pairs]
    alpha = 2 * ALPHA / max(len(rivals), 2)
    everyone = scores.values[[winner, *rivals]][:, seeds].T
    apart = tests[0].p if len(tests) == 1 else friedman_p(everyone)
    ruled_out = [
        apart < ALPHA and math.isfinite(test.p) and test.p < alpha and test.mean * scores.sign > 0 for test in tests
    ]
    return Standing(winner, rivals, tests, ruled_out, alpha, apart)


def cheapest_tied(scores: Scores, place: Standing) -> int | None:
    """Returns the smallest configuration tied with the winner, by parameters, if it is smaller than the winner."""
    own = scores.parameters[place.winner]
    smaller = [index for index in place.tied if scores.parameters[index] < own]
    return min(smaller, key=lambda index: scores.parameters[index]) if smaller else None
