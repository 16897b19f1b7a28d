"""One figure for each varying setting: every trial, and what the setting does on the average."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, GREY, PALE, VERMILION, new_figure, plain_logarithms
from kerasdl.report.blocks import Block, block, living_levels
from kerasdl.report.comparisons import FEWEST_FOR_THIRDS
from kerasdl.report.divergence import count_by_level
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, is_log_spaced, label, number_ticks, wrapped
from kerasdl.report.scores import Scores, is_numeric, key
from kerasdl.report.statistics import within_errors
from kerasdl.report.words import (
    is_share,
    metric_name,
    number,
    plural,
    scale,
    score,
    sentence,
    setting_name,
    unit,
    value,
)
from kerasdl.runs.ranking import interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_TICKS = 12
# How far an axis of percent goes on beyond none and all, so that markers there are whole.
BEYOND = 4.0


def draw_setting(evidence: Evidence, setting: str, position: int) -> Picture | None:
    """Draws the score of each trial against one setting, with paired means and their intervals.

    Args:
        evidence: The run.
        setting: A varying setting.
        position: Its place among the varying ones, for the file's name.

    Returns:
        The picture; `None` where no trial completed.
    """
    scores = evidence.scores
    levels = scores.levels(setting)
    if not np.isfinite(scores.values).any() or not levels:
        return None
    figure = new_figure(5.2, 3.7)
    axes = figure.subplots()
    places = _places(axes, setting, levels)
    gathered = _gathered(evidence.planned, setting)
    _draw_trials(axes, scores, setting, places)
    if gathered is not None:
        _draw_pairs(axes, gathered, places, scores)
        _draw_means(axes, gathered, places, scores)
    groups = [] if evidence.planned.matched(setting) else _draw_groups(axes, scores, setting, places)
    _clip(axes, scores)
    diverged = _draw_diverged(axes, scores, setting, places)
    axes.set_xlabel(label(setting_name(setting), 50))
    axes.set_ylabel(f"{metric_name(scores.objective)}{unit(scores.objective)}")
    axes.set_title(label(f"{sentence(metric_name(scores.objective))} by {setting_name(setting)}", 56))
    handles, labels = _legend(gathered, diverged, bool(groups))
    figure.legend(handles, labels, loc="outside lower center", ncols=2 if len(labels) > 3 else 3)
    return Picture(
        f"setting-{position + 1}",
        sentence(setting_name(setting)),
        _alt(scores, setting, levels, gathered, diverged),
        _caption(gathered, is_numeric(levels) and len(levels) >= FEWEST_FOR_THIRDS),
        figure,
    )


def _gathered(scores: Scores, setting: str) -> Block | None:
    if not scores.matched(setting):
        return None
    levels = living_levels(scores, setting)
    return block(scores, setting, levels) if len(levels) > 1 else None


def _places(axes: "Axes", setting: str, levels: list[Any]) -> dict[str, float]:
    """Sets the horizontal axis up, and returns where each level stands on it."""
    if is_numeric(levels) and len(levels) > 2:
        numbers = [float(level) for level in levels]
        if is_log_spaced(numbers):
            axes.set_xscale("log")
            room = (numbers[-1] / numbers[0]) ** 0.08
            axes.set_xlim(numbers[0] / room, numbers[-1] * room)
            gaps = np.diff(np.log(numbers)) / math.log(numbers[-1] / numbers[0])
        else:
            room = 0.08 * (numbers[-1] - numbers[0])
            axes.set_xlim(numbers[0] - room, numbers[-1] + room)
            gaps = np.diff(numbers) / (numbers[-1] - numbers[0])
        longest = max(len(number(one)) for one in numbers)
        if len(numbers) <= MOST_TICKS and gaps.min() > 0.02 + 0.015 * longest:
            number_ticks(axes.xaxis, numbers)
        elif axes.get_xscale() == "log":
            plain_logarithms(axes.xaxis, lambda content: number(content, 2))
        return {key(level): float(level) for level in levels}
    axes.set_xlim(-0.6, len(levels) - 0.4)
    axes.set_xticks(range(len(levels)), [wrapped(value(level), max(6, 48 // len(levels)), 2) for level in levels])
    axes.grid(False, axis="x")
    if len(levels) > 8:
        axes.tick_params(axis="x", rotation=90)
    return {key(level): float(index) for index, level in enumerate(levels)}


def _shift(axes: "Axes", place: float, share: float) -> float:
    """Moves a place sideways by a share of the axis."""
    low, high = axes.get_xlim()
    if axes.get_xscale() == "log":
        return float(place * (high / low) ** share)
    return float(place + (high - low) * share)


def _clip(axes: "Axes", scores: Scores) -> None:
    """Cuts at the frame what few repeats leave very wide, so that the trials can be told apart."""
    values = scores.values[np.isfinite(scores.values)] * scale(scores.objective)
    room = 0.5 * (values.max() - values.min()) or abs(values.max()) * 0.05 or 1.0
    low, high = axes.get_ylim()
    low, high = max(low, values.min() - room), min(high, values.max() + room)
    if is_share(scores.objective):
        # What an interval says beyond all and none says nothing.
        low, high = max(low, -BEYOND), min(high, 100 + BEYOND)
    axes.set_ylim(low, high)


def _draw_trials(axes: "Axes", scores: Scores, setting: str, places: dict[str, float]) -> None:
    crowd = 0.02 if len(places) <= MOST_TICKS else 0.0
    spread = np.linspace(-crowd, crowd, len(scores.seeds)) if len(scores.seeds) > 1 else np.zeros(1)
    points = [
        (
            _shift(axes, places[key(own.get(setting))], spread[seed]),
            scores.values[index, seed] * scale(scores.objective),
        )
        for index, own in enumerate(scores.settings)
        for seed in range(len(scores.seeds))
        if math.isfinite(scores.values[index, seed])
    ]
    x, y = zip(*points, strict=True)
    axes.scatter(
        x, y, s=16, facecolors="none", edgecolors=GREY, linewidths=0.8, alpha=0.75, zorder=2, rasterized=len(x) > 600
    )


def _draw_pairs(axes: "Axes", gathered: Block, places: dict[str, float], scores: Scores) -> None:
    if not 1 < gathered.cells <= 40:
        return
    x = [places[key(level)] for level in gathered.levels]
    for cell in gathered.values.mean(axis=2) * scale(scores.objective):
        axes.plot(x, cell, color=PALE, linewidth=0.9, zorder=1)


def _draw_means(axes: "Axes", gathered: Block, places: dict[str, float], scores: Scores) -> None:
    from scipy import special

    by_seed = gathered.by_seed() * scale(scores.objective)
    x = [places[key(level)] for level in gathered.levels]
    errors = within_errors(by_seed, scores.overlap)
    half = errors * special.stdtrit(max(1, len(by_seed) - 1), 0.975)
    axes.errorbar(
        x,
        by_seed.mean(axis=0),
        yerr=half if np.isfinite(half).all() else None,
        color=BLUE,
        marker="D",
        markersize=6,
        linewidth=1.8,
        capsize=5,
        capthick=1.4,
        zorder=4,
    )


def _draw_groups(axes: "Axes", scores: Scores, setting: str, places: dict[str, float]) -> list[int]:
    """Draws means over independent configurations: of each third of a number's many values, or of each value."""
    means = scores.means * scale(scores.objective)
    known = np.flatnonzero(np.isfinite(means))
    x = np.asarray([places[key(scores.settings[index].get(setting))] for index in known])
    levels = scores.levels(setting)
    numeric = is_numeric(levels) and len(levels) >= FEWEST_FOR_THIRDS
    parts = np.array_split(np.argsort(x, kind="stable"), 3) if numeric else [np.flatnonzero(x == own) for own in set(x)]
    shown = [part for part in parts if len(part)]
    for part in shown:
        low, high = interval(list(means[known[part]]))
        mean = float(means[known[part]].mean())
        left, right = float(x[part].min()), float(x[part].max())
        left, right = (left, right) if right > left else (_shift(axes, left, -0.08), _shift(axes, right, 0.08))
        if math.isfinite(low):
            axes.fill_between([left, right], low, high, color=BLUE, alpha=0.18, linewidth=0, zorder=1)
        axes.plot([left, right], [mean, mean], color=BLUE, linewidth=2.0, zorder=4)
    return [len(part) for part in shown]


