"""Reads learning rates off the curve of a range test."""

import numpy as np

# The first tenth says little, as its rates are too small to change anything, and the last five steps are the explosion:
# fastai's `lr_find` leaves both out.
FIRST_SHARE = 10
LAST_STEPS = 5

# Fewer points make no curve to read from.
LEAST_POINTS = 10


def readable(points: int, steps: int) -> slice:
    """Returns which of the points that were taken the suggestions are read from.

    Args:
        points: How many points were taken.
        steps: How many steps the test had; it may have ended before.
    """
    return slice(steps // FIRST_SHARE, max(points - LAST_STEPS, 0))


def suggest(rates: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """Suggests learning rates.

    Args:
        rates: float64, `(points,)`, rising.
        losses: float64, `(points,)`, smoothed.

    Returns:
        `"steepest"`, `"valley"` and `"minimum / 10"`, or nothing where the loss never falls below where it began.
    """
    if losses.min() >= losses[0]:
        return {}
    return {
        "steepest": steepest(rates, losses),
        "valley": valley(rates, losses),
        "minimum / 10": float(rates[losses.argmin()]) / 10,
    }


def steepest(rates: np.ndarray, losses: np.ndarray) -> float:
    """Returns the rate at which the loss falls fastest: the least `d loss / d log(rate)` (fastai's `steep`)."""
    return float(rates[np.argmin(np.diff(losses) / np.diff(np.log(rates)))])


def valley(rates: np.ndarray, losses: np.ndarray) -> float:
    """Returns a rate inside the longest valley: the longest falling subsequence of the losses (fastai's `valley`).

    Where the valley has `n` points and ends at point `e`, the suggestion is half of a third behind its first third:
    point `e - n + n // 3 + n // 6`.
    """
    lengths = np.ones(len(losses), dtype="int64")
    for index in range(1, len(losses)):
        higher = lengths[:index][losses[:index] > losses[index]]
        if higher.size:
            lengths[index] = higher.max() + 1
    end = int(lengths.argmax())
    length = int(lengths[end])
    return float(rates[max(end - length + length // 3 + length // 6, 0)])
