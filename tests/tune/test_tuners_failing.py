"""Tuners when things go wrong: trials diverge, fail, are killed, and every one is there exactly once at the end."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("backend_name")

Make = Callable[..., Any]

RATES = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def line(rate: float) -> Any:
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(hypermodel: Any, kind: str = "GridSearch", **more: Any) -> Any:
        import kerasdl.tune

        options = {"objective": "val_loss", "seed": 5, "directory": str(tmp_path), "project_name": "project", **more}
        return getattr(kerasdl.tune, kind)(hypermodel, **options)

    return make


def search(tuner: Any, **more: Any) -> None:
    tuner.search(*arrays(), **{"epochs": 2, "validation_split": 0.25, "verbose": 0, **more})


def statuses(tuner: Any) -> list[str]:
    return [trial.status for trial in tuner.oracle.trials.values()]


def rates(tuner: Any) -> list[float]:
    return [trial.hyperparameters.values["rate"] for trial in tuner.oracle.trials.values()]


@pytest.mark.parametrize("packed", [True, False])
def test_no_number_of_diverged_trials_ends_a_search(make: Make, packed: bool) -> None:
    import keras

    huge = [1e18, 2e18, 3e18, 4e18, 5e18]
    tuner = make(lambda hp: line(hp.Choice("rate", [*huge, 0.01])))
    callbacks = None if packed else [keras.callbacks.Callback()]
    with np.errstate(all="ignore"):
        search(tuner, epochs=2, batch_size=4, callbacks=callbacks)
    assert statuses(tuner) == ["FAILED"] * 5 + ["COMPLETED"]
    assert {trial.score for trial in list(tuner.oracle.trials.values())[:5]} == {None}
    assert tuner.get_best_hyperparameters()[0].values == {"rate": 0.01}
    tuner.results_summary()
    table = tuner.results()
    assert list(table["diverged"]) == [0, 1, 1, 1, 1, 1]


def test_errors_in_a_row_end_a_search_and_others_do_not(make: Make) -> None:
    def build(hp: Any) -> Any:
        rate = hp.Choice("rate", RATES)
        if rate in bad:
            raise ValueError("no such line")
        return line(rate)

    bad: set[float] = set()
    tuner = make(build)
    bad |= {0.01, 0.02, 0.04, 0.05, 0.07}
    search(tuner)
    assert statuses(tuner) == ["FAILED", "FAILED", "COMPLETED", "FAILED", "FAILED", "COMPLETED", "FAILED"]
    assert "no such line" in tuner.oracle.trials["0000"].message
    assert list(tuner.results()["failed"]) == [0, 0, 1, 1, 1, 1, 1]
    bad.clear()
    tuner = make(build, overwrite=True)
    bad |= {0.02, 0.03, 0.04}
    with pytest.raises(RuntimeError, match="consecutive failures exceeded the limit of 3"):
        search(tuner)


def test_an_objective_that_is_not_computed_is_told_as_keras_tuner_does(make: Make) -> None:
    import keras_tuner

    tuner = make(lambda hp: line(hp.Choice("rate", RATES)), objective=keras_tuner.Objective("val_acc", "max"))
    with pytest.raises(RuntimeError, match="val_acc"):
        search(tuner)


def test_no_model_is_fatal_and_a_large_one_fails(make: Make) -> None:
    import keras_tuner

    whole: dict[str, bool] = {"yes": True}
    tuner = make(lambda hp: line(hp.Choice("rate", RATES)) if whole else "no model")
    whole.clear()
    with pytest.raises(keras_tuner.errors.FatalTypeError):
        search(tuner)
    tuner = make(lambda hp: line(hp.Choice("rate", [0.1, 0.2])), max_model_size=1, overwrite=True)
    search(tuner)
    assert statuses(tuner) == ["FAILED", "FAILED"]


def test_a_retry_takes_another_seed(make: Make) -> None:
    tuner = make(lambda hp: line(hp.Choice("rate", [1e18])), max_retries_per_trial=2)
    with np.errstate(all="ignore"):
        search(tuner, epochs=8)
    assert statuses(tuner) == ["FAILED"]
    with tuner.run as run:
        assert list(run.trials()["seed"]) == [5, 6, 7]


def test_a_finished_search_reloads_and_overwrite_starts_anew(make: Make) -> None:
    tuner = make(lambda hp: line(hp.Choice("rate", RATES)))
    search(tuner)
    best = tuner.oracle.get_best_trials(1)[0]
    again = make(lambda hp: line(hp.Choice("rate", RATES)))
    assert again.oracle.get_best_trials(1)[0].score == best.score
    search(again)
    assert rates(again) == RATES
    assert len(make(lambda hp: line(0.1), overwrite=True).oracle.trials) == 0


def test_an_interrupted_grid_resumes_with_the_combinations_that_are_left(make: Make) -> None:
    def build(hp: Any) -> Any:
        hp.Choice("other", [0, 1, 2])
        return line(hp.Choice("rate", RATES[:3]))

    tuner = make(build, pack=2)
    ended: list[str] = []
    end = tuner.oracle.end_trial

    def interrupt(trial: Any) -> None:
        end(trial)
        ended.append(trial.trial_id)
        if len(ended) == 3:
            raise KeyboardInterrupt

    tuner.oracle.end_trial = interrupt
    with pytest.raises(KeyboardInterrupt):
        search(tuner)
    again = make(build, pack=4)
    search(again)
    tried = [tuple(trial.hyperparameters.values.values()) for trial in again.oracle.trials.values()]
    assert len(tried) == len(set(tried)) == 9
    assert sorted(again.oracle.end_order) == sorted(again.oracle.trials)
    assert statuses(again) == ["COMPLETED"] * 9
    with again.run as run:
        assert len(run.trials()) == 9


SCRIPT = """
    import sys, time
    import numpy as np
    import keras
    from kerasdl.tune import GridSearch

    def build(hp):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(hp.Choice("rate", {rates})), "mse")
        return model

    class Slow(GridSearch):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            time.sleep({pause})

    x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    tuner = Slow(build, objective="val_loss", seed=5, directory=sys.argv[1], project_name="project", pack=3)
    tuner.search(x, x.sum(axis=1, keepdims=True), epochs=2, validation_split=0.25, verbose=0)
"""


def test_a_killed_grid_covers_every_combination_exactly_once(tmp_path: Path, make: Make) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT.format(rates=RATES, pause=0.3)))
    import kerasdl

    place = str(Path(kerasdl.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([place, os.environ.get("PYTHONPATH", "")])}
    process = subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=environment)
    state = tmp_path / "project" / "oracle.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if state.exists() and len(json.loads(state.read_text())["end_order"]) >= 4:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    tuner = make(lambda hp: line(hp.Choice("rate", RATES)))
    before = list(tuner.oracle.end_order)
    assert 4 <= len(before) < len(RATES)
    search(tuner)
    assert rates(tuner) == RATES
    assert statuses(tuner) == ["COMPLETED"] * len(RATES)
    assert sorted(tuner.oracle.end_order) == sorted(tuner.oracle.trials)
    for trial in tuner.oracle.trials.values():
        assert [len(one.value) for one in trial.metrics.get_history("val_loss")] == [1]
    with tuner.run as run:
        assert list(run.trials()["configuration"]) == list(range(len(RATES)))
        assert set(run.trials()["status"]) == {"completed"}
