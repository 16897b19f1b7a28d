"""Compares the levels of each setting.

The method. Trials share their seeds across configurations, so a difference between two levels is taken between trials
that agree in all other settings and in the seed. A study's grid is chosen, not drawn: its settings are fixed effects,
and the only thing that repeats is the seed, a block that may move all configurations together. So the differences of
one seed are averaged over the other settings, and Student's t is taken over seeds: a contrast with its own error term,
as for a randomized block design with fixed treatments (S. Maxwell and H. Delaney, Designing Experiments and Analyzing
Data, 2004, chapters 11 and 12). Counting every pair as its own repeat would take the other settings' interactions for
noise and common noise for repeats. Pooling the error over all configurations would buy degrees of freedom, but learning
rates differ wildly in spread.

All comparisons of a run's settings are one family; Holm's correction holds the rate of any false claim in it at 5 %.

A random search has no matched pairs. There the configurations are the independent draws: a number is judged by
Spearman's correlation with the configurations' means, a category by Welch's t between them, and so are the best and the
worst third of a number's values.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from kerasdl.report.blocks import Block, block, living_levels
from kerasdl.report.scores import Scores, is_numeric, key
from kerasdl.report.statistics import (
    ALPHA,
    MeanTest,
    holm,
    mean_test,
    rank_correlation,
    rank_correlation_test,
    welch_test,
)
from kerasdl.report.words import number

MOST_PAIRED_LEVELS = 4
FEWEST_FOR_THIRDS = 12


@dataclass(frozen=True)
class Comparison:
    """One question to a setting, and its answer.

    Attributes:
        setting: The setting.
        kind: `"setting"`: second level minus first; `"trend"`: Spearman's correlation of score and value.
        first: The level that is compared with, `None` for a trend.
        second: The level that is compared, `None` for a trend.
        test: Mean, error and p-value.
        choices: How many pairs this one was chosen from by its result (best against worst level).
        cells: Matched combinations of the other settings; 0 where configurations are independent draws.
        possible: Matched combinations before those with missing scores were left out.
        units: What repeats: seeds, or independent configurations.
        repeats: Repeats per configuration behind it.
        p_adjusted: After Holm's correction.
        alpha: The level whose interval goes with `p_adjusted`.
    """

    setting: str
    kind: str
    first: Any
    second: Any
    test: MeanTest
    choices: int
    cells: int
    possible: int
    units: int
    repeats: int
    p_adjusted: float = math.nan
    alpha: float = ALPHA

    @property
    def interval(self) -> tuple[float, float]:
        """The corrected interval."""
        return self.test.interval(self.alpha / self.choices)

    @property
    def sure(self) -> bool:
        """Whether the corrected interval excludes zero."""
        return self.p_adjusted < ALPHA


def compare(scores: Scores, *, adaptive: bool = False) -> list[Comparison]:
    """Compares the levels of all varying settings.

    Args:
        scores: The scores.
        adaptive: Whether later configurations were chosen by earlier scores: then they are no independent draws, and
            what rests on that gets no p-value.

    Returns:
        The comparisons, corrected as one family.
    """
    found = [item for setting in scores.varying for item in _compare_one(scores, setting, adaptive)]
    return _corrected(found)


def _corrected(found: list[Comparison]) -> list[Comparison]:
    p_values = [min(1.0, item.test.p * item.choices) for item in found]
    adjusted, alphas = holm(p_values)
    return [replace(item, p_adjusted=p, alpha=a) for item, p, a in zip(found, adjusted, alphas, strict=True)]


def _compare_one(scores: Scores, setting: str, adaptive: bool) -> Iterator[Comparison]:
    if not scores.matched(setting):
        yield from _compare_draws(scores, setting, adaptive)
        return
    levels = living_levels(scores, setting)
    if len(levels) < 2:
        return
    if len(levels) <= MOST_PAIRED_LEVELS:
        for first, second in combinations(levels, 2):
            gathered = block(scores, setting, [first, second])
            if gathered is not None:
                yield _paired(scores, setting, gathered)
        return
    gathered = block(scores, setting, levels)
    if gathered is None:
        return
    if is_numeric(levels):
        yield _paired_trend(scores, setting, gathered)
    means = gathered.by_seed().mean(axis=0) * scores.sign
    worst, best = levels[int(np.argmin(means))], levels[int(np.argmax(means))]
    pair = block(scores, setting, [worst, best])
    if pair is not None and worst != best:
        yield _paired(scores, setting, pair, choices=math.comb(len(levels), 2))


def _paired(scores: Scores, setting: str, gathered: Block, choices: int = 1) -> Comparison:
    by_seed = gathered.by_seed()
    test = mean_test(by_seed[:, 1] - by_seed[:, 0], scores.step / math.sqrt(gathered.cells), scores.overlap)
    first, second = gathered.levels
    seeds = len(gathered.seeds)
    return Comparison(setting, "setting", first, second, test, choices, gathered.cells, gathered.possible, seeds, seeds)


def _paired_trend(scores: Scores, setting: str, gathered: Block) -> Comparison:
    levels = len(gathered.levels)
    correlations = [
        np.mean([rank_correlation(gathered.levels, cell[:, seed]) for cell in gathered.values])
        for seed in range(len(gathered.seeds))
    ]
    # The smallest step of Spearman's correlation over this many ranks.
    step = 12 / (levels * (levels**2 - 1)) / math.sqrt(gathered.cells)
    seeds = len(gathered.seeds)
    test = mean_test(np.asarray(correlations), step, scores.overlap)
    return Comparison(setting, "trend", None, None, test, 1, gathered.cells, gathered.possible, seeds, seeds)


def _compare_draws(scores: Scores, setting: str, adaptive: bool) -> Iterator[Comparison]:
    means = scores.means
    known = [index for index in range(len(means)) if math.isfinite(means[index])]
    values = [scores.settings[index].get(setting) for index in known]
    repeats = len(scores.seeds)
    if len(known) < 3:
        return
    if is_numeric(values):
        test = rank_correlation_test(np.asarray(values), means[known])
        test = replace(test, p=math.nan, error=math.nan) if adaptive else test
        yield Comparison(setting, "trend", None, None, test, 1, 0, 0, len(known), repeats)
        if len(set(values)) >= FEWEST_FOR_THIRDS:
            yield _thirds(scores, setting, np.asarray(values, dtype="float64"), means[known], adaptive or repeats < 2)
        return
    groups = [
        (level, [float(means[index]) for index in rows if math.isfinite(means[index])])
        for level, rows in scores.rows_by_level(setting)
    ]
    for (first, low), (second, high) in combinations([group for group in groups if group[1]][:MOST_PAIRED_LEVELS], 2):
        test = welch_test(low, high)
        if adaptive or repeats < 2:
            # One repeat: no spread of any mean is known, so none is claimed.
            test = replace(test, p=math.nan, error=math.nan)
        yield Comparison(setting, "setting", first, second, test, 1, 0, 0, len(low) + len(high), repeats)


def _thirds(scores: Scores, setting: str, values: np.ndarray, means: np.ndarray, silent: bool) -> Comparison:
    """Compares the best third of a number's values with the worst: an optimum in the middle has no trend."""
    parts = np.array_split(np.argsort(values, kind="stable"), 3)
    order = sorted(parts, key=lambda part: float(means[part].mean()) * scores.sign)
    worst, best = order[0], order[-1]
    test = welch_test(means[worst], means[best])
    if silent:
        test = replace(test, p=math.nan, error=math.nan)
    names = [f"{number(values[part].min(), 2)} to {number(values[part].max(), 2)}" for part in (worst, best)]
    units = len(worst) + len(best)
    return Comparison(setting, "setting", names[0], names[1], test, math.comb(3, 2), 0, 0, units, len(scores.seeds))


