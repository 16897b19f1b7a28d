"""Ranks configurations by their repeats."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    from scipy import special

    values = np.asarray(scores, dtype="float64")
    if len(values) < 2:
        return float("nan"), float("nan")
    half = (
        special.stdtrit(len(values) - 1, 0.5 + confidence / 2) * values.std(ddof=1) * np.sqrt(1 / len(values) + overlap)
    )
    return float(values.mean() - half), float(values.mean() + half)


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
    rows = []
    for configuration, group in trials.groupby("configuration", sort=True):
        completed = group[group["status"] == "completed"]
        scores = completed["score"].astype("float64").dropna()
        low, high = interval(scores.to_list(), overlap=overlap)
        rows.append(
            {
                "configuration": configuration,
                **{name: group.iloc[0].get(name) for name in settings},
                "mean": scores.mean(),
                "std": scores.std(ddof=1),
                "low": low,
                "high": high,
                "repeats": len(group),
                **{status: int((group["status"] == status).sum()) for status in ("completed", "diverged", "failed")},
                **{name: completed[name].astype("float64").mean() for name in tests},
                "parameters": group["parameters"].max(),
                "seconds": group["seconds"].sum(),
            }
        )
    columns = ["configuration", *settings, "mean", "std", "low", "high", "repeats", "completed", "diverged", "failed"]
    if not rows:
        return pd.DataFrame(columns=["rank", *columns, "parameters", "seconds"])
    table = pd.DataFrame(rows)
    table["_spoilt"] = (table["diverged"] + table["failed"] > 0) | table["mean"].isna()
    table["_order"] = table["mean"] if direction == "min" else -table["mean"]
    table = table.sort_values(["_spoilt", "_order", "configuration"], na_position="last", kind="stable")
    table = table.drop(columns=["_spoilt", "_order"]).reset_index(drop=True)
    table.insert(0, "rank", np.arange(1, len(table) + 1))
    return table
