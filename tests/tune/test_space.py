import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kerasdl.tune.space import Choices, Encoding, Range, in_order, plain

pytestmark = pytest.mark.backend_free

PLAIN = st.recursive(
    st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(PLAIN, min_size=1, max_size=6))
def test_values_of_any_sort_come_back_as_they_were(values: list[Any]) -> None:
    try:
        choices = Choices(values=values)
    except ValidationError:
        return
    encoding = Encoding({"setting": choices})
    (declared,) = encoding.hyperparameters().space
    decoded = [encoding.decode({"setting": value})["setting"] for value in declared.values]
    if any(isinstance(value, float) for value in values) and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        values = [float(value) for value in values]
    assert decoded == values
    assert [type(value) for value in decoded] == [type(value) for value in values]


def test_ranges_are_whole_where_all_their_numbers_are() -> None:
    assert Range(low=1, high=5).whole
    assert Range(low=1, high=8, sampling="log", step=2).whole
    assert not Range(low=1, high=5.0).whole
    assert not Range(low=1, high=8, sampling="log", step=1.5).whole


@pytest.mark.parametrize(
    "keys",
    [
        {"low": 2, "high": 2},
        {"low": 3, "high": 2},
        {"low": 0, "high": 2, "sampling": "log"},
        {"low": -1.0, "high": 2.0, "sampling": "log"},
        {"low": 1, "high": 2, "step": 0},
        {"low": 1, "high": 2, "step": -1},
        {"low": 1, "high": 2, "step": 1, "sampling": "log"},
        {"low": 0.0, "high": float("inf")},
        {"low": float("nan"), "high": 1.0},
        {"low": True, "high": 2},
        {"low": "1", "high": 2},
        {"low": 1, "high": 2, "sampling": "cubic"},
    ],
)
def test_ranges_that_cannot_be_are_refused(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Range(**keys)


@pytest.mark.parametrize(
    "values", [[], [1, 1], ["a", "a"], [[1, 2], (1, 2)], [None], [object()], [datetime.date(2020, 1, 1)], [[1, {2}]]]
)
def test_values_that_cannot_be_are_refused(values: list[Any]) -> None:
    with pytest.raises(ValidationError):
        Choices(values=values)


def test_numpys_numbers_and_tuples_become_pythons() -> None:
    values = plain([*np.logspace(0, 2, 3), np.int64(3), np.bool_(True), (1, (2,)), {"a": np.float32(0.5)}])
    assert values == [1.0, 10.0, 100.0, 3, True, [1, [2]], {"a": 0.5}]
    assert [type(value) for value in values[:5]] == [float, float, float, int, bool]


def test_names_come_after_those_that_they_depend_on() -> None:
    space = {
        "c": Choices(values=[1], when={"b": 1, "a": 1}),
        "b": Choices(values=[1], when={"a": 1}),
        "a": Choices(values=[1, 2]),
    }
    assert in_order(space) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="the conditions of a, b form a circle"):
        in_order({"a": Choices(values=[1], when={"b": 1}), "b": Choices(values=[1], when={"a": 1})})


def test_what_does_not_count_is_left_out() -> None:
    space = {
        "optimizer": Choices(values=["sgd", "adam"]),
        "momentum": Choices(values=[0.0, 0.9], when={"optimizer": "sgd"}),
        "nesterov": Choices(values=[False, True], when={"momentum": 0.9}),
    }
    decode = Encoding(space).decode
    values = {"momentum": 0.9, "nesterov": "true"}
    assert decode({"optimizer": "sgd", **values}) == {"optimizer": "sgd", "momentum": 0.9, "nesterov": True}
    assert decode({"optimizer": "adam", **values}) == {"optimizer": "adam"}
    assert decode({"optimizer": "sgd", **values, "momentum": 0.0}) == {"optimizer": "sgd", "momentum": 0.0}
