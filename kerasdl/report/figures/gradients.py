"""Gradients through the layers: where they vanish or explode."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import LINES, new_figure, plain_logarithms
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label
from kerasdl.report.gradients import Course, courses
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
    handles = [
        _draw(row[0], course, style, evidence.scores.describe(course.index))
        for course, style in zip(chosen, LINES, strict=False)
    ]
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
    figure.legend(handles=[line for line in handles if line is not None], loc="outside lower center", ncols=1)
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


def _chosen(found: list[Course]) -> list[Course]:
    """Returns at most seven, evenly spaced over the ranking, the best and the last among them."""
    if len(found) <= len(LINES):
        return found
    places = np.linspace(0, len(found) - 1, len(LINES)).round().astype(int)
    return [found[place] for place in places]


def _draw(axes: "Axes", course: Course, style: tuple[str, str], name: str) -> Any:
    colour, marker = style
    x = np.arange(1, len(course.layers) + 1)
    norms = np.where(np.isfinite(course.norms) & (course.norms > 0), course.norms, np.nan)
    known = np.isfinite(norms).any(axis=1)
    middle, low, high = (np.full(len(x), np.nan) for _ in range(3))
    middle[known] = np.nanmedian(norms[known], axis=1)
    low[known], high[known] = np.nanmin(norms[known], axis=1), np.nanmax(norms[known], axis=1)
    axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    spaced = max(1, len(x) // 10)
    (line,) = axes.plot(
        x, middle, color=colour, marker=marker, markevery=spaced, markersize=4, linewidth=1.4, label=label(name, 90)
    )
    return line
