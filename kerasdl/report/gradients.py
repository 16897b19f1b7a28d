"""What was seen of gradients: how they fade or grow from the outputs to the inputs, and how large updates are."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.tables import Table
from kerasdl.report.words import number, plural

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
        layers: The watched layers with a kernel, from inputs to outputs; all layers where none has one.
        norms: float64, `(layers, seeds)`: the median over the epoch's steps of the gradient's norm, of each layer's
            first weight, the kernel of a dense layer.
        ratios: float64, `(layers, seeds)`: the median of `norm(update) / norm(weight)`.
    """

    index: int
    epoch: int
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
    seen = evidence.gradients
    if seen.empty:
        return []
    if epoch < 0:
        seen = seen[seen["epoch"] == seen.groupby("trial")["epoch"].transform("max")]
    else:
        seen = seen[seen["epoch"] == epoch]
    # Scales and offsets of normalization stand beside the kernels that gradients pass through.
    kernels = seen[seen["variable"].str.endswith("kernel")]
    seen = kernels if len(kernels) else seen
    firsts = seen["position"] == seen.groupby(["trial", "epoch", "layer"])["position"].transform("min")
    groups = dict(iter(seen[firsts].groupby("configuration")))
    places = {number: place for place, number in enumerate(evidence.scores.configurations)}
    ranked = [int(number) for number in evidence.table["configuration"] if number in groups]
    return [_course(places[number], groups[number]) for number in ranked]


def _course(index: int, rows: "pd.DataFrame") -> Course:
    wide = (
        rows.set_index(["position", "layer", "quantity", "seed"])["median"].unstack(["quantity", "seed"]).sort_index()
    )
    layers = tuple(str(layer) for _, layer in wide.index)
    norms, ratios = (
        wide[name].to_numpy(float) if name in wide else np.full((len(layers), 1), np.nan)
        for name in ("gradient_norm", "update_ratio")
    )
    return Course(index, int(rows["epoch"].max()), layers, norms, ratios)


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


def gradient_words(evidence: Evidence) -> list[str]:
    """Says where gradients vanish or explode on their way to the inputs, with counts over configurations."""
    found = [course for course in courses(evidence, 1) if len(course.layers) > 1]
    if not found:
        return []
    fading, growing, dead = [], [], []
    for course in found:
        if not course.norms[0].any():
            dead.append(course)
            continue
        shares = course.shares[np.isfinite(course.shares)]
        if len(shares) and (shares < FADES).all():
            fading.append(course)
        elif len(shares) and (shares > 1 / FADES).all():
            growing.append(course)
    total = plural(len(found), "configuration")
    sentences = []
    if fading:
        least = min(fading, key=lambda course: float(np.nanmedian(course.shares)))
        place = _vanishing_place(least)
        where = (
            f"; half of that fall, in logarithms, happens down to layer {place} of {len(least.layers)}" if place else ""
        )
        sentences.append(
            f"Gradients vanish: with every seed the first layer's is less than {FADES:g} of the last layer's in "
            f"{len(fading)} of {total}, most of all with {evidence.scores.describe(least.index)} "
            f"({number(float(np.nanmedian(least.shares)), 2)}){where}."
        )
    if growing:
        most = max(growing, key=lambda course: float(np.nanmedian(course.shares)))
        sentences.append(
            f"Gradients explode: with every seed the first layer's is more than {1 / FADES:,.0f} times the last "
            f"layer's in {len(growing)} of {total}, most of all with {evidence.scores.describe(most.index)} "
            f"({number(float(np.nanmedian(most.shares)), 2)} times)."
        )
    if dead:
        sentences.append(
            f"In {len(dead)} of {total} the first layer's gradient is exactly zero in the median step of every seed, "
            f"such as with {evidence.scores.describe(dead[0].index)}: nothing reaches the inputs."
        )
    if not sentences:
        sentences.append(
            f"In none of {total} is the first layer's gradient with every seed less than {FADES:g} of the last layer's "
            f"or more than {1 / FADES:,.0f} times it."
        )
    return sentences


def _vanishing_place(course: Course) -> int | None:
    """Returns the layer, 1 at the inputs, by which half of the fall in logarithms is reached; `None` with zeros."""
    medians = course.medians
    if not (np.isfinite(medians).all() and (medians > 0).all()):
        return None
    logs = np.log(medians)
    middle = (logs[0] + logs[-1]) / 2
    below = np.flatnonzero(logs <= middle)
    return int(below.max()) + 1 if len(below) and math.isfinite(middle) else None
