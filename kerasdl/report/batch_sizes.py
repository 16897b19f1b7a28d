"""Batch sizes: what they reach, what an epoch costs, and how noisy the loss is."""

import math

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.scores import key
from kerasdl.report.statistics import mean_test
from kerasdl.report.tables import Table
from kerasdl.report.training import by_configuration
from kerasdl.report.words import mean_with_half, metric_name, value

SETTING = "batch_size"


def roughness(curve: np.ndarray) -> float:
    """Estimates the noise of values round a smooth course, without knowing the course.

    T. Gasser, L. Sroka, C. Jennen-Steinmetz, Residual variance and residual pattern in nonlinear regression,
    Biometrika 73, 1986: the variance is 2/3 of the mean square of what each inner value differs from the mean of its
    neighbours.

    Args:
        curve: float64, `(epochs,)`, three at least.

    Returns:
        The standard deviation of the noise; NaN of fewer values.
    """
    if len(curve) < 3:
        return math.nan
    residuals = (curve[:-2] + curve[2:]) / 2 - curve[1:-1]
    return float(np.sqrt(2 / 3 * np.mean(residuals**2)))


def batch_size_table(evidence: Evidence) -> Table | None:
    """Returns accuracy, seconds per epoch and noise of the loss by batch size; `None` where it does not vary."""
    scores = evidence.scores
    if SETTING not in scores.varying or evidence.curves.empty:
        return None
    curves = {name: by_configuration(scores, evidence.curves, name) for name in ("seconds", "loss", "val_loss")}
    rows = []
    for level in scores.levels(SETTING):
        members = [i for i, settings in enumerate(scores.settings) if key(settings.get(SETTING)) == key(level)]
        # A seed is what repeats: other settings are averaged within it.
        reached = [column[np.isfinite(column)] for column in scores.values[members].T]
        means = [float(column.mean()) for column in reached if len(column)]
        cells = [value(level), _shown(scores.objective, means, scores.overlap)]
        for name, reduce in (("seconds", _median), ("loss", _rough), ("val_loss", _rough)):
            own = _by_seed([reduce(curves[name][index]) for index in members if index in curves[name]])
            cells.append(_shown("", own, scores.overlap))
        rows.append(cells)
    head = ["batch size", metric_name(scores.objective), "seconds per epoch", "noise of the training loss"]
    head.append("noise of the validation loss")
    note = (
        "Means ± half of the 95\u00a0% interval over seeds"
        + (", averaged over the other settings" if len(scores.varying) > 1 else "")
        + ". Seconds: a trial's share of the median epoch of its program. Noise: the standard deviation of the loss "
        "from epoch to epoch round its own smooth course, over the second half of training (Gasser, Sroka and "
        "Jennen-Steinmetz, 1986)."
    )
    return Table("What batch sizes reach, cost and shake", head, rows, [True] * len(head), note=note)


def _median(curves: np.ndarray) -> np.ndarray:
    return np.asarray(np.median(curves, axis=1))


def _rough(curves: np.ndarray) -> np.ndarray:
    """Returns the noise in the second half of each seed's curve, `(seeds,)`."""
    half = curves[:, curves.shape[1] // 2 :]
    return np.array([roughness(curve) for curve in half])


def _by_seed(groups: list[np.ndarray]) -> list[float]:
    """Averages over configurations, seed by seed, those that completed all seeds."""
    most = max(map(len, groups), default=0)
    whole = [group for group in groups if len(group) == most]
    return [float(mean) for mean in np.mean(whole, axis=0)] if whole else []


def _shown(metric: str, values: list[float], overlap: float) -> str:
    known = [one for one in values if math.isfinite(one)]
    if not known:
        return "unknown"
    # Seeds that ran side by side have the same share of the time; that says nothing of its error.
    alike = len(set(known)) == 1
    low, high = (math.nan, math.nan) if alike else mean_test(known, overlap=overlap).interval()
    return mean_with_half(metric, float(np.mean(known)), (high - low) / 2)
