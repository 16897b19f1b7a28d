"""The figure of a benchmark: latency and throughput by batch size, each with its interval."""

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.drawing import LINES, RESOLUTION, new_figure, styled

if TYPE_CHECKING:
    from kerasdl.export.benchmark.result import Benchmark, Row

WIDTH = 10.0
PANEL = 4.2
LEGEND_LINE = 0.19

# Dashes tell rows apart where there are more than colours.
DASHES = ("-", "--", ":", "-.")


def draw(found: "Benchmark", path: Path) -> bool:
    """Draws a benchmark as PNG.

    Args:
        found: What was measured.
        path: The file, which is replaced.

    Returns:
        Whether there was anything to draw.
    """
    rows = [row for row in found.rows if row.cells]
    if not rows:
        return False
    rows.sort(key=lambda row: min(cell.median / cell.batch_size for cell in row.cells.values()))
    with styled():
        columns = 2 if len(rows) > 3 else 1
        lines = -(-len(rows) // columns)
        figure = new_figure(WIDTH, PANEL + LEGEND_LINE * lines + 0.4)
        left, right = figure.subplots(1, 2)
        styles = [(colour, marker, dash) for dash, (colour, marker) in product(DASHES, LINES)]
        for number, row in enumerate(rows):
            _lines(left, right, row, styles[number % len(styles)], number, len(rows))
        sizes = sorted({size for row in rows for size in row.cells})
        _axis(left, sizes, "Median latency of a call", "milliseconds")
        _axis(right, sizes, "Throughput, one call after another", "rows a second")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=3.2, fontsize=7.5)
        figure.suptitle(_title(found), x=0.01, ha="left", fontsize=8.0)
        figure.savefig(path, dpi=RESOLUTION)
    return True


def _lines(left: Any, right: Any, row: "Row", style: tuple[str, str, str], number: int, rows: int) -> None:
    colour, marker, dash = style
    sizes = np.array(sorted(row.cells), "float64")
    # Beside one another, so that no interval hides behind another's.
    places = sizes * 2 ** (0.3 * (number / max(rows - 1, 1) - 0.5))
    cells = [row.cells[int(size)] for size in sizes]
    medians = np.array([cell.median for cell in cells]) * 1e3
    lows = np.array([cell.percentiles[0].low or cell.median for cell in cells]) * 1e3
    highs = np.array([cell.percentiles[0].high or cell.median for cell in cells]) * 1e3
    look = {"color": colour, "marker": marker, "linestyle": dash, "markersize": 4, "linewidth": 1.1, "capsize": 2}
    spread = np.maximum([medians - lows, highs - medians], 0)
    left.errorbar(places, medians, spread, label=f"{row.label} ({row.precision})", **look)
    rates = np.array([cell.throughput.value for cell in cells])
    ends = [(cell.throughput.low, cell.throughput.high) for cell in cells]
    # A logarithmic axis has no place for an end below zero.
    below = [rate - max(low, rate / 100) for rate, (low, _) in zip(rates, ends, strict=True)]
    above = [high - rate if np.isfinite(high) else 0.0 for rate, (_, high) in zip(rates, ends, strict=True)]
    right.errorbar(places, rates, [below, above], **look)


def _axis(axes: Any, sizes: list[int], title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axes.set_xlabel("rows at once")
    axes.set_ylabel(unit)


def _title(found: "Benchmark") -> str:
    machine = found.machine
    load = "" if machine["load_at_start"] is None else f", load {machine['load_at_start']:.1f} at the start"
    devices = "".join(f", {name}" for name in machine["devices"])
    return f"{machine['processor']}, {machine['cores']} cores{devices}{load}; intervals are 95 %"