def influence(scores: Scores) -> dict[str, float]:
    """Measures how far each varying setting moves the score.

    Args:
        scores: The scores.

    Returns:
        For each setting the range of its level means over matched configurations, in units of the score; for
        independent draws the absolute Spearman correlation times the range of the configurations' means. The largest
        first.
    """
    found: dict[str, float] = {}
    means = scores.means
    spread = float(np.nanmax(means) - np.nanmin(means)) if np.isfinite(means).any() else 0.0
    for setting in scores.varying:
        levels = living_levels(scores, setting)
        gathered = block(scores, setting, levels) if len(levels) > 1 and scores.matched(setting) else None
        if gathered is not None:
            found[setting] = float(np.ptp(gathered.by_seed().mean(axis=0)))
            continue
        known = [index for index in range(len(means)) if math.isfinite(means[index])]
        names = [key(level) for level in scores.levels(setting)]
        values = [scores.settings[index].get(setting) for index in known]
        ranks = values if is_numeric(values) else [names.index(key(value)) for value in values]
        found[setting] = abs(rank_correlation(np.asarray(ranks), means[known])) * spread if len(known) > 2 else 0.0
    return dict(sorted(found.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class Reversal:
    """A setting whose effect surely changes its sign with another setting.

    Attributes:
        setting: The setting with two levels `first` and `second`.
        first: The level that is compared with.
        second: The level that is compared.
        other: The other setting.
        effects: For each level of the other setting: the effect, with its corrected interval and p-value.
    """

    setting: str
    first: Any
    second: Any
    other: str
    effects: list[tuple[Any, MeanTest, tuple[float, float], float]]


def reversals(scores: Scores) -> list[Reversal]:
    """Looks for settings whose effect surely changes its sign between levels of another setting.

    All simple effects (of each pair of levels of one setting at each level of another) are one family for Holm's
    correction. A reversal needs two of them sure, so a false one is rarer still.

    Args:
        scores: The scores.

    Returns:
        The reversals, the widest one for each pair of settings.
    """
    keys, tests = [], []
    for setting in scores.varying:
        levels = living_levels(scores, setting)
        if not 2 <= len(levels) <= MOST_PAIRED_LEVELS or not scores.matched(setting):
            continue
        for other in scores.varying:
            if other == setting or len(scores.levels(other)) > MOST_PAIRED_LEVELS:
                continue
            for first, second in combinations(levels, 2):
                for held in scores.levels(other):
                    gathered = block(scores, setting, [first, second], {other: held})
                    if gathered is not None:
                        keys.append((setting, first, second, other, held))
                        tests.append(_paired(scores, setting, gathered).test)
    adjusted, alphas = holm([test.p for test in tests])
    grouped: dict[tuple[str, str, str, str], list[int]] = {}
    for index, (setting, first, second, other, _) in enumerate(keys):
        grouped.setdefault((setting, key(first), key(second), other), []).append(index)
    found: dict[frozenset[str], tuple[float, Reversal]] = {}
    for rows in grouped.values():
        sure = [tests[row].mean for row in rows if adjusted[row] < ALPHA]
        setting, first, second, other, _ = keys[rows[0]]
        if not sure or min(sure) >= 0 or max(sure) <= 0:
            continue
        effects = [(keys[row][4], tests[row], tests[row].interval(alphas[row]), adjusted[row]) for row in rows]
        pair, width = frozenset((setting, other)), max(sure) - min(sure)
        if pair not in found or width > found[pair][0]:
            found[pair] = width, Reversal(setting, first, second, other, effects)
    return [reversal for _, reversal in found.values()]
