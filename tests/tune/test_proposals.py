import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kerasdl.tune import Study
from kerasdl.tune.proposals import Proposals

# KerasTuner runs on Keras, but what it proposes does not depend on the backend.
pytestmark = [pytest.mark.backend_free, pytest.mark.usefixtures("backend_name")]

Make = Callable[..., Study]
Rounds = list[dict[int, dict[str, Any]]]
Score = Callable[[Mapping[str, Any]], float | None]

RATES = {"low": 1e-4, "high": 1e-1, "sampling": "log"}
CONTINUOUS = {"learning_rate": RATES, "depth": [1, 2, 3]}


def rounds_of(study: Study, score: Score = lambda settings: 0.5) -> Rounds:
    proposals = Proposals(study)
    rounds = []
    while proposed := proposals.ask():
        rounds.append(proposed)
        proposals.tell({number: score(settings) for number, settings in proposed.items()})
    return rounds


def all_of(rounds: Rounds) -> list[dict[str, Any]]:
    return [settings for proposed in rounds for settings in proposed.values()]


def as_set(settings: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(one, sort_keys=True) for one in settings}


@pytest.mark.parametrize(
    "space",
    [
        {"depth": [1, 2], "width": [4, 8, 16], "batch_norm": [False, True]},
        {"width": [[8, 4], [4], 3], "dropout": [0.0, 0.5], "activation": ["relu", "tanh"]},
        {"depth": [3, 1, 2], "learning_rate": [0.1, 0.01, 0.2]},
        {"depth": [0]},
        {},
    ],
)
def test_a_grid_is_every_combination_once_in_a_settled_order(study: Make, space: dict[str, list[Any]]) -> None:
    rounds = rounds_of(study(space=space))
    assert len(rounds) == 1
    assert [*rounds[0]] == list(range(len(rounds[0])))
    combinations = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
    assert all_of(rounds) == combinations
    assert rounds_of(study(space=space)) == rounds


@pytest.mark.parametrize(
    ("one", "values"),
    [
        ({"low": 0, "high": 3}, [0, 1, 2, 3]),
        ({"low": 2, "high": 9, "step": 3}, [2, 5, 8]),
        ({"low": 4, "high": 64, "sampling": "log", "step": 2}, [4, 8, 16, 32, 64]),
    ],
)
def test_a_grid_over_whole_numbers(study: Make, one: dict[str, Any], values: list[int]) -> None:
    found = [
        settings["width"] for settings in all_of(rounds_of(study(space={"width": {**one, "low": one["low"] or 1}})))
    ]
    assert found == [value for value in values if value]
    assert all(type(value) is int for value in found)


@pytest.mark.parametrize(
    ("one", "values"),
    [
        ({"low": 0.0, "high": 0.5, "step": 0.25}, [0.0, 0.25, 0.5]),
        ({"low": 0.001, "high": 0.1, "sampling": "log", "step": 10}, [0.001, 0.01, 0.1]),
    ],
)
def test_a_grid_over_numbers(study: Make, one: dict[str, Any], values: list[float]) -> None:
    found = [
        settings["clipnorm"]
        for settings in all_of(rounds_of(study(space={"clipnorm": {**one, "low": one["low"] or 0.25}})))
    ]
    assert found == pytest.approx([value for value in values if value])


def test_a_grid_with_conditions_is_exactly_the_combinations_that_count(study: Make) -> None:
    space = {
        "learning_rate": [0.1, 0.01],
        "nesterov": {"values": [False, True], "when": {"optimizer": "sgd", "momentum": 0.9}},
        "momentum": {"values": [0.0, 0.9], "when": {"optimizer": "sgd"}},
        "rho": {"values": [0.8, 0.9], "when": {"optimizer": ["rmsprop"]}},
        "optimizer": ["sgd", "adam", "rmsprop"],
    }
    expected = []
    for rate in (0.1, 0.01):
        expected += [
            {"learning_rate": rate, "optimizer": "sgd", "momentum": 0.0},
            *({"learning_rate": rate, "optimizer": "sgd", "momentum": 0.9, "nesterov": on} for on in (False, True)),
            {"learning_rate": rate, "optimizer": "adam"},
            *({"learning_rate": rate, "optimizer": "rmsprop", "rho": rho} for rho in (0.8, 0.9)),
        ]
    found = all_of(rounds_of(study(space=space)))
    assert as_set(found) == as_set(expected)
    assert len(found) == len(expected)


