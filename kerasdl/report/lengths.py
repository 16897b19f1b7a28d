"""Where the number of epochs varies: from when on more of them no longer help, and whether they harm."""

from collections.abc import Iterator

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.statistics import mean_test
from kerasdl.report.training import TAIL, by_configuration
from kerasdl.report.words import change, metric_name, number, score, span

# A curve has settled once it is within this share of its final level.
NEAR = 0.01


def find_lengths(evidence: Evidence) -> Iterator[Finding]:
    """Says of the best of the longest trainings when it settled, and that it did not overfit where it did not.

    Args:
        evidence: The evidence.

    Yields:
        A finding on when each repeat came near the level of its last fifth of the epochs, with Student's interval of
        the mean over seeds, and one on validation loss where its lowest point lies in that last fifth; where it lies
        before, `kerasdl.report.training.overfitting` looks closer.
    """
    scores = evidence.scores
    if "epochs" not in scores.varying:
        return
    values = by_configuration(scores, evidence.curves, scores.objective)
    longest = max((own.shape[1] for own in values.values()), default=0)
    among = [index for index, own in values.items() if own.shape[1] == longest and len(own) > 1]
    if longest < 5 or not among:
        return
    index = max(among, key=lambda one: scores.sign * scores.means[one])
    yield _settled(evidence, index, values[index])
    losses = by_configuration(scores, evidence.curves, "val_loss").get(index)
    if losses is not None:
        yield from _kept_falling(evidence, index, losses)


def _settled(evidence: Evidence, index: int, values: np.ndarray) -> Finding:
    scores = evidence.scores
    tail = max(1, round(TAIL * values.shape[1]))
    levels = values[:, -tail:].mean(axis=1)
    near = scores.sign * (levels[:, None] - values) <= NEAR * np.abs(levels[:, None])
    test = mean_test(near.argmax(axis=1) + 1.0, step=1.0, overlap=scores.overlap)
    low, high = test.interval()
    last = float(values.shape[1])
    level = score(scores.objective, float(levels.mean()))
    return Finding(
        f"With {scores.describe(index)}, {metric_name(scores.objective)} first comes within {100 * NEAR:g}\u00a0% of "
        f"the level of its last {tail} epochs ({level}) in epoch {number(test.mean, 3)} on average (95 % interval "
        f"{number(max(1.0, low), 3)} to {number(min(last, high), 3)}).",
        True,
        {"kind": "length", "epoch": test.mean, "low": low, "high": high, "level": float(levels.mean())},
    )


def _kept_falling(evidence: Evidence, index: int, losses: np.ndarray) -> Iterator[Finding]:
    seeds, epochs = losses.shape
    mean = losses.mean(axis=0)
    best = int(np.argmin(mean))
    if best + 1 <= (1 - TAIL) * epochs:
        return
    # The fifth before is compared with the last: single epochs are noisy.
    tail = max(1, round(TAIL * epochs))
    test = mean_test(losses[:, -tail:].mean(axis=1) - losses[:, -2 * tail : -tail].mean(axis=1))
    low, high = test.interval()
    single = losses.argmin(axis=1) + 1
    yield Finding(
        f"Nothing shows overfitting in {epochs} epochs: with {evidence.scores.describe(index)}, validation loss is "
        f"lowest in epoch {best + 1} of the mean, in epochs {single.min()} to {single.max()} of {seeds} repeats; from "
        f"the last fifth but one to the last it changes by {change('loss', test.mean)} ({span('loss', low, high)}).",
        high <= 0,
        {"kind": "length", "epoch": best + 1, "rise": test.mean, "low": low, "high": high},
    )
