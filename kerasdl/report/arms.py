"""Batch normalization on and off, each at the learning rate that suits it: paired by seed.

Where other settings vary too, a quantity is compared once for each combination of these; these comparisons are one
family for Holm's correction, whose intervals are shown.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.statistics import ALPHA, MeanTest, holm, mean_test
from kerasdl.report.tables import Table
from kerasdl.report.words import change, is_share, mean_of, metric_name, number, score, setting_name, value

if TYPE_CHECKING:
    import pandas as pd

SETTING = "batch_norm"
# An arm's learning rate "trains" where it comes this near to the best of the weaker arm.
ENOUGH = 0.95
# The rows that an answer names.
_LEADING = ("objective", "epochs")
# Smaller is better in all of these.
MEASURES = {
    "loss_variation": "loss variation along the gradient",
    "gradient_change": "change of the gradient along itself",
    "effective_smoothness": "effective smoothness",
}


@dataclass(frozen=True)
class Arm:
    """One value of the setting at its own best learning rate.

    Attributes:
        on: Whether batches are normalized.
        rates: Its learning rates, ascending.
        means: The mean objective of each over seeds, NaN where a seed did not complete.
        rate: The best of them.
        index: The index in the scores of the configuration with that rate.
    """

    on: bool
    rates: tuple[float, ...]
    means: np.ndarray
    rate: float
    index: int


@dataclass(frozen=True)
class Pair:
    """Both arms, with everything else equal.

    Attributes:
        evidence: The run.
        rest: The other varying settings, which both share.
        off: Without batch normalization.
        on: With it.
        rows: Everything that is compared.
    """

    evidence: Evidence
    rest: dict[str, Any]
    off: Arm
    on: Arm
    rows: "tuple[Row, ...]" = ()

    @property
    def place(self) -> str:
        """The other varying settings in words, empty where there are none."""
        return ", ".join(f"{setting_name(name)} {value(content)}" for name, content in self.rest.items())

    @property
    def arms(self) -> tuple[Arm, Arm]:
        """Off, on."""
        return self.off, self.on

    @property
    def target(self) -> float:
        """What both arms can reach at their best: a share of the weaker arm's best mean."""
        best = [float(np.nanmax(arm.means)) for arm in self.arms]
        return ENOUGH * min(best) if self.evidence.scores.sign > 0 else max(best) / ENOUGH

    def trains(self, arm: Arm) -> list[float]:
        """Returns the learning rates of an arm whose mean reaches the target."""
        sign = self.evidence.scores.sign
        reached = [not math.isnan(mean) and mean * sign >= self.target * sign for mean in arm.means]
        return [rate for rate, enough in zip(arm.rates, reached, strict=True) if enough]

    def by_seed(self, arm: Arm, read: "Callable[[pd.DataFrame], float]", source: str = "curves") -> np.ndarray:
        """Computes a number of each seed from a table of its epochs, NaN where there is none, `(seeds,)`."""
        table: pd.DataFrame = getattr(self.evidence, source)
        scores = self.evidence.scores
        own = table[table["configuration"] == scores.configurations[arm.index]]
        groups = dict(iter(own.groupby("seed")))
        return np.array([read(groups[seed]) if seed in groups else math.nan for seed in scores.seeds])

    def epochs_to_target(self, epochs: "pd.DataFrame") -> float:
        """Returns the first epoch of a trial that reaches the target, NaN where none does."""
        sign = self.evidence.scores.sign
        name = self.evidence.scores.objective
        reached = epochs[epochs[name] * sign >= self.target * sign]["epoch"] if name in epochs else epochs["epoch"][:0]
        return float(reached.min()) if len(reached) else math.nan


