"""Epochs as rows of a table: what many steps come to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

STATISTICS = ("mean", "median", "p05", "p95", "maximum")
_SHARES = np.array([0.5, 0.05, 0.95, 1])


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
    quantiles = _quantiles(np.sort(columns, axis=-1).astype("float64"), steps)
    with np.errstate(invalid="ignore"):
        mean = np.where(finite, values, 0).sum(axis=0, dtype="float64") / np.where(steps, steps, np.nan)
    numbers = dict(zip(STATISTICS, (mean, *np.moveaxis(quantiles, -1, 0)), strict=True))
    return {**numbers, "steps": steps, "not_finite": len(values) - steps}


def _quantiles(ordered: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Returns `_SHARES` of the first `counts` values along the last axis, interpolated linearly; NaN of none."""
    if not ordered.shape[-1]:
        return np.full((*counts.shape, len(_SHARES)), np.nan)
    last = np.maximum(counts - 1, 0)[..., None]
    place = last * _SHARES
    below = np.floor(place).astype(int)
    low, high = (np.take_along_axis(ordered, which, axis=-1) for which in (below, np.minimum(below + 1, last)))
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
        self.extend({name: [value] for name, value in row.items()})

    def extend(self, rows: dict[str, list[Any]]) -> None:
        """Adds rows, given as their columns."""
        for name, values in self.columns.items():
            values += rows[name]

    def frame(self) -> "pd.DataFrame":
        """Returns all rows as a table of their own."""
        import pandas as pd

        return pd.DataFrame(self.columns)
