"""What varies: the values of each setting, and KerasTuner's view of them."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Discriminator, Tag, field_validator, model_validator

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
        values = [plain(value) for value in values]
        seen = [json.dumps(value, sort_keys=True) for value in values]
        twice = [value for value, text in zip(values, seen, strict=True) if seen.count(text) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} is listed twice")
        return values

    @property
    def ends(self) -> Values:
        """All values, to be checked."""
        return self.values


def plain(value: Any) -> Any:
    """Returns a value as TOML and JSON can hold it: tuples become lists, NumPy's numbers Python's.

    Raises:
        ValueError: They cannot hold it.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    raise ValueError(f"{value!r} is neither a number, a text, true or false, nor a list of these")


def _sort(one: Any) -> str | None:
    if isinstance(one, Mapping):
        return "Choices" if "values" in one else "Range"
    return type(one).__name__


Dimension = Choices | Range
AnyDimension = Annotated[
    Annotated[Choices, Tag("Choices")] | Annotated[Range, Tag("Range")],
    Discriminator(
        _sort,
        custom_error_type="no_dimension",
        custom_error_message="give a list of values, or {low = ..., high = ...}; a single value belongs under [fixed]",
    ),
]
Space = Mapping[str, Dimension]


def listed(wanted: Any) -> Values:
    """Returns the values that a condition allows as a list."""
    return wanted if isinstance(wanted, list) else [wanted]


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
        from keras_tuner.src.engine import conditions

        hp = keras_tuner.HyperParameters()
        for name in in_order(self.space):
            # `conditional_scope` opens only on a parent that has the same conditions itself; two parents need a list.
            hp._conditions = [conditions.Parent(parent, values) for parent, values in self._conditions(name)]
            self._declare(hp, name)
        hp._conditions = []
        return hp

    def _conditions(self, name: str) -> list[tuple[str, Values]]:
        """Returns what must hold for a setting to count: its own conditions and those of its parents."""
        found: list[tuple[str, Values]] = []
        for parent, wanted in (self.space[name].when or {}).items():
            found += self._conditions(parent)
            found.append((parent, [self._encode(parent, value) for value in listed(wanted)]))
        return found

    def _declare(self, hp: "keras_tuner.HyperParameters", name: str) -> None:
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
        """Turns KerasTuner's values into settings, without those whose conditions do not hold."""
        return {
            name: self._decode(name, value)
            for name, value in values.items()
            if name not in self.space or all(values.get(parent) in wanted for parent, wanted in self._conditions(name))
        }

    def _decode(self, name: str, value: Any) -> Any:
        if name in self._as_text:
            return json.loads(value)
        one = self.space.get(name)
        # KerasTuner's whole numbers become floats on a logarithmic scale with a step.
        return int(value) if isinstance(one, Range) and one.whole else value


def _alike(values: Values) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return numbers or all(isinstance(value, str) for value in values)
