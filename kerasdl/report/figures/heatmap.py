"""The mean score over two settings at once."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import new_figure
from kerasdl.report.comparisons import influence
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label, strip_grid, wrapped
from kerasdl.report.scores import Scores, key
from kerasdl.report.words import metric_name, number, scale, score, setting_name, unit, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LEVELS = 16


def draw_heatmap(evidence: Evidence) -> Picture | None:
    """Draws the mean score of each combination of the two settings that move it most.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where fewer than two settings vary together on a grid.
    """
    scores = evidence.planned
    names = [
        name for name in influence(scores) if 1 < len(scores.levels(name)) <= MOST_LEVELS and scores.matched(name)
    ][:2]
    if len(names) < 2:
        return None
    down, across = sorted(names, key=lambda name: len(scores.levels(name)))
    means, lost = _cells(scores, down, across)
    if np.isfinite(means).sum() < 2:
        return None
    others = [setting_name(name) for name in scores.varying if name not in names]
    figure = new_figure(2.4 + 0.78 * means.shape[1], 1.7 + 0.56 * means.shape[0])
    figure.set_figwidth(max(5.2, figure.get_figwidth()))
    axes = figure.subplots()
    _draw(axes, scores, means, lost)
    for axis, name in ((axes.xaxis, across), (axes.yaxis, down)):
        axis.set_ticks(range(len(scores.levels(name))), [wrapped(value(level), 12, 2) for level in scores.levels(name)])
    axes.set_xlabel(label(setting_name(across)))
    axes.set_ylabel(label(setting_name(down)))
    axes.set_title(label(f"{setting_name(down)} × {setting_name(across)}"))
    where = np.unravel_index(int(np.nanargmax(means * scores.sign)), means.shape)
    best = (
        f"{setting_name(down)} {value(scores.levels(down)[where[0]])}, "
        f"{setting_name(across)} {value(scores.levels(across)[where[1]])}"
    )
    averaged = f" The two settings that move the score most; averaged over {', '.join(others)}." if others else ""
    hatch = " Hatched: some trial diverged or failed; the mean is of those that completed." if lost.any() else ""
    return Picture(
        "heatmap",
        f"{setting_name(down).capitalize()} and {setting_name(across)} together",
        f"Mean {metric_name(scores.objective)} for each {setting_name(down)} and {setting_name(across)}: best with "
        f"{score(scores.objective, float(means[where]))} at {best}; "
        f"worst {score(scores.objective, float(np.nanmin(means * scores.sign) * scores.sign))}.",
        f"Mean {metric_name(scores.objective)}{unit(scores.objective)} over repeats.{averaged}{hatch}",
        figure,
    )


def _cells(scores: Scores, down: str, across: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean score of each cell (NaN without one), and whether some trial in it was lost."""
    rows = [key(level) for level in scores.levels(down)]
    columns = [key(level) for level in scores.levels(across)]
    gathered: dict[tuple[int, int], list[float]] = {}
    lost = np.zeros((len(rows), len(columns)), dtype=bool)
    configuration_means = scores.means
    for index, own in enumerate(scores.settings):
        place = rows.index(key(own.get(down))), columns.index(key(own.get(across)))
        gathered.setdefault(place, []).append(float(configuration_means[index]))
        lost[place] |= bool({"diverged", "failed"} & set(scores.status[index]))
    means = np.full(lost.shape, np.nan)
    for place, values in gathered.items():
        known = [item for item in values if math.isfinite(item)]
        if known:
            means[place] = float(np.mean(known))
    return means, lost


def _draw(axes: "Axes", scores: Scores, means: np.ndarray, lost: np.ndarray) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shown = means * scale(scores.objective)
    colours = colormaps["cividis" if scores.direction == "max" else "cividis_r"]
    image = axes.imshow(shown, cmap=colours, aspect="auto", interpolation="none")
    strip_grid(axes)
    low, high = image.get_clim()
    digits = _digits(high - low) if scale(scores.objective) == 100 else None
    for (row, column), content in np.ndenumerate(shown):
        if lost[row, column]:
            edge = "#ffffff" if math.isfinite(content) else "#6b7280"
            axes.add_patch(
                Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor=edge, linewidth=0)
            )
        text = _text(content, digits, bool(lost[row, column]))
        behind = colours((content - low) / (high - low or 1.0)) if math.isfinite(content) else (1.0, 1.0, 1.0, 1.0)
        _write(axes, column, row, text, behind)


def _write(axes: "Axes", x: int, y: int, text: str, behind: Any) -> None:
    box = {"boxstyle": "round,pad=0.2", "facecolor": behind, "linewidth": 0}
    colour = "white" if _luminance(behind) < 0.5 else "black"
    axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=colour, bbox=box)


def _text(content: float, digits: int | None, lost: bool) -> str:
    if not math.isfinite(content):
        return "none\ncompleted" if lost else "not run"
    return number(content) if digits is None else f"{content:.{digits}f}"


def _digits(spread: float) -> int:
    return 1 if spread > 2 else 2


def _luminance(colour: tuple[float, float, float, float]) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
