"""Slopes by finite differences, with their error, and kinks told apart from slopes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Relative to the parameter where that is above 1. In float64 the best step for central differences lies between 1e-6
# and 1e-5; the larger ones are cheap to agree with, the smaller ones get out of the way of kinks.
STEPS = (1e-4, 1e-5, 1e-6, 1e-7)

# Rounding errors of a loss that is a mean of many rows, in units of its last place.
ROUNDING = 16 * np.finfo("float64").eps


@dataclass(frozen=True)
class Slope:
    """The derivative of a loss by one number.

    Attributes:
        value: The derivative; at a kink the mean of the one-sided ones.
        error: How far off it may be by truncation and rounding.
        kink: Whether the loss has no derivative here, but one for each side.
    """

    value: float
    error: float
    kink: bool = False


@dataclass(frozen=True)
class _Level:
    """What one step size tells about each part of the loss: arrays `(parts,)`."""

    forward: np.ndarray
    backward: np.ndarray
    rounding: np.ndarray

    @property
    def central(self) -> np.ndarray:
        return (self.forward + self.backward) / 2

    @property
    def bend(self) -> np.ndarray:
        return np.abs(self.forward - self.backward)


def slopes(losses: Callable[[float], np.ndarray], at: float) -> list[Slope]:
    """Measures the slope of each part of a loss at a value of one parameter.

    The central difference `(L(t + h) - L(t - h)) / 2h` is taken with smaller and smaller steps `h` until two steps in a
    row agree and the two one-sided differences draw together as `h` shrinks, as they do where there is a derivative:
    their distance is `h * L''`. At a kink the central difference may agree with itself for ever, but the one-sided ones
    keep their distance. A kink nearby, between `t - h` and `t + h`, is left outside by a smaller step.

    Args:
        losses: The parts of the loss as a function of the parameter, float64, `(parts,)`.
        at: The parameter's value.

    Returns:
        One slope a part.
    """
    here = losses(at)
    levels: list[_Level] = []
    found: list[Slope | None] = [None] * len(here)
    for step in STEPS:
        levels.append(_level(losses, here, at, step * max(1.0, abs(at))))
        for part, slope in enumerate(found):
            if slope is None and len(levels) > 1:
                found[part] = _settled(levels[-2], levels[-1], part)
        if all(slope is not None for slope in found):
            break
    narrow = levels[-1]
    return [
        slope or Slope(float(narrow.central[part]), float(narrow.bend[part]), kink=True)
        for part, slope in enumerate(found)
    ]


def _level(losses: Callable[[float], np.ndarray], here: np.ndarray, at: float, step: float) -> _Level:
    # The distances between the numbers that float64 really has.
    right, left = at + step, at - step
    forward, backward = (losses(right) - here) / (right - at), (here - losses(left)) / (at - left)
    rounding = np.full(here.shape, ROUNDING * np.abs(here).sum() / step)
    return _Level(forward, backward, rounding)


def _settled(wide: _Level, narrow: _Level, part: int) -> Slope | None:
    value, rounding = float(narrow.central[part]), float(narrow.rounding[part])
    difference = abs(float(wide.central[part]) - value)
    agree = difference <= 1e-6 * abs(value) + 4 * rounding
    smooth = narrow.bend[part] <= wide.bend[part] / 2 + 1e-6 * abs(value) + 4 * rounding
    # Of the difference, the wide step's truncation is a hundred times the narrow one's.
    return Slope(value, difference / 10 + rounding) if agree and smooth else None
