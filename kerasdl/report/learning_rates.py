"""Learning rates: at which of them a network learns, where it learns too little, and where training diverges."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.scores import key
from kerasdl.report.shortfalls import learning_bounds
from kerasdl.report.tables import Table
from kerasdl.report.words import listed, mean_of, metric_name, number, plural, score, share_of, value

SETTING = "learning_rate"
# With fewer of them there is no range to speak of.
FEWEST = 3
# Settings that add to the loss what guessing knows nothing of.
_PENALTIES = ("l1", "l2")


@dataclass(frozen=True)
class Ends:
    """How the trials with one learning rate ended.

    Attributes:
        rate: The learning rate.
        trials: How many ended.
        learned: How many learned at least half of what the best trial did beyond guessing.
        diverged: How many ended with a loss that was not finite, or above that of guessing all classes alike.
        accuracy: The objective of those that completed.
        loss: Their training loss in the last epoch.
    """

    rate: float
    trials: int
    learned: int
    diverged: int
    accuracy: np.ndarray
    loss: np.ndarray

    @property
    def short(self) -> int:
        """How many learned too little, though they did not diverge."""
        return self.trials - self.learned - self.diverged


def guessing_loss(evidence: Evidence) -> float:
    """Returns the cross-entropy of guessing all classes alike, infinite where the loss is not a cross-entropy alone."""
    classes = len(evidence.run.data.get("classes") or ())
    plain = all(
        settings.get("loss", "crossentropy") == "crossentropy" and not any(settings.get(name) for name in _PENALTIES)
        for settings in evidence.scores.settings
    )
    return math.log(classes) if classes and plain else math.inf


def ends(evidence: Evidence) -> list[Ends]:
    """Counts how trials ended at each learning rate.

    Args:
        evidence: The run.

    Returns:
        By ascending learning rate; nothing where fewer than three were tried on a grid, or where the run is not judged
        by accuracy.
    """
    scores, bounds = evidence.scores, learning_bounds(evidence)
    levels = scores.levels(SETTING) if SETTING in scores.varying else []
    if bounds is None or len(levels) < FEWEST or not scores.matched(SETTING) or "loss" not in evidence.trials:
        return []
    worst = guessing_loss(evidence)
    rates = dict(zip(scores.configurations, (key(settings.get(SETTING)) for settings in scores.settings), strict=True))
    of = evidence.trials["configuration"].map(rates)
    found = []
    for level in levels:
        own = evidence.trials[(of == key(level)) & evidence.trials["status"].isin(["completed", "diverged"])]
        completed = own[own["status"] == "completed"]
        accuracy, loss = (completed[name].to_numpy("float64") for name in ("score", "loss"))
        learned = accuracy >= bounds.limit
        diverged = len(own) - len(completed) + int((~learned & (loss > worst)).sum())
        found.append(Ends(float(level), len(own), int(learned.sum()), diverged, accuracy, loss))
    return found


def learning_rate_table(evidence: Evidence) -> Table | None:
    """Returns how trials ended at each learning rate; `None` where that is not known."""
    found, bounds = ends(evidence), learning_bounds(evidence)
    if not found or bounds is None:
        return None
    objective, overlap = evidence.scores.objective, evidence.scores.overlap
    rows = [
        [
            value(one.rate),
            *(
                share_of(count, one.trials) if one.trials else "none ended"
                for count in (one.learned, one.short, one.diverged)
            ),
            mean_of(objective, one.accuracy, overlap, none="none"),
            mean_of("", one.loss, overlap, none="none"),
        ]
        for one in found
    ]
    head = ["learning rate", "learned", "learned too little", "diverged", metric_name(objective)]
    head.append("training loss at the end")
    note = (
        f"Learned: at least half of what the best trial did beyond guessing, {metric_name(objective)} of "
        f"{score(objective, bounds.limit)} or more. Diverged: the loss is not finite{_above(evidence)}. "
        "Shares of trials with Wilson's 95\u00a0% interval; means ± half of the 95\u00a0% interval over trials that "
        "completed."
    )
    return Table("What learning rates come to", head, rows, [True] * len(head), note=note)


def _above(evidence: Evidence) -> str:
    worst = guessing_loss(evidence)
    return f", or ends above {number(worst, 3)}, that of guessing all classes alike" if math.isfinite(worst) else ""


def find_learning_rates(evidence: Evidence) -> Iterator[Finding]:
    """Says at which learning rates every trial learns, at which some learn too little, and at which some diverge."""
    found, bounds = [one for one in ends(evidence) if one.trials], learning_bounds(evidence)
    if not found or bounds is None or all(one.learned == one.trials for one in found):
        return
    objective = evidence.scores.objective
    reached = f"{metric_name(objective)} of {score(objective, bounds.limit)}"
    limit = f"at least half of what the best does beyond guessing: {reached}"
    always = [one.rate for one in found if one.learned == one.trials]
    if always:
        noun = "learning rate" if len(always) == 1 else "learning rates"
        parts = [f"Every trial learns at {noun} {_range(always, found)} ({limit})."]
    else:
        parts = [f"There is no learning rate at which every trial learns ({limit})."]
    short = _counts((one.rate, one.short, one.trials) for one in found)
    diverged = _counts((one.rate, one.diverged, one.trials) for one in found)
    if short:
        parts.append(f"Trials learn too little at {short}.")
    if diverged:
        parts.append(f"Trials diverge (the loss is not finite{_above(evidence)}) at {diverged}.")
    yield Finding(
        " ".join(parts),
        True,
        {
            "kind": "learning-rates",
            "limit": bounds.limit,
            "rates": [
                {
                    "learning_rate": one.rate,
                    "trials": one.trials,
                    "learned": one.learned,
                    "short": one.short,
                    "diverged": one.diverged,
                }
                for one in found
            ],
        },
    )


def _range(rates: Sequence[float], found: Sequence[Ends]) -> str:
    """Names rates by the first and the last of them where none that was tried lies between."""
    between = [one.rate for one in found if rates[0] <= one.rate <= rates[-1]]
    if len(between) == len(rates) > 2:
        return f"{value(rates[0])} to {value(rates[-1])}"
    return listed([value(rate) for rate in rates])


def _counts(counts: Iterator[tuple[float, int, int]]) -> str:
    return listed([f"{value(rate)} ({count} of {plural(trials, 'trial')})" for rate, count, trials in counts if count])