def _draw_diverged(axes: "Axes", scores: Scores, setting: str, places: dict[str, float]) -> int:
    counts = [(level, lost, ended) for level, lost, ended in count_by_level(scores, setting) if lost]
    if not counts:
        return 0
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.13 * (high - low), high)
    floor = low - 0.03 * (high - low)
    for level, lost, ended in counts:
        axes.plot(places[key(level)], floor, "X", color=VERMILION, markersize=8, zorder=5)
        if len(counts) <= 8:
            axes.annotate(
                f"{lost} of {ended}",
                (places[key(level)], floor),
                xytext=(0, -6),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=7.5,
            )
    return sum(lost for _, lost, _ in counts)


def _legend(gathered: Block | None, diverged: int, groups: bool) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", color=GREY, markerfacecolor="none", linewidth=0, markersize=4.5)]
    labels = ["one trial"]
    if gathered is not None:
        handles.append(Line2D([], [], marker="D", color=BLUE, linewidth=1.8))
        labels.append("paired mean, 95 % interval" if len(gathered.seeds) > 1 else "paired mean")
        if 1 < gathered.cells <= 40:
            handles.append(Line2D([], [], color=PALE, linewidth=1.2))
            labels.append("all else equal")
    if groups:
        handles.append(Line2D([], [], color=BLUE, linewidth=2.0))
        labels.append("mean, 95 % interval")
    if diverged:
        handles.append(Line2D([], [], marker="X", color=VERMILION, linewidth=0, markersize=8))
        labels.append("diverged")
    return handles, labels


def _alt(scores: Scores, setting: str, levels: list[Any], gathered: Block | None, diverged: int) -> str:
    name, metric = setting_name(setting), metric_name(scores.objective)
    lost = f" {plural(diverged, 'trial')} diverged." if diverged else ""
    if gathered is None or len(gathered.levels) > MOST_TICKS:
        return f"{sentence(metric)} of every trial against {name}, {value(levels[0])} to {value(levels[-1])}.{lost}"
    means = gathered.by_seed().mean(axis=0)
    parts = [
        f"{score(scores.objective, mean)} at {value(level)}" for level, mean in zip(gathered.levels, means, strict=True)
    ]
    return f"Mean {metric} by {name}: {', '.join(parts)}.{lost}"


def _caption(gathered: Block | None, thirds: bool) -> str:
    if gathered is None:
        what = "each third of the configurations" if thirds else "each value"
        return (
            "Each circle is a trial. The configurations have no partners that differ in this setting only, so lines "
            f"are plain means over {what}, with 95 % intervals over configurations (cut at the frame where very wide)."
        )
    basis = f"over {plural(gathered.cells, 'matched combination')} of the other settings" if gathered.cells > 1 else ""
    if len(gathered.seeds) < 2:
        return f"Diamonds are means {basis}. One repeat: no spread known.".replace("  ", " ")
    return (
        f"Diamonds are means {basis} with 95 % intervals over {plural(len(gathered.seeds), 'seed')}, without what a "
        "seed does to all levels alike (Cousineau and Morey)."
    ).replace("  ", " ")
