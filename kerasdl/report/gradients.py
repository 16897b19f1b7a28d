"""What was seen of gradients: how they fade or grow from the outputs to the inputs, and how large updates are."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.report.comparisons import compare
from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.tables import Table
from kerasdl.report.words import listed, number, plural, setting_name, value

if TYPE_CHECKING:
    import pandas as pd

MOST = 12
# A gradient this much smaller at the inputs than at the outputs, or larger, is worth a sentence.
FADES = 1e-3


@dataclass(frozen=True)
class Course:
    """How one configuration's gradients run through its layers in one epoch.

    Attributes:
        index: The configuration's place in the scores.
        epoch: Which epoch.
        seeds: The seeds, `(seeds,)`.
        layers: The watched layers with a kernel, from inputs to outputs; all layers where none has one.
        norms: float64, `(layers, seeds)`: the median over the epoch's steps of the gradient's norm, of each layer's
            first weight, the kernel of a dense layer.
        ratios: float64, `(layers, seeds)`: the median of `norm(update) / norm(weight)`.
    """

    index: int
    epoch: int
    seeds: tuple[int, ...]
    layers: tuple[str, ...]
    norms: np.ndarray
    ratios: np.ndarray

    @property
    def medians(self) -> np.ndarray:
        """The median over seeds of each layer's gradient norm, NaN where none is finite."""
        return _medians(self.norms)

    @property
    def shares(self) -> np.ndarray:
        """The first layer's gradient norm as a share of the last layer's, of each seed, NaN where that is zero."""
        last = np.where(self.norms[-1] > 0, self.norms[-1], np.nan)
        return np.asarray(self.norms[0] / last)


def _medians(values: np.ndarray) -> np.ndarray:
    known = [row[np.isfinite(row)] for row in values]
    return np.array([np.median(row) if len(row) else np.nan for row in known])


def courses(evidence: Evidence, epoch: int) -> list[Course]:
    """Reads how gradients ran through the layers of each configuration.

    Args:
        evidence: The run.
        epoch: 1 is the first, -1 the last of each trial.

    Returns:
        One for each configuration that was watched, the best first.
    """
    seen = evidence.first_gradients if epoch == 1 else evidence.gradients
    if seen.empty:
        return []
    if epoch < 0:
        seen = seen[seen["epoch"] == seen.groupby("trial")["epoch"].transform("max")]
    else:
        seen = seen[seen["epoch"] == epoch]
    groups = dict(iter(_first_weights(seen).groupby("configuration")))
    places = {number: place for place, number in enumerate(evidence.scores.configurations)}
    ranked = [int(number) for number in evidence.table["configuration"] if number in groups]
    return [_course(places[number], groups[number]) for number in ranked]


def _first_weights(seen: "pd.DataFrame") -> "pd.DataFrame":
    """Keeps the first weight of each layer."""
    # Scales and offsets of normalization stand beside the kernels that gradients pass through.
    kernels = seen[seen["variable"].str.endswith("kernel")]
    seen = kernels if len(kernels) else seen
    return seen[seen["position"] == seen.groupby(["trial", "epoch", "layer"])["position"].transform("min")]