@dataclass(frozen=True)
class Row:
    """One quantity of both arms.

    Attributes:
        kind: What it is, the same for all pairs of arms.
        name: The same in words.
        metric: The metric whose unit it has; empty for a plain number.
        off: float64, `(seeds,)`, NaN where unknown.
        on: The same with batch normalization.
        p_adjusted: The difference's p-value after Holm's correction.
        alpha: The level whose interval goes with it.
    """

    kind: str
    name: str
    metric: str
    off: np.ndarray
    on: np.ndarray
    p_adjusted: float = math.nan
    alpha: float = ALPHA

    @property
    def test(self) -> MeanTest:
        """The mean of on - off over the seeds that have both."""
        known = np.isfinite(self.off) & np.isfinite(self.on)
        return mean_test(self.on[known] - self.off[known])

    def shown(self, values: np.ndarray) -> str:
        """Returns the mean with half of its 95 % interval."""
        known = values[np.isfinite(values)]
        if not len(known):
            return "never"
        missing = f" ({len(known)} of {len(values)} seeds)" if len(known) < len(values) else ""
        return mean_of(self.metric, known) + missing

    def difference(self) -> str:
        """Returns on - off with its corrected 95 % interval."""
        test = self.test
        if not math.isfinite(test.mean):
            return "unknown"
        low, high = test.interval(self.alpha)
        words = self._change
        inside = f" [{words(low)} to {words(high)}]" if math.isfinite(low) else ""
        return f"{words(test.mean)}{inside}"

    def _change(self, content: float) -> str:
        if self.metric and is_share(self.metric):
            return change(self.metric, content, with_unit=False)
        return ("+" if content > 0 else "") + number(content, 2)

    @property
    def numbers(self) -> dict[str, Any]:
        """The difference, its corrected interval and p-value, under the quantity's name."""
        low, high = self.test.interval(self.alpha)
        return {
            "quantity": self.name,
            "difference": self.test.mean,
            "low": low,
            "high": high,
            "p_adjusted": self.p_adjusted,
        }

    @property
    def sure(self) -> bool:
        """Whether the corrected interval of the difference excludes zero."""
        return self.p_adjusted < ALPHA


def pairs(evidence: Evidence) -> list[Pair]:
    """Finds the arms of a study that varies batch normalization and the learning rate.

    Args:
        evidence: The run.

    Returns:
        One pair for each combination of the other varying settings for which both arms completed somewhere.
    """
    scores = evidence.scores
    if not {SETTING, "learning_rate"} <= set(scores.varying):
        return []
    others = [name for name in scores.varying if name not in (SETTING, "learning_rate")]
    groups: dict[str, tuple[dict[str, Any], dict[bool, list[int]]]] = {}
    for index, settings in enumerate(scores.settings):
        rest = {name: settings.get(name) for name in others}
        _, arms = groups.setdefault(repr(rest), (rest, {}))
        arms.setdefault(bool(settings.get(SETTING)), []).append(index)
    found = []
    for rest, arms in groups.values():
        off, on = (_arm(evidence, flag, arms.get(flag, [])) for flag in (False, True))
        if off is not None and on is not None:
            pair = Pair(evidence, rest, off, on)
            found.append(replace(pair, rows=tuple(_rows(pair))))
    return _corrected(found)


def _corrected(found: list[Pair]) -> list[Pair]:
    judged: dict[tuple[int, str], Row] = {}
    for kind in {row.kind for pair in found for row in pair.rows}:
        own = {place: row for place, pair in enumerate(found) for row in pair.rows if row.kind == kind}
        adjusted, alphas = holm([row.test.p for row in own.values()])
        for (place, row), p, alpha in zip(own.items(), adjusted, alphas, strict=True):
            judged[place, kind] = replace(row, p_adjusted=p, alpha=alpha)
    return [replace(pair, rows=tuple(judged[place, row.kind] for row in pair.rows)) for place, pair in enumerate(found)]


def _arm(evidence: Evidence, on: bool, indices: list[int]) -> Arm | None:
    scores = evidence.scores
    ordered = sorted(indices, key=lambda index: scores.settings[index]["learning_rate"])
    # A rate that diverges with one seed is not one to choose.
    means = np.array([scores.values[index].mean() for index in ordered])
    if not np.isfinite(means).any():
        return None
    best = int(np.nanargmax(means * scores.sign))
    rates = tuple(float(scores.settings[index]["learning_rate"]) for index in ordered)
    return Arm(on, rates, means, rates[best], ordered[best])


def _rows(pair: Pair) -> Iterator[Row]:
    evidence = pair.evidence
    objective = evidence.scores.objective
    base = objective.removeprefix("val_")

    def row(kind: str, name: str, metric: str, read: "Callable[[pd.DataFrame], float]", source: str = "curves") -> Row:
        off, on = (pair.by_seed(arm, read, source) for arm in pair.arms)
        return Row(kind, name, metric, off, on)

    def last(column: str) -> "Callable[[pd.DataFrame], float]":
        return lambda own: float(own.sort_values("epoch")[column].iloc[-1])

    until = f"epochs until {metric_name(objective)} {score(objective, pair.target)}"
    yield row("epochs", until, "", pair.epochs_to_target)
    if base != objective and base in evidence.curves:
        yield row("train", f"final {metric_name(base)}", base, last(base))
    if objective in evidence.curves:
        yield row("objective", f"final {metric_name(objective)}", objective, last(objective))
    test = f"test_{base}"
    if test in evidence.trials:
        yield row("test", f"final {metric_name(test)}", base, lambda own: float(own[test].iloc[0]), "trials")
    measures = evidence.measures
    if "training_loss" in measures:
        name = "loss in training mode less that in inference mode, same rows, at the end"
        yield row("gap", name, "", _gap, "measures")
    for kind, words in MEASURES.items():
        if kind in measures:
            yield row(kind, f"{words}, mean over epochs", "", partial(_after_start, name=kind), "measures")


