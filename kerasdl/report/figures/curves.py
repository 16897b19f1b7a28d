"""Learning curves of the best configurations and the worst."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, VERMILION, label_epochs, new_figure, plain_logarithms
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, wrapped
from kerasdl.report.words import plural, scale, sentence, setting_name, unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BEST = 3
LONG = 10


def draw_curves(evidence: Evidence) -> Picture | None:
    """Draws training and validation curves, one column a configuration, with the range over repeats.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where no epoch was recorded.
    """
    curves = evidence.curves
    metrics = _metrics(evidence)
    chosen = _chosen(evidence)
    if curves.empty or not metrics or not chosen:
        return None
    figure = new_figure(max(5.0, 2.7 * len(chosen)), 0.9 + 2.35 * len(metrics))
    grid = figure.subplots(len(metrics), len(chosen), sharex="col", sharey="row", squeeze=False)
    diverged = 0
    for column, (number, title) in enumerate(chosen):
        own = curves[curves["configuration"] == number]
        bad = _diverged(evidence, number)
        diverged += len(bad)
        for row, metric in enumerate(metrics):
            _draw_panel(grid[row][column], own, metric, bad)
        grid[0][column].set_title(wrapped(title, 30), fontsize=8.5)
        label_epochs(grid[-1][column])
    for row, metric in enumerate(metrics):
        _scale_row(list(grid[row]), evidence, [number for number, _ in chosen], metric)
        grid[row][0].set_ylabel(f"{setting_name(metric)}{unit(metric)}")
    figure.legend(*_legend(diverged > 0), loc="outside lower center", ncols=4)
    names = " and ".join(setting_name(metric) for metric in metrics)
    note = f" {plural(diverged, 'trial')} among them diverged and end in a cross." if diverged else ""
    return Picture(
        "curves",
        "Learning curves",
        f"{sentence(names)} by epoch, on training and validation rows, of {plural(len(chosen), 'configuration')}: "
        f"{'; '.join(title for _, title in chosen)}.{note}",
        "Lines are means over the repeats that completed, bands their smallest and largest value. "
        "A row of panels shares its axis; a cross marks the last finite epoch of a trial that diverged.",
        figure,
    )


def _metrics(evidence: Evidence) -> list[str]:
    base = evidence.scores.objective.removeprefix("val_").removeprefix("test_")
    return [name for name in dict.fromkeys([base, "loss"]) if {name, f"val_{name}"} & set(evidence.curves.columns)]


def _chosen(evidence: Evidence) -> list[tuple[int, str]]:
    """Returns the best configurations and the worst, by number, with what to call them."""
    seen = set(evidence.curves["configuration"])
    numbers = [int(number) for number in evidence.table["configuration"] if number in seen]
    picked = [*range(min(BEST, len(numbers))), *([len(numbers) - 1] if len(numbers) > BEST else [])]
    words = []
    for position in picked:
        index = evidence.scores.configurations.index(numbers[position])
        place = f"{position + 1}.{' (last)' if position == len(numbers) - 1 and position >= BEST else ''}"
        words.append((numbers[position], f"{place} {evidence.scores.describe(index)}"))
    return words


def _diverged(evidence: Evidence, number: int) -> set[int]:
    trials = evidence.trials
    return set(trials[(trials["configuration"] == number) & (trials["status"] == "diverged")]["trial"])


def _draw_panel(axes: "Axes", own: "pd.DataFrame", metric: str, diverged: set[int]) -> None:
    factor = scale(metric)
    for name, colour, style, band in ((metric, BLUE, "--", 0.13), (f"val_{metric}", VERMILION, "-", 0.22)):
        if name not in own:
            continue
        good = own[~own["trial"].isin(diverged)].groupby("epoch")[name].agg(["mean", "min", "max"]) * factor
        marker = "o" if len(good) == 1 else ""
        axes.plot(good.index, good["mean"], color=colour, linestyle=style, marker=marker, linewidth=1.6, zorder=3)
        axes.fill_between(good.index, good["min"], good["max"], color=colour, alpha=band, linewidth=0, zorder=2)
        for trial in sorted(diverged):
            line = own[(own["trial"] == trial) & np.isfinite(own[name])]
            axes.plot(line["epoch"], line[name] * factor, color=colour, linestyle=style, linewidth=0.8, zorder=3)
            if len(line):
                last = line.iloc[-1]
                # The row's limits leave huge values out: their cross stays at the frame.
                axes.plot(last["epoch"], last[name] * factor, "X", color=colour, markersize=7, zorder=5, gid="diverged")


def _scale_row(row: list[Any], evidence: Evidence, numbers: list[int], metric: str) -> None:
    """Sets one row's common limits by the trials that completed; crosses beyond them move to the frame."""
    curves, trials = evidence.curves, evidence.trials
    names = [name for name in (metric, f"val_{metric}") if name in curves]
    completed = trials[trials["configuration"].isin(numbers) & (trials["status"] != "diverged")]["trial"]
    calm = curves[curves["trial"].isin(completed)][names].to_numpy().ravel()
    calm = calm[np.isfinite(calm)]
    if len(calm) == 0:
        everything = curves[curves["configuration"].isin(numbers)][names].to_numpy().ravel()
        calm = everything[np.isfinite(everything) & (np.abs(everything) < 1e6)]
    if len(calm) == 0:
        return
    # The first epochs of a long training may leave the frame, so that what happens later can be seen.
    long = curves["epoch"].max() >= LONG
    share = "accuracy" in metric
    low = float(np.quantile(calm, 0.08) if long and share else calm.min()) * scale(metric)
    high = float(np.quantile(calm, 0.96) if long and not share else calm.max()) * scale(metric)
    logarithmic = not share and low > 0 and high / low > 40
    if logarithmic:
        limits = 10 ** (math.log10(low) - 0.1), 10 ** (math.log10(high) + 0.1)
    else:
        room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
        limits = low - room, high + room
    for axes in row:
        if logarithmic:
            axes.set_yscale("log")
        axes.set_ylim(*limits)
        if logarithmic:
            plain_logarithms(axes.yaxis)
        for line in axes.lines:
            if line.get_gid() == "diverged":
                line.set_ydata(np.clip(np.asarray(line.get_ydata(), dtype="float64"), *limits))
                line.set_clip_on(False)


def _legend(diverged: bool) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=BLUE, linestyle="--", linewidth=1.6),
        Line2D([], [], color=VERMILION, linewidth=1.6),
    ]
    labels = ["training", "validation"]
    if diverged:
        handles.append(Line2D([], [], marker="X", color=VERMILION, linewidth=0, markersize=7))
        labels.append("diverged after this epoch")
    return handles, labels