def test_a_condition_on_two_independent_settings(study: Make) -> None:
    space = {
        "batch_norm": [False, True],
        "depth": [1, 2],
        "dropout": {"values": [0.1, 0.5], "when": {"batch_norm": True, "depth": [2]}},
    }
    found = all_of(rounds_of(study(space=space)))
    assert as_set(found) == as_set(
        [
            *({"batch_norm": False, "depth": depth} for depth in (1, 2)),
            {"batch_norm": True, "depth": 1},
            *({"batch_norm": True, "depth": 2, "dropout": dropout} for dropout in (0.1, 0.5)),
        ]
    )
    assert len(found) == 5


def test_trials_end_a_grid_early(study: Make) -> None:
    whole = all_of(rounds_of(study(space={"depth": [1, 2, 3], "width": [4, 8]})))
    assert all_of(rounds_of(study(space={"depth": [1, 2, 3], "width": [4, 8]}, trials=4))) == whole[:4]


def test_random_search_is_seeded(study: Make) -> None:
    def search(seed: int) -> Rounds:
        return rounds_of(study(search="random", trials=6, space=CONTINUOUS, seed=seed))

    assert search(0) == search(0)
    assert all_of(search(0)) != all_of(search(1))
    assert len(all_of(search(0))) == 6
    assert all(1e-4 <= settings["learning_rate"] <= 1e-1 for settings in all_of(search(0)))


@pytest.mark.parametrize("search", ["random", "bayesian"])
def test_a_small_space_ends_a_search_before_its_trials(study: Make, search: str) -> None:
    found = all_of(rounds_of(study(search=search, trials=50, space={"depth": [1, 2], "width": [4, 8]})))
    assert len(as_set(found)) == len(found) <= 4


@pytest.mark.parametrize("search", ["bayesian", "hyperband"])
def test_a_search_that_learns_replays_from_the_same_scores(study: Make, search: str) -> None:
    def replay(sign: int) -> Rounds:
        made = study(search=search, trials=9 if search == "bayesian" else None, space=CONTINUOUS, epochs=9)
        return rounds_of(made, lambda settings: sign * settings["learning_rate"])

    low = replay(-1)
    assert low == replay(-1)
    high = replay(1)
    assert low[0] == high[0]
    assert low != high
    assert len(low) > 1
    if search == "bayesian":
        (last_low,), (last_high,) = low[-1].values(), high[-1].values()
        assert last_low["learning_rate"] < last_high["learning_rate"]


def test_hyperband_gives_more_epochs_to_what_did_well(study: Make) -> None:
    rounds = rounds_of(
        study(search="hyperband", space=CONTINUOUS, epochs=9), lambda settings: 1 - settings["learning_rate"]
    )
    found = all_of(rounds)
    epochs = {settings["epochs"] for settings in found}
    assert min(epochs) == 1
    assert max(epochs) == 9
    longer = [settings["learning_rate"] for settings in found if settings["epochs"] > 1]
    shortest = [settings["learning_rate"] for settings in found if settings["epochs"] == 1]
    assert sum(longer) / len(longer) < sum(shortest) / len(shortest)


@pytest.mark.parametrize("search", ["grid", "random", "bayesian", "hyperband"])
def test_configurations_without_a_score_do_not_end_a_search(study: Make, search: str) -> None:
    space = {"depth": [1, 2, 3], "width": [1, 2, 3, 4, 5]}
    rounds = rounds_of(study(search=search, trials=15, space=space, epochs=4), lambda settings: None)
    assert len(all_of(rounds)) >= 8


def test_a_score_for_the_wrong_number_is_let_pass(study: Make) -> None:
    proposals = Proposals(study(space={"depth": [1, 2]}))
    proposals.ask()
    proposals.tell({77: 0.5, 0: 0.5, 1: None})
    assert proposals.ask() == {}


def test_a_builders_own_hyperparameters_are_found(study: Make) -> None:
    def declare(hp: Any) -> None:
        if hp.Choice("sort", ["deep", "wide"]) == "deep":
            hp.Int("layers", 1, 3)
        else:
            hp.Int("units", 4, 8, step=4)

    proposals = Proposals(study(model=declare_only), declare)
    found = list(proposals.ask().values())
    assert as_set([{name: one[name] for name in ("sort",)} for one in found]) == as_set(
        [{"sort": "deep"}, {"sort": "wide"}]
    )
    assert {one["layers"] for one in found if one["sort"] == "deep"} == {1, 2, 3}
    assert {one["units"] for one in found if one["sort"] == "wide"} == {4, 8}


def declare_only(hp: Any) -> None:
    """Stands where a study wants a builder."""
