"""Every configuration as a line through all its settings, for searches that form no grid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import GREY, VERMILION, new_figure
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, is_log_spaced, wrapped
from kerasdl.report.scores import Scores, is_numeric, key
from kerasdl.report.words import metric_name, number, plural, scale, setting_name, unit, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_SETTINGS = 8


@dataclass(frozen=True)
class _Scale:
    """One upright axis.

    Attributes:
        title: What stands above it.
        places: Where each configuration crosses it, from 0 (below) to 1; NaN where it has no such setting.
        ticks: Places with their texts.
    """

    title: str
    places: np.ndarray
    ticks: list[tuple[float, str]]


def draw_parallel(evidence: Evidence) -> Picture | None:
    """Draws a line for each configuration through the values of its settings to its mean score (parallel coordinates).

    A. Inselberg, The plane with parallel coordinates, The Visual Computer 1, 1985.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where fewer than two settings vary, or all of them on a grid, whose figures say more.
    """
    scores = evidence.scores
    names = scores.varying[:MOST_SETTINGS]
    means = scores.means
    if len(names) < 2 or all(scores.matched(name) for name in names) or np.isfinite(means).sum() < 2:
        return None
    axes_of = [_of_setting(scores, name) for name in names]
    shown = means * scale(scores.objective)
    objective = f"{metric_name(scores.objective)}{unit(scores.objective)}"
    scales = [*axes_of, _numeric(objective, [float(one) for one in shown], logarithmic=False)]
    figure = new_figure(1.2 + 1.35 * len(scales), 3.6)
    axes = figure.subplots()
    lost = _draw(axes, scales, scores)
    best = evidence.winner
    ending = "" if best is None else f" The best is {scores.describe(best)}."
    dotted = f" Dotted, grey: {plural(lost, 'configuration')} of which no trial completed." if lost else ""
    return Picture(
        "parallel",
        "All settings at once",
        f"{plural(len(means), 'configuration')} as lines through their settings: "
        f"{', '.join(setting_name(name) for name in names)}.{ending}",
        f"Each line is a configuration; bright lines score well, and the thick one does best.{dotted}",
        figure,
    )


def _of_setting(scores: Scores, name: str) -> _Scale:
    levels = scores.levels(name)
    own = [settings.get(name) for settings in scores.settings]
    title = wrapped(setting_name(name), 16, 2)
    if is_numeric(levels):
        return _numeric(title, [np.nan if one is None else float(one) for one in own], is_log_spaced(levels))
    order = {key(level): place / max(1, len(levels) - 1) for place, level in enumerate(levels)}
    places = np.array([order.get(key(one), np.nan) for one in own])
    return _Scale(title, places, [(order[key(level)], wrapped(value(level), 12, 2)) for level in levels])


def _numeric(title: str, values: list[float], logarithmic: bool) -> _Scale:
    raw = np.array(values, dtype=float)
    placed = np.log(raw) if logarithmic else raw
    low, high = np.nanmin(placed), np.nanmax(placed)
    places = (placed - low) / ((high - low) or 1.0)
    marks = np.linspace(low, high, 5 if high > low else 1)
    numbers = np.exp(marks) if logarithmic else marks
    if all(float(value).is_integer() for value in values):
        numbers = np.unique(np.round(numbers))
        marks = np.log(numbers) if logarithmic else numbers
    ticks = [
        ((mark - low) / ((high - low) or 1.0), number(float(one), 3)) for mark, one in zip(marks, numbers, strict=True)
    ]
    return _Scale(title, places, ticks)


def _draw(axes: "Axes", scales: list[_Scale], scores: Scores) -> int:
    """Draws axes and lines; returns how many configurations have no score."""
    from matplotlib import colormaps

    x = np.arange(len(scales))
    table = np.stack([one.places for one in scales], axis=1)
    quality = table[:, -1] if scores.direction == "max" else 1 - table[:, -1]
    # Worse first, so that the best lies on top.
    order = np.argsort(np.where(np.isfinite(quality), quality, -1.0))
    last = order[-1]
    colours = colormaps["cividis"]
    for index in order:
        style: dict[str, Any] = {"color": GREY, "linewidth": 0.8, "linestyle": ":"}
        if np.isfinite(quality[index]):
            style = {"color": colours(quality[index]), "linewidth": 1.3}
        if index == last:
            style = {"color": VERMILION, "linewidth": 2.6}
        known = np.isfinite(table[index])
        axes.plot(x[known], table[index][known], marker="o", markersize=3.5, **style)
    for place, one in enumerate(scales):
        axes.axvline(place, color="#4b5563", linewidth=0.9, zorder=0)
        for height, text in one.ticks:
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
            axes.text(place + 0.04, height, text, fontsize=7.5, va="center", bbox=box)
    axes.set_xticks(x, [one.title for one in scales])
    axes.tick_params(length=0, pad=8)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlim(-0.1, len(scales) - 0.6)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return int((~np.isfinite(quality)).sum())
