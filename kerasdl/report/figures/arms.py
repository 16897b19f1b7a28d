"""Batch normalization on and off: tolerance of learning rates, and the loss along its gradient."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, VERMILION, label_epochs, new_figure, plain_logarithms
from kerasdl.report.arms import MEASURES, Arm, Pair, pairs
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture
from kerasdl.report.words import metric_name, scale, sentence, setting_name, unit, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = {False: (BLUE, "o", "--"), True: (VERMILION, "s", "-")}


def draw_arms(evidence: Evidence) -> Picture | None:
    """Draws, a row for each pair of arms, the objective by learning rate and what was measured by epoch.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where the study does not compare the arms.
    """
    found = pairs(evidence)
    if not found:
        return None
    measured = [name for name in MEASURES if name in evidence.measures]
    figure = new_figure(2.75 * (1 + len(measured)) + 0.3, 0.7 + 2.5 * len(found))
    grid = figure.subplots(len(found), 1 + len(measured), squeeze=False)
    handles: list[Any] = []
    for row, pair in zip(grid, found, strict=True):
        handles = [_draw_rates(row[0], pair, arm) for arm in pair.arms]
        rest = ", ".join(f"{setting_name(name)} {value(content)}" for name, content in pair.rest.items())
        objective = evidence.scores.objective
        row[0].set_ylabel(f"{rest}\n{metric_name(objective)}{unit(objective)}" if rest else metric_name(objective))
        row[0].set_xscale("log")
        plain_logarithms(row[0].xaxis)
        for axes, name in zip(row[1:], measured, strict=True):
            for arm in pair.arms:
                _draw_measure(axes, pair, arm, name)
            axes.set_yscale("log")
            plain_logarithms(axes.yaxis)
    grid[0][0].set_title("by learning rate")
    for axes, name in zip(grid[0][1:], measured, strict=True):
        axes.set_title(sentence(MEASURES[name]).replace(" along", "\nalong"), fontsize=8.5)
    grid[-1][0].set_xlabel("learning rate")
    for axes in grid[-1][1:]:
        label_epochs(axes)
    figure.legend(handles, ["batch norm off", "batch norm on"], loc="outside lower center", ncols=2)
    return Picture(
        "arms",
        "Batch normalization on and off",
        f"{sentence(metric_name(evidence.scores.objective))} by learning rate with and without batch normalization"
        f"{', and ' + ', '.join(MEASURES[name] for name in measured) + ' by epoch' if measured else ''}.",
        "Left: means over seeds, bands from the smallest to the largest; a cross where a seed diverged. Right: each "
        "arm at its own best learning rate, measured on the same training rows after each epoch, along the gradient "
        "up to four learning rates away; smaller means a smoother loss.",
        figure,
    )


def _draw_rates(axes: "Axes", pair: Pair, arm: Arm) -> Any:
    scores = pair.evidence.scores
    colour, marker, line = _STYLES[arm.on]
    factor = scale(scores.objective)
    by_rate = {
        float(settings["learning_rate"]): scores.values[index] * factor
        for index, settings in enumerate(scores.settings)
        if bool(settings.get("batch_norm")) == arm.on
        and all(settings.get(name) == content for name, content in pair.rest.items())
    }
    low, high = (
        np.array([reduce(by_rate[rate]) if np.isfinite(by_rate[rate]).all() else math.nan for rate in arm.rates])
        for reduce in (np.min, np.max)
    )
    axes.fill_between(arm.rates, low, high, color=colour, alpha=0.15, linewidth=0)
    (handle,) = axes.plot(arm.rates, arm.means * factor, color=colour, marker=marker, markersize=4, linestyle=line)
    lost = [rate for rate, mean in zip(arm.rates, arm.means, strict=True) if math.isnan(mean)]
    floor = min((float(np.nanmin(other.means)) for other in pair.arms), default=0.0) * factor
    axes.plot(lost, [floor] * len(lost), "X", color=colour, markersize=7, linewidth=0)
    return handle


def _draw_measure(axes: "Axes", pair: Pair, arm: Arm, name: str) -> None:
    evidence = pair.evidence
    own = evidence.measures
    own = own[own["configuration"] == evidence.scores.configurations[arm.index]]
    colour, marker, line = _STYLES[arm.on]
    epochs = own.groupby("epoch")[name].agg(["mean", "min", "max"])
    axes.fill_between(epochs.index, epochs["min"], epochs["max"], color=colour, alpha=0.15, linewidth=0)
    axes.plot(epochs.index, epochs["mean"], color=colour, marker=marker, markersize=3, linestyle=line)
