"""What KerasTuner's guides show, with the import changed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("backend_name")

Make = Callable[..., Any]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 5)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def dense(units: int, seed: int = 0, **more: Any) -> Any:
    import keras

    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), **more)


def build(hp: Any) -> Any:
    """As in "Getting started": layers by number, each with units of its own, and no input."""
    import keras

    model = keras.Sequential()
    for layer in range(hp.Int("layers", 1, 2)):
        model.add(dense(hp.Int(f"units_{layer}", 2, 6, step=2), layer, activation="relu"))
    model.add(dense(1, 9))
    rate = hp.Float("rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.SGD(rate), "mse", metrics=["mae"])
    return model


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(kind: str, *arguments: Any, of: str = "kerasdl.tune", **more: Any) -> Any:
        import importlib

        options = {"seed": 5, "directory": str(tmp_path), "project_name": f"{of}.{kind}", **more}
        return getattr(importlib.import_module(of), kind)(*arguments, **options)

    return make


def search(tuner: Any, **more: Any) -> None:
    tuner.search(*arrays(), **{"epochs": 2, "batch_size": 32, "validation_split": 0.2, "verbose": 0, **more})


def tried(tuner: Any) -> list[dict[str, Any]]:
    return [tuner.oracle.trials[number].hyperparameters.values for number in tuner.oracle.start_order]


def scores(tuner: Any) -> list[float]:
    return [tuner.oracle.trials[number].score for number in tuner.oracle.start_order]


def ways(tuner: Any) -> str:
    with tuner.run as run:
        return " ".join(run.trials()["how"])


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        pytest.param("RandomSearch", {"max_trials": 5}, marks=pytest.mark.slow),
        ("BayesianOptimization", {"max_trials": 5, "num_initial_points": 3}),
    ],
)
def test_the_same_seed_tries_what_keras_tuner_tries_and_scores_it_the_same(
    kind: str, more: dict[str, Any], make: Make
) -> None:
    # Random search learns nothing from scores, so that trials asked together are those asked one by one.
    pack = {"pack": 1} if kind == "BayesianOptimization" else {}
    ours, theirs = (
        make(kind, build, "val_loss", **more, **pack),
        make(kind, build, "val_loss", of="keras_tuner", **more),
    )
    for tuner in (ours, theirs):
        search(tuner)
    assert tried(ours) == tried(theirs)
    np.testing.assert_allclose(scores(ours), scores(theirs), rtol=1e-4)
    assert any("units_1" in values for values in tried(ours))
    assert "by KerasTuner" not in ways(ours)


@pytest.mark.parametrize("pack", [1, 3, 32])
def test_a_grid_finds_hyperparameters_inside_conditions(pack: int, make: Make) -> None:
    import keras
    import keras_tuner

    def branching(hp: Any) -> Any:
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
        if hp.Boolean("more"):
            hp.Choice("how_much", ["a little", "a lot"])
        with hp.conditional_scope("more", [True]):
            hp.Choice("scoped", [1, 2])
        model.compile(keras.optimizers.SGD(hp.Choice("rate", [0.01, 0.02])), "mse")
        return model

    class BuildsAlone(keras_tuner.GridSearch):
        def run_trial(self, trial: Any, *_: Any, **__: Any) -> float:
            self.hypermodel.build(trial.hyperparameters)
            return 0.0

    theirs = BuildsAlone(branching, directory=make("GridSearch", branching, "val_loss").directory, project_name="their")
    theirs.search(verbose=0)
    ours = make("GridSearch", branching, "val_loss", pack=pack, overwrite=True)
    search(ours, epochs=1)
    as_text = [sorted(str(sorted(values.items())) for values in tried(tuner)) for tuner in (ours, theirs)]
    assert as_text[0] == as_text[1]
    assert len(as_text[0]) > 6


def test_getting_started(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    import keras_tuner

    build(keras_tuner.HyperParameters())
    tuner = make("RandomSearch", hypermodel=build, objective="val_mae", max_trials=3, executions_per_trial=2)
    tuner.search_space_summary()
    search(tuner, verbose=1)
    tuner.results_summary()
    shown = capsys.readouterr().out
    assert all(
        text in shown for text in ("units_0 (Int)", "Running Trial #3", "Best val_mae So Far", "Trial 2 summary")
    )
    best, second = tuner.get_best_models(num_models=2)
    x, y = arrays()
    losses = [model.evaluate(x[32:], y[32:], verbose=0)[1] for model in (best, second)]
    assert losses[0] <= losses[1]
    again = tuner.hypermodel.build(tuner.get_best_hyperparameters(5)[0])
    again.fit(x, y, verbose=0)
    assert tuner.remaining_trials == 0


def test_a_training_loop_of_ones_own(make: Make) -> None:
    import keras
    import keras_tuner

    class Loop(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            inputs = keras.Input((5,))
            return keras.Model(inputs, dense(1)(dense(hp.Int("units", 2, 4, 2))(inputs)))

        def fit(self, hp: Any, model: Any, x: Any, y: Any, validation_data: Any, callbacks: Any = None) -> float:
            model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-2)), "mse")
            for callback in callbacks:
                callback.set_model(model)
            losses = []
            for epoch in range(2):
                model.train_on_batch(x, y)
                losses.append(float(model.evaluate(*validation_data, verbose=0)))
                for callback in callbacks:
                    callback.on_epoch_end(epoch, logs={"own": losses[-1]})
            return min(losses)

    tuner = make("RandomSearch", hypermodel=Loop(), objective=keras_tuner.Objective("own", "min"), max_trials=2)
    x, y = arrays()
    tuner.search(x=x, y=y, validation_data=(x[:8], y[:8]))
    table = tuner.results()
    assert list(table["mean"]) == sorted(scores(tuner))
    model = tuner.get_best_models()[0]
    model.compile(loss="mse")
    np.testing.assert_allclose(model.evaluate(x[:8], y[:8], verbose=0), table.loc[0, "mean"], rtol=1e-4)


def test_a_run_trial_that_passes_arguments_on(tmp_path: Path) -> None:
    from kerasdl.tune import BayesianOptimization

    class Own(BayesianOptimization):
        def run_trial(self, trial: Any, *arguments: Any, **keywords: Any) -> Any:
            keywords["batch_size"] = trial.hyperparameters.Choice("batch_size", [16, 32])
            keywords["epochs"] = trial.hyperparameters.Int("epochs", 1, 2)
            return super().run_trial(trial, *arguments, **keywords)

    tuner = Own(build, "val_loss", max_trials=2, seed=5, directory=str(tmp_path))
    x, y = arrays()
    tuner.search(x, y, validation_split=0.2, verbose=0)
    assert all({"batch_size", "epochs"} <= set(values) for values in tried(tuner))
    with tuner.run as run:
        done = run.trials().set_index("configuration")
    assert list(done["epochs_done"]) == [values["epochs"] for values in tried(tuner)]


def test_tailoring_the_search_space(make: Make) -> None:
    import keras
    import keras_tuner

    few = keras_tuner.HyperParameters()
    few.Choice("units_0", [3, 5])
    few.Fixed("rate", 0.05)
    tuner = make(
        "GridSearch",
        hypermodel=build,
        hyperparameters=few,
        tune_new_entries=False,
        optimizer=keras.optimizers.Adam(0.02),
        loss="mae",
        metrics=["mse"],
        objective="val_mse",
    )
    search(tuner)
    # As in KerasTuner, what is not tuned stands in the values with its default.
    assert tried(tuner) == [{"units_0": units, "rate": 0.05, "layers": 1} for units in (3, 5)]
    model = tuner.get_best_models()[0]
    assert isinstance(model.optimizer, keras.optimizers.Adam)
    assert model.loss == "mae"
    with pytest.raises(RuntimeError, match="found new entries"):
        make("RandomSearch", build, "val_loss", hyperparameters=few, allow_new_entries=False, max_trials=1)


def test_trials_that_fail_by_chance_are_tried_again_and_large_ones_are_not(make: Make) -> None:
    import keras_tuner

    built: list[dict[str, Any]] = []

    def flaky(hp: Any) -> Any:
        model = build(hp)
        # The very first shows the tuner what there is to be tuned.
        first = bool(built) and hp.values not in built[1:]
        built.append(dict(hp.values))
        if hp.values["layers"] == 2:
            raise keras_tuner.errors.FailedTrialError("Model too large!")
        if first:
            raise ValueError("by chance")
        return model

    tuner = make("RandomSearch", flaky, "val_loss", max_trials=5, max_retries_per_trial=5)
    search(tuner, epochs=1)
    found = {values["layers"]: set() for values in tried(tuner)}
    for trial in tuner.oracle.trials.values():
        found[trial.hyperparameters.values["layers"]].add(trial.status)
    assert found == {1: {"COMPLETED"}, 2: {"FAILED"}}


def test_a_search_goes_on_with_more_trials(make: Make) -> None:
    tuner = make("RandomSearch", build, "val_loss", max_trials=2)
    search(tuner)
    best = tuner.get_best_hyperparameters()[0].values
    tuner = make("RandomSearch", build, "val_loss", max_trials=3)
    assert tuner.remaining_trials == 1
    tuner.reload()
    assert tuner.get_best_hyperparameters()[0].values == best
    search(tuner)
    assert len(tuner.results()) == 3
    with tuner.run as run:
        assert run.finished
