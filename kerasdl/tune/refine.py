"""Searches again, closer to the best: coarse to fine."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from kerasdl.tune.space import Choices, Dimension, Range, Space, listed

# A list of numbers that spans this ratio is taken to be on a logarithmic scale.
LOG_RATIO = 10


class Refinement(BaseModel):
    """The `[refine]` table of a study.

    Attributes:
        rounds: How many searches follow the first, each closer to the best so far.
        trials: Configurations of each of them, drawn at random.
        settings: Which settings the searches vary; the others keep their best value. All of them where absent.
        share: How much of a range each search keeps, round the best, on the range's own scale. Of a list of numbers the
            first keeps what lies between the neighbours of the best.
        retrain: How many of the best are trained once more at the end, on training and validation rows together, and
            tested.
    """

    model_config = ConfigDict(extra="forbid")

    rounds: int = Field(default=1, ge=0, strict=True)
    trials: int = Field(default=10, ge=1, strict=True)
    settings: list[str] | None = Field(default=None, min_length=1)
    share: float = Field(default=0.25, gt=0, lt=1)
    retrain: int = Field(default=0, ge=0, strict=True)


def narrowed(
    space: Space, best: Mapping[str, Any], share: float, settings: Collection[str] | None = None
) -> dict[str, Dimension]:
    """Narrows a space round its best point.

    Args:
        space: What varied.
        best: The values of the best configuration; settings whose conditions did not hold are missing.
        share: The part of each range that is kept.
        settings: What goes on to vary, where that is not everything.

    Returns:
        The narrower space: ranges for numbers, the best value alone for everything else. It lies within the old one.
    """
    return {
        name: _narrowed(one, best[name], share)
        if settings is None or name in settings
        else Choices(values=[best[name]])
        for name, one in space.items()
        if name in best
    }


def _narrowed(one: Dimension, best: Any, share: float) -> Dimension:
    if isinstance(one, Choices):
        numbers = [value for value in one.values if isinstance(value, int | float) and not isinstance(value, bool)]
        if len(numbers) < len(one.values) or len(numbers) < 2:
            return Choices(values=[best])
        return _between_neighbours(sorted(numbers), best)
    forward, back = (math.log, math.exp) if one.sampling == "log" else (float, float)
    half = share * (forward(one.high) - forward(one.low)) / 2
    centre = forward(best)
    return _range(max(one.low, back(centre - half)), min(one.high, back(centre + half)), one.sampling, one.whole, best)


def _between_neighbours(values: list[Any], best: Any) -> Dimension:
    place = values.index(best)
    low, high = values[max(place - 1, 0)], values[min(place + 1, len(values) - 1)]
    log = values[0] > 0 and values[-1] / values[0] >= LOG_RATIO
    return _range(low, high, "log" if log else "linear", all(isinstance(value, int) for value in values), best)


def _range(low: float, high: float, sampling: Any, whole: bool, best: Any) -> Dimension:
    if whole:
        low, high = math.ceil(low - 1e-9), math.floor(high + 1e-9)
    if low >= high:
        return Choices(values=[best])
    return Range(low=low, high=high, sampling=sampling)


def varied(settings: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Picks the values of what varies out of a configuration's settings, where conditions let them count."""
    return {
        name: settings[name]
        for name, one in space.items()
        if name in settings
        and all(settings.get(parent) in listed(wanted) for parent, wanted in (one.when or {}).items())
    }
