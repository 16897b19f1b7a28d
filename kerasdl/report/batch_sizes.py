"""Batch sizes: what they reach, what an epoch costs, and how noisy the loss is."""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from kerasdl.report.evidence import Evidence
from kerasdl.report.finding import Finding
from kerasdl.report.scores import is_numeric, key
from kerasdl.report.statistics import mean_test
from kerasdl.report.tables import Table
from kerasdl.report.training import by_configuration
from kerasdl.report.words import mean_of, metric_name, number, plural, value

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
    rows, measured = [], _measured(evidence)
    for level, members in scores.rows_by_level(SETTING):
        # A seed is what repeats: other settings are averaged within it.
        reached = [column[np.isfinite(column)] for column in scores.values[members].T]
        means = [float(column.mean()) for column in reached if len(column)]
        cells = [value(level), _shown(scores.objective, means, scores.overlap)]
        cells += [_shown("", own, scores.overlap) for own in measured[key(level)]]
        rows.append(cells)
    head = ["batch size", metric_name(scores.objective), "seconds per epoch", "noise of the training loss"]
    head.append("noise of the validation loss")
    note = (
        "Means ± half of the 95\u00a0% interval over seeds"
        + (", averaged over the other settings" if len(scores.varying) > 1 else "")
        + ". Seconds: a trial's share of the fastest epoch of its program. Noise: the standard deviation of the loss "
        "from epoch to epoch round its own smooth course, over the second half of training (Gasser, Sroka and "
        "Jennen-Steinmetz, 1986)."
    )
    return Table("What batch sizes reach, cost and shake", head, rows, [True] * len(head), note=note)


def _least(curves: np.ndarray) -> np.ndarray:
    """Returns each seed's fastest epoch: others may have waited while something else ran, such as a compiler."""
    return np.asarray(curves.min(axis=1))


def _rough(curves: np.ndarray) -> np.ndarray:
    """Returns the noise in the second half of each seed's curve, `(seeds,)`."""
    half = curves[:, curves.shape[1] // 2 :]
    return np.array([roughness(curve) for curve in half])


_MEASURED: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("seconds", _least),
    ("loss", _rough),
    ("val_loss", _rough),
)


def _measured(evidence: Evidence) -> dict[str, list[list[float]]]:
    """Returns what `_MEASURED` names for each batch size, by seed: means over configurations that completed all."""
    scores = evidence.scores
    found: dict[str, list[list[float]]] = {key(level): [] for level in scores.levels(SETTING)}
    for name, reduce in _MEASURED:
        curves = by_configuration(scores, evidence.curves, name)
        for level, members in scores.rows_by_level(SETTING):
            groups = [reduce(curves[index]) for index in members if index in curves]
            most = max(map(len, groups), default=0)
            whole = [group for group in groups if len(group) == most]
            found[key(level)].append([float(mean) for mean in np.mean(whole, axis=0)] if whole else [])
    return found


def find_batch_sizes(evidence: Evidence) -> Iterator[Finding]:
    """Says how much longer an epoch takes at the smallest batch size than at the largest, and how much noisier it is.

    Noises are compared as the mean of their logarithms' differences, paired by seed.
    """
    scores = evidence.scores
    levels = scores.levels(SETTING) if SETTING in scores.varying and not evidence.curves.empty else []
    if len(levels) < 2 or not is_numeric(levels) or not scores.matched(SETTING):
        return
    ends = levels[0], levels[-1]
    measured = _measured(evidence)
    seconds = [float(np.mean(measured[key(level)][0] or [math.nan])) for level in ends]
    noises = [np.array(measured[key(level)][1]) for level in ends]
    if len(noises[0]) != len(noises[1]) or not (np.concatenate(noises) > 0).all() or not min(seconds) > 0:
        return
    test = mean_test(np.log(noises[0] / noises[1]), overlap=scores.overlap)
    with np.errstate(over="ignore"):
        ratio, low, high = np.exp([test.mean, *test.interval()]).tolist()
    sure = math.isfinite(low) and not low <= 1 <= high
    yield Finding(
        f"Batch size {value(ends[0])} against {value(ends[1])}: an epoch takes a trial {number(seconds[0], 3)} s "
        f"instead of {number(seconds[1], 3)} s ({number(seconds[0] / seconds[1], 2)} times as long), and the training "
        f"loss is {number(ratio, 2)} times as noisy"
        + (
            f" ({number(low, 2)} to {number(high, 2)}; paired over {plural(len(noises[0]), 'seed')})."
            if math.isfinite(low)
            else "."
        ),
        sure,
        {"kind": "batch-size", "batch_sizes": list(ends), "seconds": seconds, "noise": ratio, "low": low, "high": high},
    )


def _shown(metric: str, values: Sequence[float], overlap: float) -> str:
    # Seeds that ran side by side have the same share of the time; that says nothing of its error.
    known = [one for one in values if math.isfinite(one)]
    return mean_of(metric, known[:1] if len(set(known)) == 1 else known, overlap)
