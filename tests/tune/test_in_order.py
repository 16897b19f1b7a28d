"""Trials of KerasTuner's tuners end in an order that does not depend on which pack is faster."""

from pathlib import Path
from typing import Any

import pytest

from kerasdl.train import Trial
from kerasdl.train.backends import current_backend
from kerasdl.train.seats import Member
from kerasdl.tune.executions import Course, Executions
from kerasdl.tune.in_order import InOrder
from kerasdl.tune.planner import Pack
from tests.tune.test_tuners import search, trials

pytestmark = pytest.mark.usefixtures("backend_name")


def executions(name: str, numbers: list[int], epochs: int) -> Executions:
    courses = [Course(Trial(number, 0, 0, lambda: None, epochs, 8), epochs=epochs) for number in numbers]
    trial: Any = name
    return Executions(trial, courses)


@pytest.fixture
def order() -> tuple[Any, ...]:
    """Two packs: of `a` (3 epochs), `b` (1 epoch) and half of `c`; of the other half and `d`."""
    a, b, c, d = (
        executions(name, numbers, epochs)
        for name, numbers, epochs in [("a", [0], 3), ("b", [1], 1), ("c", [2, 3], 2), ("d", [4], 1)]
    )
    by_number = {training.number: training for own in (a, b, c, d) for training in own.trainings}
    packs = [Pack(tuple(Member((by_number[i],)) for i in part), "pack") for part in ([0, 1, 2], [3, 4])]
    ended: list[str] = []
    later: set[str] = set()
    made = InOrder(
        packs, [a, b, c, d], lambda own: str(own.trial) not in later, lambda own: ended.append(str(own.trial))
    )
    return made, packs, (a, b, c, d), ended, later


def test_the_first_pack_ends_its_trials_as_it_trains(order: Any) -> None:
    made, packs, (a, b, c, d), ended, _ = order
    made.complete(b)
    assert ended == ["b"]
    made.complete(a)
    made.trained(packs[0])
    made.complete(d)
    made.complete(c)
    assert ended == ["b", "a", "d", "c"]


def test_a_faster_pack_waits_for_those_before_it(order: Any) -> None:
    made, packs, (a, b, c, d), ended, _ = order
    made.complete(d)
    made.trained(packs[1])
    made.complete(c)
    assert ended == []
    made.complete(b)
    made.complete(a)
    assert ended == ["b", "a"]
    made.trained(packs[0])
    assert ended == ["b", "a", "d", "c"]


def test_what_has_to_be_trained_again_ends_after_its_pack(order: Any) -> None:
    made, packs, (a, b, *_), ended, later = order
    later.add("b")
    made.complete(b)
    made.complete(a)
    assert ended == ["a"]
    made.trained(packs[0])
    assert ended == ["a", "b"]


@pytest.mark.parametrize("kind", ["GridSearch", "BayesianOptimization"])
def test_packs_side_by_side_leave_what_packs_in_turn_do(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    import kerasdl.tune

    def build(hp: Any) -> Any:
        units = [
            keras.layers.Dense(hp.Choice("units", [3, 4, 5]), activation="relu") for _ in range(hp.Int("depth", 1, 3))
        ]
        model = keras.Sequential([keras.Input((5,)), *units, keras.layers.Dense(3, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    most = current_backend().packs_at_once()
    if most < 2:
        pytest.skip("packs train one at a time here")
    found = []
    for width in (1, most):
        monkeypatch.setattr(current_backend(), "packs_at_once", lambda width=width: width)
        tuner = getattr(kerasdl.tune, kind)(
            build, objective="val_loss", max_trials=7, seed=5, directory=tmp_path, project_name=str(width)
        )
        search(tuner, epochs=3)
        found.append([(trial.trial_id, trial.hyperparameters.values, trial.score) for trial in trials(tuner)])
    assert [(name, values) for name, values, _ in found[0]] == [(name, values) for name, values, _ in found[1]]
    assert [score for *_, score in found[0]] == pytest.approx([score for *_, score in found[1]], rel=1e-5)
