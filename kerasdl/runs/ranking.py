"""Ranks configurations by their repeats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def interval(scores: Sequence[float], confidence: float = 0.95, overlap: float = 0.0) -> tuple[float, float]:
    """Computes a confidence interval of the mean by Student's t.

    Args:
        scores: The values of the repeats.
        confidence: The coverage, between 0 and 1.
        overlap: Validation rows by training rows where repeats are folds, whose training rows are mostly the same (the
            corrected resampled t test, C. Nadeau and Y. Bengio, Machine Learning 52, 2003); 0 for independent repeats.

    Returns:
        Its ends: mean ± t(n - 1) · s · √(1 / n + overlap). Both are NaN for fewer than two values.
    """
    values = np.asarray(scores, dtype="float64")
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(_half(np.float64(len(values)), values.std(ddof=1), confidence, overlap))
    return float(values.mean() - half), float(values.mean() + half)


def _half(counts: Any, deviations: Any, confidence: float = 0.95, overlap: float = 0.0) -> Any:
    """Returns half of the width of `interval`, of one or of many; NaN for fewer than two values."""
    from scipy import special

    enough = np.where(counts > 1, counts, np.nan)
    return special.stdtrit(enough - 1, 0.5 + confidence / 2) * deviations * np.sqrt(1 / enough + overlap)


def rank(trials: "pd.DataFrame", settings: Sequence[str], direction: str, overlap: float = 0.0) -> "pd.DataFrame":
    """Sums trials up by configuration, the best first.

    Args:
        trials: One row a trial, as `Run.trials()` gives them.
        settings: The settings to show, columns of `trials`.
        direction: `"max"` or `"min"`: which scores are better.
        overlap: As for `interval`.

    Returns:
        One row a configuration, as `Run.table()` describes it.
    """
    import pandas as pd

    tests = [name for name in trials.columns if str(name).startswith("test_")]
    counts = ["completed", "diverged", "failed"]
    columns = ["configuration", *settings, "mean", "std", "low", "high", "repeats", *counts]
    if trials.empty:
        return pd.DataFrame(columns=["rank", *columns, "parameters", "seconds"])
    groups = trials.groupby("configuration", sort=True)
    completed = trials[trials["status"] == "completed"]
    numbers = completed[["score", *tests]].astype("float64").groupby(completed["configuration"])
    means = numbers.mean().reindex(list(groups.groups))
    deviations, scored = (one.reindex(means.index) for one in (numbers["score"].std(ddof=1), numbers["score"].count()))
    first = trials.drop_duplicates("configuration").set_index("configuration")
    table = first.reindex(index=means.index, columns=list(settings))
    table["mean"], table["std"] = means["score"], deviations
    half = _half(scored.to_numpy("float64"), deviations.to_numpy(), overlap=overlap)
    table["low"], table["high"] = table["mean"] - half, table["mean"] + half
    table["repeats"] = groups.size()
    for status in counts:
        table[status] = (trials["status"] == status).groupby(trials["configuration"]).sum()
    table[tests] = means[tests]
    table["parameters"], table["seconds"] = groups["parameters"].max(), groups["seconds"].sum()
    table = table.rename_axis("configuration").reset_index()
    table["_spoilt"] = (table["diverged"] + table["failed"] > 0) | table["mean"].isna()
    table["_order"] = table["mean"] if direction == "min" else -table["mean"]
    table = table.sort_values(["_spoilt", "_order", "configuration"], na_position="last", kind="stable")
    table = table.drop(columns=["_spoilt", "_order"]).reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
