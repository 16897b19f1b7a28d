"""Holds published results beside the run's own."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.scores import is_numeric
from kerasdl.report.statistics import mean_test
from kerasdl.report.words import describe, metric_name, plural, score, setting_name, value


@dataclass(frozen=True)
class Reference:
    """One published figure and ours.

    Attributes:
        source: Where it was published.
        settings: The settings of its row that a study can have.
        metric: The metric.
        theirs: The published value.
        ours: The mean of our repeats, NaN where nothing matches.
        low: Lower end of the 95 % interval of our mean (Student's t over seeds); NaN for one repeat.
        high: Upper end.
        single_low: Lower end of the 95 % prediction interval for one more run; a published figure mostly is one run.
        single_high: Upper end.
        configurations: How many of our configurations the row matches; our figure is their average within each seed.
        note: Why nothing matches, or the row's own note.
    """

    source: str
    settings: dict[str, Any]
    metric: str
    theirs: float
    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    single_low: float = math.nan
    single_high: float = math.nan
    configurations: int = 0
    note: str = ""

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.ours - self.theirs

    @property
    def inside(self) -> bool | None:
        """Whether theirs lies inside the interval of our mean; `None` where that is unknown."""
        return self.low <= self.theirs <= self.high if math.isfinite(self.low) else None

    @property
    def inside_single(self) -> bool | None:
        """Whether theirs could be one more run of ours; `None` where that is unknown."""
        return self.single_low <= self.theirs <= self.single_high if math.isfinite(self.single_low) else None


def compare_references(evidence: Evidence) -> list[Reference]:
    """Matches the rows of `study["reference"]["rows"]` with configurations.

    A row matches the configurations that have its value in every setting that both know; settings about which the row
    is silent are averaged over. A column that is no setting but a metric of ours (`val_accuracy`, `test_accuracy`,
    `train_accuracy`, the objective) is compared.

    Args:
        evidence: The run.

    Returns:
        One entry for each row and metric.
    """
    reference = evidence.run.study.get("reference", {})
    rows = reference.get("rows", []) if isinstance(reference, Mapping) else []
    known = {name for own in evidence.scores.settings for name in own}
    found = []
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        settings = {name: item for name, item in row.items() if name in known and item not in ("", None)}
        for name, item in row.items():
            column = _column(evidence, name)
            if name not in known and column is not None and is_numeric([item]):
                found.append(_compare(evidence, row, settings, name, column))
    return found


def same_data(evidence: Evidence) -> bool:
    """Tells whether the published figures are of the run's data set; if a study does not say, they are."""
    reference = evidence.run.study.get("reference", {})
    theirs = reference.get("data") if isinstance(reference, Mapping) else None
    return not theirs or str(evidence.run.data.get("name", "")).partition("?")[0] == str(theirs).partition("?")[0]


def find_references(evidence: Evidence) -> Iterator[Finding]:
    """Says how many published figures could be one more run of ours, where they differ most, and of their order.

    Figures of another data set are compared by their order alone. Those with a note of their own (something was done
    another way there) are not counted.
    """
    counted = [one for one in compare_references(evidence) if math.isfinite(one.ours) and not one.note]
    for metric in dict.fromkeys(one.metric for one in counted):
        found = [one for one in counted if one.metric == metric]
        parts = []
        numbers: dict[str, Any] = {"kind": "reference", "metric": metric}
        known = [one for one in found if one.inside_single is not None] if same_data(evidence) else []
        if known:
            outside = [one for one in known if not one.inside_single]
            numbers |= {"compared": len(known), "outside": len(outside)}
            parts.append(_agreement(metric, known, outside))
        pairs, alike = _order(found)
        if pairs:
            numbers |= {"pairs": pairs, "same_order": alike}
            of = f"{plural(pairs, 'pair')} of published figures of {metric_name(metric)}"
            parts.append(f"Ours are in the same order in {alike} of {of}.")
        if parts:
            yield Finding(" ".join(parts), True, numbers)


def _agreement(metric: str, known: list[Reference], outside: list[Reference]) -> str:
    could = f"{len(known) - len(outside)} could be one more run of ours"
    text = f"Of {plural(len(known), 'published figure')} of {metric_name(metric)} {could}"
    if not outside:
        return f"{text}."
    far = max(outside, key=lambda one: abs(one.difference))
    one_run = f"{score(metric, far.single_low)} to {score(metric, far.single_high)} for one run"
    return (
        f"{text}; we disagree on {len(outside)}, most on {describe(far.settings, list(far.settings))}: ours "
        f"{score(metric, far.ours)} ({one_run}), theirs {score(metric, far.theirs)}."
    )


def _order(found: list[Reference]) -> tuple[int, int]:
    """Counts the pairs of differing figures of one source, and those of them that are in the same order here."""
    pairs = [
        (first, second)
        for first, second in itertools.combinations(found, 2)
        if first.source == second.source and first.theirs != second.theirs and first.ours != second.ours
    ]
    return len(pairs), sum((a.theirs > b.theirs) == (a.ours > b.ours) for a, b in pairs)


def _column(evidence: Evidence, name: str) -> str | None:
    """Returns the column of the trials that holds a published metric."""
    for candidate in (name, name.removeprefix("train_"), name.removeprefix("training_")):
        if candidate == evidence.scores.objective:
            return "score"
        metrics = set(evidence.curves.columns) - {"trial", "configuration", "seed", "epoch", "seconds"}
        if candidate in evidence.trials.columns and (candidate in metrics or candidate.startswith("test_")):
            return candidate
    return None


def _compare(
    evidence: Evidence, row: Mapping[str, Any], settings: dict[str, Any], metric: str, column: str
) -> Reference:
    source, note = str(row.get("source", "")), str(row.get("note", ""))
    theirs = float(row[metric])
    matching = [
        number
        for number, own in zip(evidence.scores.configurations, evidence.scores.settings, strict=True)
        if all(_same(own.get(name), item) for name, item in settings.items())
    ]
    if not matching:
        reason = _reason(evidence, settings)
        return Reference(source, settings, metric, theirs, note=f"{note}; {reason}" if note else reason)
    trials = evidence.trials
    own = trials[trials["configuration"].isin(matching) & (trials["status"] == "completed")]
    wide = own.pivot_table(index="seed", columns="configuration", values=column, aggfunc="mean")
    # Only seeds that all matching configurations completed, so that every seed's mean is over the same ones.
    whole = wide.dropna()
    values = np.asarray(whole.mean(axis=1), dtype="float64")
    if len(values) == 0:
        return Reference(source, settings, metric, theirs, configurations=len(matching), note="none of ours completed")
    test = mean_test(values, overlap=evidence.scores.overlap)
    low, high = test.interval()
    single_low, single_high = _prediction(values)
    return Reference(
        source, settings, metric, theirs, test.mean, low, high, single_low, single_high, len(whole.columns), note
    )


def _prediction(values: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % prediction interval for one more value: mean ± t(n - 1) · s · √(1 + 1/n)."""
    from scipy import special

    count = len(values)
    if count < 2:
        return math.nan, math.nan
    half = float(special.stdtrit(count - 1, 0.975) * values.std(ddof=1) * math.sqrt(1 + 1 / count))
    return float(values.mean()) - half, float(values.mean()) + half


_WORDS = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def _same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, bool):
        return ours == (_WORDS.get(theirs.lower()) if isinstance(theirs, str) else theirs)
    if is_numeric([ours, theirs]):
        return math.isclose(ours, theirs, rel_tol=1e-6)
    if isinstance(ours, str) and isinstance(theirs, str):
        return ours.lower() == theirs.lower()
    return bool(ours == theirs)


def _reason(evidence: Evidence, settings: dict[str, Any]) -> str:
    for name, item in settings.items():
        ours = evidence.scores.levels(name)
        if not any(_same(own, item) for own in ours):
            shown = ", ".join(value(own) for own in ours[:6])
            return f"no match: {setting_name(name)} is {shown}{' ...' if len(ours) > 6 else ''} here"
    return "no match: this combination was not run here"
