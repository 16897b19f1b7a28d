"""Gradients through the layers and over the epochs: where they vanish or explode."""

from typing import TYPE_CHECKING

import numpy as np

from kerasdl.drawing import LINES, new_figure, plain_logarithms
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label, wrapped
from kerasdl.report.gradients import Course, by_epoch, courses
from kerasdl.report.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_gradients(evidence: Evidence) -> Picture | None:
    """Draws the gradient's norm by layer in the first epoch and in the last, a line a configuration.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where gradients were not watched, or in one layer only.
    """
    first = [course for course in courses(evidence, 1) if len(course.layers) > 1]
    if not first:
        return None
    last = {course.index: course for course in courses(evidence, -1)}
    chosen = _chosen(first)
    long = any(last[course.index].epoch > 1 for course in chosen if course.index in last)
    panels = 2 if long else 1
    figure = new_figure(4.3 * panels + 0.6, 3.2 + 0.19 * len(chosen))
    row = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for course, style in zip(chosen, LINES, strict=False):
        _draw(row[0], course, style, evidence.scores.describe(course.index))
    row[0].set_title("first epoch")
    if long:
        for course, style in zip(chosen, LINES, strict=False):
            if course.index in last:
                _draw(row[1], last[course.index], style, "")
        row[1].set_title("last epoch")
    for axes in row:
        axes.set_yscale("log")
        plain_logarithms(axes.yaxis)
        axes.set_xlabel("layer, from inputs to outputs")
        axes.xaxis.get_major_locator().set_params(integer=True)
    row[0].set_ylabel("2-norm of the kernel's gradient")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=1)
    some = f"{len(chosen)} of {plural(len(first), 'configuration')}" if len(chosen) < len(first) else "all"
    return Picture(
        "gradients",
        "Gradients by layer",
        f"The norm of each layer's gradient from inputs to outputs, of {plural(len(chosen), 'configuration')}: "
        f"{'; '.join(evidence.scores.describe(course.index) for course in chosen)}.",
        f"Medians over an epoch's steps and over seeds, bands from the smallest seed to the largest; {some} of the "
        f"ranking, from the best down. A line ends where a gradient is exactly zero or no number.",
        figure,
    )


def draw_gradient_epochs(evidence: Evidence) -> Picture | None:
    """Draws the gradient's norm of some layers by epoch, a panel for each of the most different configurations.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where gradients were watched in one epoch or one layer only.
    """
    chosen = _most_different([course for course in courses(evidence, 1) if len(course.layers) > 1])
    shown = [_some_layers(course) for course in chosen]
    found = [by_epoch(evidence, course, list(layers.values())) for course, layers in zip(chosen, shown, strict=True)]
    if not found or max(len(values) for own in found for values in own.values()) < 2:
        return None
    figure = new_figure(max(5.0, 2.7 * len(chosen) + 0.6), 3.4)
    row = figure.subplots(1, len(chosen), sharey=True, squeeze=False)[0]
    for axes, course, layers, own in zip(row, chosen, shown, found, strict=True):
        for (share, layer), (colour, marker) in zip(layers.items(), LINES, strict=False):
            values = np.where(own[layer] > 0, own[layer], np.nan)
            name = f"{100 * share:.0f}\u00a0% of the way"
            every = max(1, len(values) // 10)
            x = np.arange(1, len(values) + 1)
            axes.plot(x, values, color=colour, marker=marker, markevery=every, markersize=4, linewidth=1.4, label=name)
        axes.set_title(wrapped(evidence.scores.describe(course.index), 30), fontsize=8.5)
        axes.set_yscale("log")
        plain_logarithms(axes.yaxis)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    row[0].set_ylabel("2-norm of the kernel's gradient")
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_PLACES))
    return Picture(
        "gradient-epochs",
        "Gradients by epoch",
        f"The norm of the gradient of layers from the first, 0 %, to the last, 100 % of the way, by epoch, with "
        f"{'; '.join(evidence.scores.describe(course.index) for course in chosen)}.",
        "Medians over an epoch's steps and over seeds. The best of the ranking, and those where least and most of the "
        "last layer's gradient reaches the first and where it keeps its size best. A line ends where a gradient is "
        "exactly zero or no number.",
        figure,
    )


# Where on the way from the first layer to the last those are whose gradients are drawn by epoch.
_PLACES = (0.0, 0.3, 0.6, 0.9, 0.95, 1.0)


def _some_layers(course: Course) -> dict[float, str]:
    """Returns layers by their place on the way, each once."""
    last = len(course.layers) - 1
    found = {course.layers[round(place * last)]: place for place in reversed(_PLACES)}
    return {place: layer for layer, place in reversed(found.items())}


def _most_different(found: list[Course]) -> list[Course]:
    """Returns the best, and of those with gradients at both ends the extremes and the one that keeps their size."""
    logs = {}
    for place, course in enumerate(found):
        known = course.shares[np.isfinite(course.shares) & (course.shares > 0)]
        if len(known):
            logs[place] = float(np.median(np.log(known)))
    if not logs:
        return []
    steady = min(logs, key=lambda place: abs(logs[place]))
    places = {min(logs), min(logs, key=lambda place: logs[place]), steady, max(logs, key=lambda place: logs[place])}
    return [found[place] for place in sorted(places)]


def _chosen(found: list[Course]) -> list[Course]:
    """Returns at most seven, evenly spaced over the ranking, the best and the last among them."""
    if len(found) <= len(LINES):
        return found
    places = np.linspace(0, len(found) - 1, len(LINES)).round().astype(int)
    return [found[place] for place in places]


def _draw(axes: "Axes", course: Course, style: tuple[str, str], name: str) -> None:
    colour, marker = style
    x = np.arange(1, len(course.layers) + 1)
    norms = np.where(np.isfinite(course.norms) & (course.norms > 0), course.norms, np.nan)
    known = np.isfinite(norms).any(axis=1)
    middle, low, high = (np.full(len(x), np.nan) for _ in range(3))
    middle[known] = np.nanmedian(norms[known], axis=1)
    low[known], high[known] = np.nanmin(norms[known], axis=1), np.nanmax(norms[known], axis=1)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    # A few layers between zeros have no line to be seen by.
    every = max(1, len(x) // 10) if known.sum() > 10 else 1
    lacking = "" if known.all() else f" ({len(x) - known.sum()} of {len(x)} layers without a gradient)"
    name = f"{label(name, 90)}{lacking}"
    axes.plot(x, middle, color=colour, marker=marker, markevery=every, markersize=4, linewidth=1.4, label=name)
