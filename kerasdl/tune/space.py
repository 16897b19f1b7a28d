"""What varies: the values of each setting, and KerasTuner's view of them."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

if TYPE_CHECKING:
    import keras_tuner

Values = list[Any]


class Range(BaseModel):
    """Numbers between two ends.

    Attributes:
        low: The smallest value; with `high` whole, all values are whole.
        high: The largest value, included.
        sampling: Evenly on a linear or on a logarithmic scale.
        step: The distance of neighbours; on a logarithmic scale their ratio.
        when: The varying setting and the value (or values) it must have for this one to count.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    low: int | float
    high: int | float
    sampling: Literal["linear", "log"] = "linear"
    step: int | float | None = None
    when: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> "Range":
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high must be finite")
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be below high ({self.high})")
        if self.sampling == "log" and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 on a logarithmic scale")
        if self.step is not None and self.step <= (1 if self.sampling == "log" else 0):
            least = "above 1, the ratio of neighbours," if self.sampling == "log" else "above 0"
            raise ValueError(f"step ({self.step}) must be {least} for {self.sampling} sampling")
        return self

    @property
    def whole(self) -> bool:
        """Whether the values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int) and not isinstance(self.step, float)

    @property
    def ends(self) -> Values:
        """The two ends, to be checked as values."""
        return [self.low, self.high]


class Choices(BaseModel):
    """Values to choose from.

    Attributes:
        values: At least one, all different.
        when: The varying setting and the value (or values) it must have for this one to count.
    """

    model_config = ConfigDict(extra="forbid")

    values: Values
    when: dict[str, Any] | None = None

    @field_validator("values")
    @classmethod
    def _check(cls, values: Values) -> Values:
        if not values:
            raise ValueError("the list is empty; give at least one value")
        seen = [json.dumps(value, sort_keys=True) for value in values]
        twice = [value for value, text in zip(values, seen, strict=True) if seen.count(text) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return values

    @property
    def ends(self) -> Values:
        """All values, to be checked."""
        return self.values


Dimension = Choices | Range
Space = Mapping[str, Dimension]


def in_order(space: Space) -> list[str]:
    """Returns the names so that each comes after those its `when` speaks of.

    Raises:
        ValueError: Conditions form a circle.
    """
    ordered: list[str] = []
    while len(ordered) < len(space):
        ready = [name for name in space if name not in ordered and set(space[name].when or {}) <= set(ordered)]
        if not ready:
            circle = ", ".join(name for name in space if name not in ordered)
            raise ValueError(f"the conditions of {circle} form a circle")
        ordered += ready
    return ordered


class Encoding:
    """KerasTuner's hyperparameters for a space, and the way back.

    KerasTuner's `Choice` holds values of one type among numbers and texts; all others travel as JSON texts.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._as_text = {name for name, one in space.items() if isinstance(one, Choices) and not _alike(one.values)}

    def hyperparameters(self) -> "keras_tuner.HyperParameters":
        """Returns the space as KerasTuner's hyperparameters, conditions included."""
        import keras_tuner

        hp = keras_tuner.HyperParameters()
        for name in in_order(self.space):
            self._declare(hp, name, dict(self.space[name].when or {}))
        return hp

    def _declare(self, hp: "keras_tuner.HyperParameters", name: str, conditions: dict[str, Any]) -> None:
        if conditions:
            parent, wanted = conditions.popitem()
            values = [self._encode(parent, value) for value in (wanted if isinstance(wanted, list) else [wanted])]
            with hp.conditional_scope(parent, values):
                self._declare(hp, name, conditions)
            return
        one = self.space[name]
        if isinstance(one, Choices):
            hp.Choice(name, [self._encode(name, value) for value in one.values])
        elif one.whole:
            hp.Int(name, int(one.low), int(one.high), step=one.step, sampling=one.sampling)
        else:
            hp.Float(name, float(one.low), float(one.high), step=one.step, sampling=one.sampling)

    def _encode(self, name: str, value: Any) -> Any:
        if name in self._as_text:
            return json.dumps(value)
        values = self.space[name].ends
        return float(value) if any(isinstance(one, float) for one in values) else value

    def decode(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Turns KerasTuner's values into settings."""
        return {name: json.loads(value) if name in self._as_text else value for name, value in values.items()}


def _alike(values: Values) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers or all(isinstance(value, str) for value in values)

