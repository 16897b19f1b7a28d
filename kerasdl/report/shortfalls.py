"""How often a configuration that can learn does not: repeats that stay near guessing."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.words import listed, metric_name, plural, score, share_of

# Repeats from which a share of them says anything.
FEWEST = 5
MOST = 6


class LearningBounds(NamedTuple):
    """Between which accuracies the trials of a run lie.

    Attributes:
        guessing: One in as many as there are classes.
        limit: Halfway between guessing and the best: who stays below it has learned too little.
        best: The best trial's.
    """

    guessing: float
    limit: float
    best: float


def learning_bounds(evidence: Evidence) -> LearningBounds | None:
    """Returns between which accuracies the trials of a run lie, `None` where it is not judged by accuracy."""
    scores = evidence.scores
    classes = len(evidence.run.data.get("classes") or ())
    if scores.objective != "val_accuracy" or classes < 2 or not np.isfinite(scores.values).any():
        return None
    guessing, best = 1 / classes, float(np.nanmax(scores.values))
    return LearningBounds(guessing, (guessing + best) / 2, best)


def find_shortfalls(evidence: Evidence) -> Iterator[Finding]:
    """Counts the trials that learned less than half of what the best trial did beyond guessing.

    Guessing is one in as many as there are classes. Nothing is said where no repeat of a configuration falls short
    while another of its repeats does not: then it is the configuration, and the ranking says so.

    Args:
        evidence: The evidence.

    Yields:
        One finding with the count and Wilson's 95 % interval of the share for each such configuration, the most
        reliable first.
    """
    scores, bounds = evidence.scores, learning_bounds(evidence)
    if bounds is None:
        return
    guessing, limit, best = bounds
    known = np.isfinite(scores.values)
    counts, short = known.sum(axis=1), (known & (scores.values < limit)).sum(axis=1)
    mixed = [index for index in range(len(counts)) if counts[index] >= FEWEST and 0 < short[index] < counts[index]]
    if not mixed:
        return
    mixed.sort(key=lambda index: short[index] / counts[index])
    never = int(((short == 0) & (counts > 0)).sum())
    always = int(((short == counts) & (counts > 0)).sum())
    shares = [f"{scores.describe(index)}: {share_of(int(short[index]), int(counts[index]))}" for index in mixed]
    yield Finding(
        f"{short.sum()} of {plural(int(counts.sum()), 'trial')} learned less than half of what the best did beyond "
        f"guessing: below {score(scores.objective, limit)} {metric_name(scores.objective)}, between "
        f"{score(scores.objective, guessing)} and {score(scores.objective, best)}. Every repeat of "
        f"{plural(always, 'configuration')}, none of {never}, and by chance {listed(shares, MOST)}.",
        True,
        {
            "kind": "shortfall",
            "limit": limit,
            "short": int(short.sum()),
            "trials": int(counts.sum()),
            "configurations": {scores.configurations[index]: int(short[index]) for index in mixed},
        },
    )
