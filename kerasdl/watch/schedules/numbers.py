"""The numbers of schedules: checked when they are given, turned into tensors when a step asks."""

import math
from typing import Any

import keras

from kerasdl.errors import UserError


def checked(place: str, value: Any, *, above: float | None = None, least: float | None = None) -> float:
    """Checks one number of a schedule.

    Args:
        place: Which number of which schedule.
        value: What was given.
        above: What it must be above, if anything.
        least: What it must not be below, if anything.

    Returns:
        The number.

    Raises:
        UserError: It is not a finite number, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{place}: {value!r} is not a finite number; give one such as 0.01")
    if above is not None and value <= above:
        raise UserError(f"{place}: {value!r} must be above {above:g}")
    if least is not None and value < least:
        raise UserError(f"{place}: {value!r} must be at least {least:g}")
    return float(value)


def tensor(value: Any) -> Any:
    """Returns a number, a tensor or a step count as a tensor to calculate with.

    Half precision cannot count steps beyond 2,048: schedules never calculate in less than float32.
    """
    return keras.ops.cast(value, "float64" if keras.config.floatx() == "float64" else "float32")
