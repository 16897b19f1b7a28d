"""What reduced precision costs: changed classes, and the change of the test metric, paired by row."""

import math
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.export.result import Change, ExportError

if TYPE_CHECKING:
    from kerasdl.export.target import Target

# Of the normal distribution, for a two-sided 95 % interval.
Z = 1.959964


def measure_change(expected: np.ndarray, actual: np.ndarray, labels: np.ndarray | None, binary: bool) -> Change:
    """Compares the classes that Keras and a file give for the same rows.

    Args:
        expected: Keras' output, `(rows, ..., classes)`, or `(rows, 1)` with the probability of the second class.
        actual: The file's output, of the same shape.
        labels: The class of each row `(rows,)`, or of each pixel; `None` where not known.
        binary: Whether a last axis of 1 is a probability.

    Returns:
        The share of changed classes; with labels the metric of both and the interval of its drop.
    """
    rows = len(expected)
    if not binary and (expected.ndim < 2 or expected.shape[-1] < 2):
        return Change(rows, None)
    before, after = _classes(expected), _classes(actual)
    changed = float((before != after).mean())
    if labels is None or labels.size != before.size:
        return Change(rows, changed)
    truth = labels.reshape(before.shape)
    if before.ndim == 1:
        right, still = before == truth, after == truth
        drop, low, high = accuracy_drop(right, still)
        return Change(rows, changed, "accuracy", float(right.mean()), float(still.mean()), drop, low, high)
    classes = max(expected.shape[-1], 2)
    scores, left = (_dice(truth, predicted, classes) for predicted in (before, after))
    return Change(rows, changed, "dice", float(scores.mean()), float(left.mean()), *_mean_drop(scores - left))


def _classes(outputs: np.ndarray) -> np.ndarray:
    if outputs.shape[-1] > 1:
        return outputs.argmax(-1)
    return (outputs[..., 0] > 0.5).astype("int64")


def accuracy_drop(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Returns the drop of accuracy between two answers to the same rows, with its 95 % interval.

    The interval is that of A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): half a pair is added to each of the four kinds of pairs, so that it
    has a width also where no row changed.

    Args:
        before: Whether each row was right, `(rows,)`.
        after: Whether it is right now, `(rows,)`.

    Returns:
        The drop, and the lower and upper end of its interval.
    """
    lost, won, rows = int((before & ~after).sum()), int((~before & after).sum()), len(before)
    b, c, n = lost + 0.5, won + 0.5, rows + 2.0
    middle = (b - c) / n
    half = Z * math.sqrt(b + c - (b - c) ** 2 / n) / n
    return (lost - won) / rows, max(middle - half, -1.0), min(middle + half, 1.0)


def _dice(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Returns the Dice of each image, `(rows,)`: the mean over the classes that its mask or prediction holds."""
    from kerasdl.runs.answers import overlap_scores

    axes = tuple(range(1, truth.ndim))
    overlap = np.stack(
        [
            np.stack(
                [
                    ((truth == one) & (predicted == one)).sum(axes),
                    (truth == one).sum(axes) + (predicted == one).sum(axes),
                ],
                -1,
            )
            for one in range(classes)
        ],
        axis=1,
    )
    dice, _ = overlap_scores(overlap)
    present = np.maximum(np.isfinite(dice).sum(axis=1), 1)
    return np.asarray(np.nansum(dice, axis=1) / present)


def _mean_drop(differences: np.ndarray) -> tuple[float, float | None, float | None]:
    """Returns the mean of paired differences, with its 95 % interval by Student's t; one row has none."""
    from kerasdl.runs.ranking import interval

    low, high = interval([float(value) for value in differences])
    if not math.isfinite(low):
        return float(differences.mean()), None, None
    return float(differences.mean()), low, high


def told_interval(change: Change) -> str:
    """Says in words how sure the drop of the metric is."""
    if change.low is None or change.high is None:
        return "no interval on one row"
    return f"95 % interval {change.low:.4f} to {change.high:.4f}"


def check_change(change: Change, target: "Target") -> tuple[str, ...]:
    """Refuses a file that lost more than its target allows.

    Args:
        change: What was measured.
        target: Holds the limit.

    Returns:
        What a reader must know: that the interval of the drop reaches beyond the limit, or that no labels were known.

    Raises:
        ExportError: The drop of the metric, or the share of changed classes, is past the limit.
    """
    limit = target.limit
    if change.drop is not None and change.drop > limit.metric_drop:
        raise ExportError(
            f"{target.precision} loses {change.drop:.4f} of {change.metric} on {change.rows} test rows "
            f"({change.before:.4f} to {change.after:.4f}, {told_interval(change)}), more "
            f"than limit.metric_drop = {limit.metric_drop:g} of target {target.name!r}; nothing was written"
        )
    if change.changed_classes is not None and change.changed_classes > limit.changed_classes:
        raise ExportError(
            f"{target.precision} gives another class for {change.changed_classes:.2%} of {change.rows} rows, more than "
            f"limit.changed_classes = {limit.changed_classes:g} of target {target.name!r}; nothing was written"
        )
    if change.drop is None and change.changed_classes is not None:
        return ("no labels were given, so the change of the test metric is not known",)
    if change.high is not None and change.high > limit.metric_drop:
        return (
            f"the drop of {change.metric} may be larger than {limit.metric_drop:g}: its 95 % interval on {change.rows} "
            f"rows reaches to {change.high:.4f}",
        )
    return ()