def _gap(own: "pd.DataFrame") -> float:
    last = own.sort_values("epoch").iloc[-1]
    return float(last["training_loss"] - last["inference_loss"])


def _after_start(own: "pd.DataFrame", name: str) -> float:
    known = own[own["epoch"] > 0][name]
    return float(known.mean()) if known.notna().all() and len(known) else math.nan


def arms_tables(evidence: Evidence) -> list[Table]:
    """Returns a table for each pair of arms; none where the study does not compare them."""
    tables, found = [], pairs(evidence)
    for pair in found:
        rows = [
            ["best learning rate", *(value(arm.rate) for arm in pair.arms), ""],
            ["learning rates that train", *(_rates(pair.trains(arm), arm) for arm in pair.arms), ""],
            *([row.name, row.shown(row.off), row.shown(row.on), row.difference()] for row in pair.rows),
        ]
        note = (
            "Each arm at its own best learning rate; a rate trains if its mean comes to "
            f"{100 * ENOUGH:g}\u00a0% of the weaker arm's best. ± and brackets: 95\u00a0% intervals over "
            f"{len(evidence.scores.seeds)} seeds, differences paired by seed"
            + (", their intervals widened for the number of tables (Holm)." if len(found) > 1 else ".")
        )
        head = ["", f"{setting_name(SETTING)} off", f"{setting_name(SETTING)} on", "on \u2212 off"]
        title = f"Batch normalization{f', {pair.place}' if pair.place else ''}"
        tables.append(Table(title, head, rows, [False, True, True, True], note=note))
    return tables


def _rates(found: list[float], arm: Arm) -> str:
    if not found:
        return "none"
    ends = value(found[0]) if len(found) == 1 else f"{value(found[0])} to {value(found[-1])}"
    return f"{ends} ({len(found)} of {len(arm.rates)})"


def find_arms(evidence: Evidence) -> Iterator[Finding]:
    """Says, for each pair of arms, which differences are sure and which are not."""
    for pair in pairs(evidence):
        sure = [f"{row.name} ({row.difference()})" for row in pair.rows if row.sure]
        unsure = [row.name for row in pair.rows if not row.sure]
        off, on = (len(pair.trains(arm)) for arm in pair.arms)
        text = f"With {pair.place}, each" if pair.place else "Each"
        text += (
            f" arm at its own best learning rate: batch normalization trains at {on} of {len(pair.on.rates)} learning "
            f"rates, its absence at {off} of {len(pair.off.rates)}"
        )
        text += f"; it surely changes {'; '.join(sure)}" if sure else "; nothing else that it changes is sure"
        text += f". Not settled: {'; '.join(unsure)}." if unsure and sure else "."
        yield Finding(
            text,
            bool(sure),
            {
                "kind": "arms",
                "settings": pair.rest,
                "rates": {"off": pair.trains(pair.off), "on": pair.trains(pair.on)},
                "differences": [row.numbers for row in pair.rows],
            },
        )


def arms_answer(evidence: Evidence) -> list[str]:
    """Says of each pair of arms in a sentence what batch normalization changes most of all."""
    sentences = []
    for pair in pairs(evidence):
        off, on = (len(pair.trains(arm)) for arm in pair.arms)
        shown = [f"{row.name} {row.difference()}{'' if row.sure else ', not sure'}" for row in pair.rows]
        leading = [text for text, row in zip(shown, pair.rows, strict=True) if row.kind in _LEADING]
        head = f"With {pair.place}" if pair.place else "Each arm at its own best learning rate"
        sentences.append(
            f"{head}, batch normalization changes: {'; '.join(leading)}. It trains at {on} of {len(pair.on.rates)} "
            f"learning rates, its absence at {off}."
        )
    return sentences
