"""Names the row that a person should pick, and says which others cannot be told from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kerasdl.export.benchmark.result import Cell, Row
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.statistics import CONFIDENCE, paired_ratio

# The layout of one process in memory alone moves its speed by about this much (T. Mytkowicz et al., Producing wrong
# data without doing anything obviously wrong!, 2009), which rounds in one process do not show.
LAYOUT = 0.02


@dataclass(frozen=True)
class Pick:
    """The row to choose for one purpose.

    Attributes:
        purpose: `"latency"`, `"throughput"` or `"size"`.
        row: The label of the row.
        at: What it was judged by, such as `"1 row at once"`.
        value: Seconds, rows a second, or bytes.
        alike: The labels of rows that their intervals do not tell from it.
        left_out: The labels of rows that were not considered, as their outputs are not those of the float32 file.
    """

    purpose: str
    row: str
    at: str
    value: float
    alike: tuple[str, ...]
    left_out: tuple[str, ...]


def choose(rows: Sequence[Row], settings: Settings) -> list[Pick]:
    """Chooses among the rows whose outputs agree with the float32 file's.

    Two rows are told apart by the ratio of what they took in the same rounds; the intervals of all comparisons with the
    best hold together at 95 % (Bonferroni). A difference below 2 % is never taken for one.

    Args:
        rows: What was measured.
        settings: Says which agreement is enough.

    Returns:
        A pick for latency at the smallest batch size, for throughput at whatever size is best for each row, and for
        file size; none where nothing was measured.
    """
    good = [row for row in rows if row.cells and (row.agreement is None or row.agreement.good(settings.agreement))]
    left_out = tuple(row.label for row in rows if row.cells and row not in good)
    if not good:
        return []
    smallest = min(size for row in good for size in row.cells)
    compared = [(row, row.cells[smallest]) for row in good if smallest in row.cells]
    row, cell, alike = _fastest(compared, _time)
    picks = [Pick("latency", row.label, f"{_rows(smallest)} at once", cell.median, alike, left_out)]
    best = [(row, max(row.cells.values(), key=lambda cell: cell.throughput.value)) for row in good]
    row, cell, alike = _fastest(best, _time_of_a_row)
    picks.append(
        Pick("throughput", row.label, f"{_rows(cell.batch_size)} at once", cell.throughput.value, alike, left_out)
    )
    least = min(row.candidate.source.size for row in good)
    # The ways to call one file have one size: the quickest of them stands for it.
    quick = [(row, row.cells[min(row.cells)]) for row in good if row.candidate.source.size == least]
    row, cell, alike = _fastest(quick, _time)
    picks.append(Pick("size", row.label, f"the quickest way to call {row.file}", float(least), alike, left_out))
    return picks


def _rows(number: int) -> str:
    return f"{number} row{'' if number == 1 else 's'}"


def _time(cell: Cell) -> tuple[float, Sequence[float]]:
    """Returns the latency of a call, over all and in each round."""
    return cell.median, cell.medians


def _time_of_a_row(cell: Cell) -> tuple[float, Sequence[float]]:
    """Returns the time that each row takes, over all and in each round."""
    return 1 / cell.throughput.value, [1 / rate for rate in cell.rates]


def _fastest(
    rows: Sequence[tuple[Row, Cell]], cost: Callable[[Cell], tuple[float, Sequence[float]]]
) -> tuple[Row, Cell, tuple[str, ...]]:
    """Returns the row with the least cost, and the labels of those that the rounds do not tell from it."""
    ordered = sorted(rows, key=lambda pair: cost(pair[1])[0])
    (best, cell), others = ordered[0], ordered[1:]
    alike = []
    for row, other in others:
        confidence = 1 - (1 - CONFIDENCE) / len(others)
        if paired_ratio(cost(other)[1], cost(cell)[1], confidence).low <= 1 + LAYOUT:
            alike.append(row.label)
    return best, cell, tuple(alike)
