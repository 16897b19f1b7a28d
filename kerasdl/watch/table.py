"""Epochs as rows of a table: what many steps come to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = ("mean", "median", "p05", "p95", "maximum")


def statistics(values: np.ndarray) -> dict[str, np.ndarray]:
    """Computes statistics over steps, of the values that are finite.

    Args:
        values: `(steps, ...)`; a diverging run has some that are NaN or infinite.

    Returns:
        Arrays of the shape `(...)`: `STATISTICS` in float64, NaN where no value is finite, percentiles interpolated
        linearly; `"steps"`, how many values those rest on; `"not_finite"`, how many were left out.
    """
    values = np.asarray(values)
    finite = np.isfinite(values)
    steps = finite.sum(axis=0)
    # NaN sorts last: the finite values of each column stand first, in order. Columns that lie in one piece sort faster.
    columns = np.ascontiguousarray(np.moveaxis(np.where(finite, values, np.nan), 0, -1))
    ordered = np.moveaxis(np.sort(columns, axis=-1), -1, 0).astype("float64")
    with np.errstate(invalid="ignore"):
        mean = np.where(finite, values, 0).sum(axis=0, dtype="float64") / np.where(steps, steps, np.nan)
    numbers = dict(
        zip(STATISTICS, (mean, *(_quantile(ordered, steps, share) for share in (0.5, 0.05, 0.95, 1))), strict=True)
    )
    return {**numbers, "steps": steps, "not_finite": len(values) - steps}


def _quantile(ordered: np.ndarray, counts: np.ndarray, share: float) -> np.ndarray:
    """Returns a quantile of the first `counts` values of each column, interpolated linearly; NaN of none."""
    if not len(ordered):
        return np.full(ordered.shape[1:], np.nan)
    place = np.maximum(counts - 1, 0) * share
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, np.maximum(counts - 1, 0))
    low, high = (np.take_along_axis(ordered, which[None], axis=0)[0] for which in (below, above))
    return np.asarray(low + (high - low) * (place - below))


class Table:
    """Rows that a callback gathers, by column.

    Args:
        columns: Their names.
    """

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns: dict[str, list[Any]] = {name: [] for name in columns}

    def add(self, row: dict[str, Any]) -> None:
        """Adds a row, with a value for each column."""
        for name, values in self.columns.items():
            values.append(row[name])

    def frame(self) -> "pd.DataFrame":
        """Returns all rows as a table of their own."""
        import pandas as pd

        return pd.DataFrame(self.columns)
