"""Batch normalization on and off, each at the learning rate that suits it: paired by seed."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.statistics import MeanTest, mean_test
from kerasdl.report.tables import Table
from kerasdl.report.words import change, is_share, mean_with_half, metric_name, number, score, setting_name, value

if TYPE_CHECKING:
    import pandas as pd

SETTING = "batch_norm"
# An arm's learning rate "trains" where it comes this near to the best of the weaker arm.
ENOUGH = 0.95
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
    """

    evidence: Evidence
    rest: dict[str, Any]
    off: Arm
    on: Arm

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

    @cached_property
    def rows(self) -> list["Row"]:
        """Everything that is compared."""
        return list(_rows(self))


@dataclass(frozen=True)
class Row:
    """One quantity of both arms.

    Attributes:
        name: What it is.
        metric: The metric whose unit it has; empty for a plain number.
        off: float64, `(seeds,)`, NaN where unknown.
        on: The same with batch normalization.
    """

    name: str
    metric: str
    off: np.ndarray
    on: np.ndarray

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
        low, high = mean_test(known).interval()
        return mean_with_half(self.metric, float(known.mean()), (high - low) / 2) + missing

    def difference(self) -> str:
        """Returns on - off with its 95 % interval."""
        test = self.test
        if not math.isfinite(test.mean):
            return "unknown"
        low, high = test.interval()
        words = self._change
        inside = f" [{words(low)} to {words(high)}]" if math.isfinite(low) else ""
        return f"{words(test.mean)}{inside}"

    def _change(self, content: float) -> str:
        if self.metric and is_share(self.metric):
            return change(self.metric, content, with_unit=False)
        return ("+" if content > 0 else "") + number(content, 2)

    @property
    def sure(self) -> bool:
        """Whether the interval of the difference excludes zero."""
        low, high = self.test.interval()
        return math.isfinite(low) and (low > 0 or high < 0)


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
            found.append(Pair(evidence, rest, off, on))
    return found


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

    def row(name: str, metric: str, read: "Callable[[pd.DataFrame], float]", source: str = "curves") -> Row:
        off, on = (pair.by_seed(arm, read, source) for arm in pair.arms)
        return Row(name, metric, off, on)

    def last(column: str) -> "Callable[[pd.DataFrame], float]":
        return lambda own: float(own.sort_values("epoch")[column].iloc[-1])

    yield row(f"epochs until {metric_name(objective)} {score(objective, pair.target)}", "", pair.epochs_to_target)
    for name in (base, objective):
        if name in evidence.curves:
            yield row(f"final {metric_name(name)}", name, last(name))
    if f"test_{base}" in evidence.trials:
        yield row(
            f"final {metric_name(f'test_{base}')}", base, lambda own: float(own[f"test_{base}"].iloc[0]), "trials"
        )
    measures = evidence.measures
    if "training_loss" in measures:
        yield row(
            "loss in training mode less that in inference mode, same rows, at the end",
            "",
            lambda own: _gap(own),
            "measures",
        )
    for name, words in MEASURES.items():
        if name in measures:
            yield row(f"{words}, mean over epochs", "", partial(_after_start, name=name), "measures")


def _gap(own: "pd.DataFrame") -> float:
    last = own.sort_values("epoch").iloc[-1]
    return float(last["training_loss"] - last["inference_loss"])


def _after_start(own: "pd.DataFrame", name: str) -> float:
    known = own[own["epoch"] > 0][name]
    return float(known.mean()) if known.notna().all() and len(known) else math.nan


def arms_tables(evidence: Evidence) -> list[Table]:
    """Returns a table for each pair of arms; none where the study does not compare them."""
    tables = []
    for pair in pairs(evidence):
        rows = [
            ["best learning rate", *(value(arm.rate) for arm in pair.arms), ""],
            ["learning rates that train", *(_rates(pair.trains(arm), arm) for arm in pair.arms), ""],
            *([row.name, row.shown(row.off), row.shown(row.on), row.difference()] for row in pair.rows),
        ]
        rest = ", ".join(f"{setting_name(name)} {value(content)}" for name, content in pair.rest.items())
        note = (
            "Each arm at its own best learning rate; a rate trains if its mean comes to "
            f"{100 * ENOUGH:g}\u00a0% of the weaker arm's best. ± and brackets: 95\u00a0% intervals over "
            f"{len(evidence.scores.seeds)} seeds, differences paired by seed."
        )
        head = ["", f"{setting_name(SETTING)} off", f"{setting_name(SETTING)} on", "on \u2212 off"]
        title = f"Batch normalization{f', {rest}' if rest else ''}"
        tables.append(Table(title, head, rows, [False, True, True, True], note=note))
    return tables


def _rates(found: list[float], arm: Arm) -> str:
    if not found:
        return "none"
    ends = value(found[0]) if len(found) == 1 else f"{value(found[0])} to {value(found[-1])}"
    return f"{ends} ({len(found)} of {len(arm.rates)})"


def arms_words(evidence: Evidence) -> list[str]:
    """Says, for each pair of arms, which differences are sure and which are not."""
    sentences = []
    for pair in pairs(evidence):
        rest = ", ".join(f"{setting_name(name)} {value(content)}" for name, content in pair.rest.items())
        sure = [f"{row.name} ({row.difference()})" for row in pair.rows if row.sure]
        unsure = [row.name for row in pair.rows if not row.sure]
        off, on = (len(pair.trains(arm)) for arm in pair.arms)
        text = f"With {rest}, " if rest else ""
        text += f"batch normalization trains at {on} of {len(pair.on.rates)} learning rates, its absence at {off}"
        text += f"; it surely changes {'; '.join(sure)}" if sure else "; nothing else that it changes is sure"
        text += f". Not settled: {'; '.join(unsure)}." if unsure and sure else "."
        sentences.append(text[:1].upper() + text[1:])
    return sentences
