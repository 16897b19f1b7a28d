"""The best configurations with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, GREY, new_figure
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label, wrapped
from kerasdl.report.words import metric_name, plural, scale, score, sentence, setting_name, unit, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST = 20
LONGEST_NAME = 58


def draw_ranking(evidence: Evidence) -> Picture | None:
    """Draws the mean, the 95 % interval and the repeats of the best configurations, the winner on top.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where fewer than two configurations have a completed trial.
    """
    scores, place = evidence.scores, evidence.standing
    table = evidence.table[evidence.table["completed"] > 0].head(MOST)
    if place is None or len(table) < 2:
        return None
    factor, name = scale(scores.objective), scores.objective
    figure = new_figure(8.4, 1.15 + 0.27 * len(table))
    axes = figure.subplots()
    together = {place.winner, *place.tied}
    indices = np.asarray([scores.configurations.index(number) for number in table["configuration"]])
    held = np.isin(indices, list(together))
    values = scores.values[indices] * factor
    means, low, high = (table[column].to_numpy(dtype="float64") * factor for column in ("mean", "low", "high"))
    for rows, colour, face in ((np.flatnonzero(held), BLUE, BLUE), (np.flatnonzero(~held), GREY, "white")):
        repeats = np.isfinite(values[rows])
        places = np.broadcast_to(rows[:, None], repeats.shape)[repeats]
        axes.plot(values[rows][repeats], places, "|", color=colour, markersize=9, markeredgewidth=1.0, zorder=2)
        known = rows[np.isfinite(low[rows])]
        axes.hlines(known, low[known], high[known], color=colour, linewidth=1.6, zorder=3, capstyle="projecting")
        axes.plot(means[rows], rows, "o", color=colour, markerfacecolor=face, markersize=6, zorder=4)
    limits = [*values[np.isfinite(values)], *means]
    names, title = _names(evidence, table["configuration"].tolist())
    axes.set_yticks(range(len(table)), names)
    axes.set_ylabel(wrapped(title, max(16, 4 * len(table)), 4))
    axes.set_ylim(len(table) - 0.4, -0.6)
    _clip(axes, limits)
    axes.set_xlabel(f"{metric_name(name)}{unit(name)}")
    axes.set_title("Ranking")
    axes.grid(False, axis="y")
    several = evidence.winner_repeats > 1
    sure = "cannot be told from the winner" if several else "one repeat: nothing is told apart"
    figure.legend(*_legend(sure, several), loc="outside lower right", ncols=3)
    first, last = table.iloc[0], table.iloc[-1]
    return Picture(
        "ranking",
        "Ranking",
        f"The {plural(len(table), 'best configuration')} by {metric_name(name)}, from "
        f"{scores.describe(place.winner)} with {score(name, first['mean'])} down to "
        f"{scores.describe(scores.configurations.index(last['configuration']))} with {score(name, last['mean'])}.",
        "Circles are means, lines their 95 % intervals over repeats (cut at the frame where they are very wide), ticks "
        "the repeats. Filled: cannot be told from the winner by paired comparison, which is finer than "
        "comparing intervals.",
        figure,
    )


def _names(evidence: Evidence, numbers: list[int]) -> tuple[list[str], str]:
    """Returns what to call each row, and the axis: where full descriptions are too long, values under one heading."""
    scores = evidence.scores
    rows = [scores.configurations.index(number) for number in numbers]
    full = [sentence(scores.describe(row)) for row in rows]
    if max(len(name) for name in full) <= LONGEST_NAME:
        return [label(name, LONGEST_NAME) for name in full], ""
    short = [" · ".join(label(value(scores.settings[row].get(name)), 16) for name in scores.varying) for row in rows]
    heading = " · ".join(setting_name(name) for name in scores.varying)
    return [label(name, LONGEST_NAME) for name in short], heading


def _clip(axes: "Axes", limits: list[float]) -> None:
    low, high = min(limits), max(limits)
    room = 0.12 * (high - low) or abs(high) * 0.05 or 1.0
    axes.set_xlim(low - room, high + room)


def _legend(sure: str, both: bool) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", color=BLUE, linewidth=1.6 if both else 0)]
    labels = [sure]
    if both:
        handles.append(Line2D([], [], marker="o", color=GREY, markerfacecolor="white", linewidth=1.6))
        labels.append("ruled out, or diverged with some seed")
    handles.append(Line2D([], [], marker="|", color=GREY, linewidth=0, markersize=9))
    labels.append("one repeat")
    return handles, labels
