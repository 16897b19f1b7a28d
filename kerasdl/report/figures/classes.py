"""What the winner confuses, and how well it knows each class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import BLUE, VERMILION, new_figure
from kerasdl.report.classes import ClassAccuracy, display_order
from kerasdl.report.evidence import Evidence
from kerasdl.report.figures.style import Picture, label, strip_grid
from kerasdl.report.words import plural, score

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NUMBERS = 12
MOST_NAMES = 60
MOST_BARS = 60


def draw_confusion(evidence: Evidence) -> Picture | None:
    """Draws the winner's confusion matrix, each row as shares of its true class.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where test rows were not counted by class.
    """
    from matplotlib.colors import PowerNorm

    matrix = evidence.confusion
    if matrix is None:
        return None
    names = [label(str(name), 18) for name in evidence.run.data["classes"]]
    order = display_order(matrix)
    rates = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shown = rates[np.ix_(order, order)]
    classes = len(order)
    side = 4.2 if classes <= 4 else 6.0 if classes <= MOST_NUMBERS else min(10.0, 3.0 + 0.165 * classes)
    figure = new_figure(side + (1.0 if classes > MOST_NUMBERS else 0.2), side + 0.2)
    axes = figure.subplots()
    # The square root lets the few per cent off the diagonal be seen.
    image = axes.imshow(shown, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="none")
    strip_grid(axes)
    if classes <= MOST_NUMBERS:
        _write_cells(axes, shown, matrix[np.ix_(order, order)] / max(1, evidence.winner_repeats))
    _name_axes(axes, [names[index] for index in order])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_title(f"Confusion matrix, test {evidence.counted}")
    if classes > MOST_NUMBERS:
        bar = figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, ticks=[0, 1, 5, 10, 25, 50, 75, 100])
        bar.set_label("share of the true class (%)")
        bar.outline.set_visible(False)
    accuracy = float(np.trace(matrix) / matrix.sum())
    how = (
        f"Percentages of each true class, with {evidence.counted} per repeat below."
        if classes <= MOST_NUMBERS
        else "Classes are ordered so that those that are confused stand together; numbers are in the tables."
    )
    return Picture(
        "confusion",
        "Confusion matrix",
        f"Confusion matrix of {classes} classes on test {evidence.counted}: {score('accuracy', accuracy)} lie "
        "on the diagonal. The most confused pairs are in the table beside it.",
        f"Each row is one true class and sums to 100 %, over {plural(evidence.winner_repeats, 'repeat')}. {how}",
        figure,
    )


def _name_axes(axes: "Axes", names: list[str]) -> None:
    if len(names) > MOST_NAMES:
        axes.set_xticks([])
        axes.set_yticks([])
        return
    size = 8.0 if len(names) <= MOST_NUMBERS else 6.8
    upright = len(names) > MOST_NUMBERS or len(names) * max(len(name) for name in names) > 60
    axes.set_xticks(range(len(names)), names, rotation=90 if upright else 0, fontsize=size)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    if len(names) > MOST_NUMBERS:
        axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
        axes.grid(True, which="minor", color="#eef0f3", linewidth=0.4)
        axes.tick_params(which="minor", length=0)


def _write_cells(axes: "Axes", rates: np.ndarray, rows: np.ndarray) -> None:
    small = len(rates) > 6
    for (row, column), rate in np.ndenumerate(rates):
        if rows[row, column] == 0:
            continue
        axes.text(
            column,
            row,
            f"{rate:.1f}\n{rows[row, column]:,.0f}" if rows[row, column] >= 0.5 else f"{rate:.1f}",
            ha="center",
            va="center",
            fontsize=6.3 if small else 9,
            color="white" if rate > 36 else "black",
        )


def draw_class_accuracies(evidence: Evidence) -> Picture | None:
    """Draws the winner's accuracy on each class with its interval, the worst on top.

    Args:
        evidence: The run.

    Returns:
        The picture; `None` where test rows were not counted by class.
    """
    entries = evidence.class_accuracies
    if not entries or evidence.confusion is None:
        return None
    average = 100 * float(np.trace(evidence.confusion) / evidence.confusion.sum())
    shown = entries[:MOST_BARS]
    figure = new_figure(6.4, 1.25 + 0.19 * max(4, len(shown)))
    axes = figure.subplots()
    _draw_intervals(axes, shown)
    axes.axvline(average, color="#111827", linestyle=":", linewidth=1.2, zorder=1)
    axes.set_yticks(range(len(shown)), [label(entry.name, 24) for entry in shown], fontsize=7.5)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.set_xlabel("test accuracy (%)")
    axes.set_title("Accuracy of each class")
    figure.legend(*_legend(any(entry.below for entry in shown)), loc="outside lower right", ncols=3)
    left_out = f" The worst {len(shown)} of {len(entries)} classes." if len(entries) > len(shown) else ""
    worst, best = entries[0], entries[-1]
    return Picture(
        "classes",
        "Accuracy of each class",
        f"Test accuracy of {len(shown)} classes, from {worst.name} with {score('accuracy', worst.accuracy)} to "
        f"{best.name} with {score('accuracy', best.accuracy)}; over all rows {average:.2f} %.",
        f"Lines are 95 % Wilson intervals for the rows of one repeat: repeats see the same test rows.{left_out}",
        figure,
    )


def _draw_intervals(axes: "Axes", entries: Sequence[ClassAccuracy]) -> None:
    for below, colour, marker, face in ((False, BLUE, "o", "white"), (True, VERMILION, "v", VERMILION)):
        rows = [row for row, entry in enumerate(entries) if entry.below == below]
        own = [entries[row] for row in rows]
        lines = axes.hlines(rows, [100 * entry.low for entry in own], [100 * entry.high for entry in own], color=colour)
        lines.set(linewidth=1.4, zorder=2, capstyle="projecting")
        means = [100 * entry.accuracy for entry in own]
        axes.plot(means, rows, marker, color=colour, markerfacecolor=face, markersize=5, zorder=3)


def _legend(below: bool) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], marker="o", color=BLUE, markerfacecolor="white", markersize=5, linewidth=1.4)]
    labels = ["95 % interval"]
    if below:
        handles.append(Line2D([], [], marker="v", color=VERMILION, markersize=5, linewidth=1.4))
        labels.append("surely below")
    handles.append(Line2D([], [], color="#111827", linestyle=":", linewidth=1.2))
    labels.append("all rows")
    return handles, labels