def by_epoch(evidence: Evidence, course: Course, layers: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads how the gradient of some layers of a configuration changes over the epochs.

    Args:
        evidence: The run.
        course: The configuration.
        layers: Some of its layers.

    Returns:
        For each layer float64, `(epochs,)`: the median over seeds of the median over an epoch's steps; NaN where none
        is finite.
    """
    seen = evidence.gradients
    own = seen["configuration"] == evidence.scores.configurations[course.index]
    rows = _first_weights(seen[own & seen["layer"].isin(layers) & (seen["quantity"] == "gradient_norm")])
    wide = rows.groupby(["layer", "epoch"])["median"].median().unstack("epoch")
    return {layer: wide.loc[layer].to_numpy("float64") for layer in layers}


def _course(index: int, rows: "pd.DataFrame") -> Course:
    wide = (
        rows.set_index(["position", "layer", "quantity", "seed"])["median"].unstack(["quantity", "seed"]).sort_index()
    )
    layers = tuple(str(layer) for _, layer in wide.index)
    norms, ratios = (
        wide[name].to_numpy(float) if name in wide else np.full((len(layers), 1), np.nan)
        for name in ("gradient_norm", "update_ratio")
    )
    seeds = tuple(int(seed) for seed in wide["gradient_norm"].columns)
    return Course(index, int(rows["epoch"].max()), seeds, layers, norms, ratios)


def gradient_table(evidence: Evidence) -> Table | None:
    """Returns each configuration's gradients at both ends in its first epoch, or `None` where nothing was watched."""
    found = courses(evidence, 1)
    if not found:
        return None
    rows = []
    for course in found[:MOST]:
        medians = course.medians
        rows.append(
            [
                evidence.scores.describe(course.index),
                f"{len(course.layers)}",
                number(medians[0], 3),
                number(medians[-1], 3),
                _share(course.shares),
                number(float(_medians(course.ratios.reshape(1, -1))[0]), 3),
            ]
        )
    more = len(found) - MOST
    head = ["configuration", "layers", "first layer", "last layer", "first / last (range over seeds)", "update ratio"]
    note = f"The first {MOST} of the ranking; {more} more in the figure's data. " if more > 0 else ""
    note += (
        "Gradient norms are medians over the first epoch's steps and over seeds, of each layer's kernel. The update "
        "ratio is norm(update) / norm(weight), the median over layers too; about 0.001 is a rule of thumb."
    )
    return Table("Gradients in the first epoch", head, rows, [False, *(True for _ in head[1:])], note=note)


def _share(shares: np.ndarray) -> str:
    known = shares[np.isfinite(shares)]
    if not len(known):
        return "unknown"
    low, high = float(known.min()), float(known.max())
    return number(low, 2) if low == high else f"{number(low, 2)} to {number(high, 2)}"


def find_gradients(evidence: Evidence) -> Iterator[Finding]:
    """Says where gradients vanish or explode on their way to the inputs, with counts over configurations."""
    found = [course for course in courses(evidence, 1) if len(course.layers) > 1]
    if not found:
        return
    dead = [course for course in found if not course.norms[0].any()]
    living = [course for course in found if course.norms[0].any()]
    fading = [course for course in living if _all(course, lambda shares: shares < FADES)]
    growing = [course for course in living if _all(course, lambda shares: shares > 1 / FADES)]
    total = plural(len(found), "configuration")
    if fading:
        least = min(fading, key=lambda course: float(np.nanmedian(course.shares)))
        yield _finding(
            evidence,
            fading,
            f"Gradients vanish: with every seed the first layer's is less than {FADES:g} of the last layer's in "
            f"{len(fading)} of {total}, most of all with {evidence.scores.describe(least.index)} "
            f"({number(float(np.nanmedian(least.shares)), 2)}){_where(least)}.",
        )
    if growing:
        most = max(growing, key=lambda course: float(np.nanmedian(course.shares)))
        yield _finding(
            evidence,
            growing,
            f"Gradients explode: with every seed the first layer's is more than {1 / FADES:,.0f} times the last "
            f"layer's in {len(growing)} of {total}, most of all with {evidence.scores.describe(most.index)} "
            f"({_round(float(np.nanmedian(most.shares)))} times).",
        )
    if dead:
        yield _finding(
            evidence,
            dead,
            f"In {len(dead)} of {total} the first layer's gradient is exactly zero in the median step of every seed, "
            f"such as with {evidence.scores.describe(dead[0].index)}: nothing reaches the inputs.",
        )
    if not (fading or growing or dead):
        yield _finding(
            evidence,
            [],
            f"In none of {total} is the first layer's gradient with every seed less than {FADES:g} of the last layer's "
            f"or more than {1 / FADES:,.0f} times it.",
        )
    yield from _effects(evidence, found)


def _effects(evidence: Evidence, found: Sequence[Course]) -> Iterator[Finding]:
    """Says what each setting does to the share of the last layer's gradient that reaches the first.

    The shares' logarithms are compared as scores are (`kerasdl.report.comparisons`), where both are above zero.
    """
    scores = evidence.scores
    values = np.full(scores.values.shape, np.nan)
    for course in found:
        places = [scores.seeds.index(seed) for seed in course.seeds]
        with np.errstate(divide="ignore"):
            logs = np.log10(course.shares)
        values[course.index, places] = np.where(np.isfinite(logs), logs, np.nan)
    compared = [one for one in compare(replace(scores, values=values, direction="max", step=0.0)) if one.cells]
    sure = [one for one in compared if one.sure and one.kind == "setting"]
    parts = []
    for one in sure:
        low, high = one.interval
        parts.append(
            f"{setting_name(one.setting)} {value(one.second)} instead of {value(one.first)} multiplies it by "
            f"{_round(10**one.test.mean)} ({_round(10**low)} to {_round(10**high)}; {plural(one.cells, 'pair')} × "
            f"{plural(one.units, 'seed')})"
        )
    if parts:
        open_ = [setting_name(name) for name in scores.varying if name not in {one.setting for one in sure}]
        rest = f" Not settled: {listed(open_)}." if open_ else ""
        numbers = {
            "kind": "gradients",
            "effects": [
                {
                    "setting": one.setting,
                    "first": one.first,
                    "second": one.second,
                    "factor": 10**one.test.mean,
                    "p_adjusted": one.p_adjusted,
                }
                for one in sure
            ],
        }
        yield Finding(
            f"What of the last layer's gradient reaches the first, where any does: {listed(parts)}.{rest}",
            True,
            numbers,
        )


def _round(content: float) -> str:
    """Returns a factor to read, with two digits."""
    return number(float(f"{content:.2g}"), 2)


def _all(course: Course, holds: Callable[[np.ndarray], np.ndarray]) -> bool:
    shares = course.shares[np.isfinite(course.shares)]
    return len(shares) > 0 and bool(holds(shares).all())


def _finding(evidence: Evidence, found: Sequence[Course], text: str) -> Finding:
    configurations = [evidence.scores.configurations[course.index] for course in found]
    return Finding(text, True, {"kind": "gradients", "configurations": configurations})


def _where(course: Course) -> str:
    place = _vanishing_place(course)
    if not place:
        return ""
    return f"; half of that fall, in logarithms, happens down to layer {place} of {len(course.layers)}"


def _vanishing_place(course: Course) -> int | None:
    """Returns the layer, 1 at the inputs, by which half of the fall in logarithms is reached; `None` with zeros."""
    medians = course.medians
    if not (np.isfinite(medians).all() and (medians > 0).all()):
        return None
    logs = np.log(medians)
    middle = (logs[0] + logs[-1]) / 2
    below = np.flatnonzero(logs <= middle)
    return int(below.max()) + 1 if len(below) and math.isfinite(middle) else None
