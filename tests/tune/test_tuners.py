"""KerasTuner's tuners with packs: what they promise is kept, and a pack changes speed, never results."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

KINDS = ("GridSearch", "RandomSearch", "BayesianOptimization", "Hyperband")

pytestmark = pytest.mark.usefixtures("backend_name")

Make = Callable[..., Any]


def arrays(rows: int = 120) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 5)).astype("float32")
    return x, (x @ random.normal(size=(5, 3))).argmax(axis=1)


def network(units: int, rate: float, metrics: Any = ("accuracy",)) -> Any:
    import keras

    model = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(units, activation="relu"), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


def build(hp: Any) -> Any:
    return network(hp.Choice("units", [3, 4]), hp.Choice("rate", [0.05, 0.5]))


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a tuner of a small grid in an empty folder."""

    def make(kind: str = "GridSearch", hypermodel: Any = build, **more: Any) -> Any:
        import kerasdl.tune

        options = {"objective": "val_loss", "seed": 5, "directory": str(tmp_path), "project_name": "project", **more}
        return getattr(kerasdl.tune, kind)(hypermodel, **options)

    return make


def search(tuner: Any, **more: Any) -> None:
    x, y = arrays()
    tuner.search(x, y, **{"epochs": 2, "batch_size": 16, "validation_split": 0.25, "verbose": 0, **more})


def trials(tuner: Any) -> list[Any]:
    return list(tuner.oracle.trials.values())


def ways(tuner: Any) -> set[str]:
    with tuner.run as run:
        return set(run.trials()["how"])


@pytest.mark.parametrize("kind", KINDS)
def test_tuners_are_keras_tuners_own_and_take_its_arguments(kind: str, make: Make) -> None:
    import keras_tuner

    import kerasdl.tune

    ours, theirs = getattr(kerasdl.tune, kind), getattr(keras_tuner, kind)
    assert issubclass(ours, theirs)
    for name in (name for name in dir(theirs) if not name.startswith("_")):
        assert (
            set(inspect.signature(getattr(theirs, name)).parameters)
            <= set(inspect.signature(getattr(ours, name)).parameters)
            if callable(getattr(theirs, name))
            else hasattr(ours, name)
        )
    assert set(inspect.signature(theirs).parameters) <= set(inspect.signature(ours).parameters)
    assert isinstance(make(kind), theirs)


def test_importing_the_package_starts_no_backend() -> None:
    code = "import sys, kerasdl.tune; assert not {'keras', 'keras_tuner'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_trials_in_a_pack_score_as_they_do_one_by_one(make: Make) -> None:
    from kerasdl.train import EarlyStopping, Trial
    from kerasdl.train.alone import train_alone
    from kerasdl.train.seats import Member
    from kerasdl.tune.fit_arguments import read_arguments

    objective = "val_accuracy"
    tuner = make(objective=objective, executions_per_trial=2)
    search(tuner, epochs=3)
    assert ways(tuner) == {"pack of 4 on " + _backend()}
    dataset = read_arguments(arrays(), {"validation_split": 0.25}).dataset
    direction = tuner.oracle.objective.direction
    for trial in trials(tuner):
        scores = []
        for seed in (5, 6):
            outcomes: list[Any] = []
            rule = EarlyStopping(objective, direction, patience=99)
            alone = Trial(0, 0, seed, lambda trial=trial: build(trial.hyperparameters), 3, 16, rule)
            train_alone(Member((alone,)), dataset, _Keep(outcomes), "alone")
            scores.append(outcomes[0].logs[objective])
        assert trial.status == "COMPLETED"
        np.testing.assert_allclose(trial.score, np.mean(scores), rtol=1e-4)
    table = tuner.results()
    assert table.loc[0, "trial_id"] == tuner.oracle.get_best_trials(1)[0].trial_id
    np.testing.assert_allclose([np.mean(row) for row in table["scores"]], table["mean"])


class _Keep:
    def __init__(self, outcomes: list[Any]) -> None:
        self._outcomes = outcomes

    def started(self, *_: Any) -> None: ...

    def batch(self, *_: Any) -> None: ...

    def epoch(self, *_: Any) -> None: ...

    def finished(self, trial: Any, outcome: Any) -> None:
        self._outcomes.append(outcome)


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


@pytest.mark.parametrize("kind", KINDS)
def test_best_model_evaluates_to_the_reported_score(kind: str, make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"max_epochs": 3} if kind == "Hyperband" else {"max_trials": 4}
    tuner = make(kind, **more)
    x, y = arrays()
    search(tuner, validation_data=(x[:40], y[:40]), validation_split=0.0)
    best = tuner.oracle.get_best_trials(1)[0]
    model = tuner.get_best_models()[0]
    np.testing.assert_allclose(model.evaluate(x[:40], y[:40], verbose=0)[0], best.score, rtol=1e-4)
    assert tuner.get_best_hyperparameters()[0].values == best.hyperparameters.values
    tuner.results_summary()
    tuner.search_space_summary()
    assert "Results summary" in capsys.readouterr().out
    assert any("pack of" in way for way in ways(tuner))


def test_classes_objectives_and_multi_objectives_are_taken(make: Make) -> None:
    import keras_tuner

    class Model(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return build(hp)

    tuner = make("RandomSearch", Model(), objective=keras_tuner.Objective("val_accuracy", "max"), max_trials=2)
    search(tuner, epochs=1)
    assert {trial.status for trial in trials(tuner)} == {"COMPLETED"}
    tuner = make("RandomSearch", objective=["loss", "val_loss"], max_trials=2, overwrite=True)
    search(tuner, epochs=1)
    assert len(trials(tuner)) == 2
    for trial in trials(tuner):
        parts = [trial.metrics.get_last_value(name) for name in ("loss", "val_loss")]
        np.testing.assert_allclose(trial.score, sum(parts), rtol=1e-6)
    assert "several objectives" in ways(tuner).pop()


def test_adaptive_search_learns_between_packs(make: Make) -> None:
    tuner = make("RandomSearch", max_trials=3, pack=2)
    search(tuner, epochs=1)
    with tuner.run as run:
        assert run.rounds() == {0: [0, 1], 1: [2]}


def test_a_hypermodel_with_a_fit_of_its_own_may_vary_the_batch_size(make: Make) -> None:
    import keras_tuner

    class Model(keras_tuner.HyperModel):
        def build(self, hp: Any) -> Any:
            return network(3, hp.Choice("rate", [0.05, 0.5]))

        def fit(self, hp: Any, model: Any, *arguments: Any, **keywords: Any) -> Any:
            return model.fit(*arguments, batch_size=hp.Choice("batch", [16, 32]), **keywords)

    tuner = make(hypermodel=Model())
    x, y = arrays()
    tuner.search(x, y, epochs=1, validation_split=0.25, verbose=0)
    tried = [tuple(trial.hyperparameters.values.values()) for trial in trials(tuner)]
    assert sorted(tried) == [(0.05, 16), (0.05, 32), (0.5, 16), (0.5, 32)]
    assert "Model has a fit of its own" in ways(tuner).pop()
    np.testing.assert_allclose(
        sorted(trial.score for trial in trials(tuner)), sorted(tuner.results()["mean"]), rtol=1e-6
    )


def test_a_subclass_with_a_run_trial_of_its_own(tmp_path: Path) -> None:
    from kerasdl.tune import RandomSearch

    class Parabola(RandomSearch):
        def run_trial(self, trial: Any, *arguments: Any, **keywords: Any) -> float:
            return (trial.hyperparameters.Float("place", -1, 1) - 0.5) ** 2

    tuner = Parabola(max_trials=4, directory=str(tmp_path), project_name="project", seed=1)
    tuner.search(verbose=0)
    assert len(trials(tuner)) == 4
    assert "run_trial of its own" in ways(tuner).pop()
    assert tuner.results().iloc[0]["mean"] == tuner.oracle.get_best_trials(1)[0].score


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"shuffle": False}, "shuffle was given"), ({"steps_per_epoch": 2}, "steps_per_epoch was given")],
)
def test_what_only_fit_can_do_is_left_to_it(make: Make, more: dict[str, Any], reason: str) -> None:
    tuner = make("RandomSearch", max_trials=1)
    search(tuner, **more)
    assert trials(tuner)[0].status == "COMPLETED"
    assert reason in ways(tuner).pop()


def test_callbacks_reach_fit_and_loaders_are_taken(make: Make) -> None:
    import keras

    class Loader(keras.utils.PyDataset):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            x, y = arrays()
            return x[index::4], y[index::4]

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    tuner = make("RandomSearch", max_trials=1)
    search(tuner, epochs=50, callbacks=[Stop()])
    with tuner.run as run:
        assert len(run.curves()) == 2
    assert "callbacks holds Stop" in ways(tuner).pop()
    tuner = make("RandomSearch", max_trials=1, overwrite=True)
    tuner.search(Loader(), epochs=1, validation_data=Loader(), verbose=0)
    assert trials(tuner)[0].status == "COMPLETED"
    assert "x is no array but Loader" in ways(tuner).pop()


def test_metrics_without_a_name_of_their_own_keep_it_from_trial_to_trial(make: Make) -> None:
    import keras
    import keras_tuner

    def own(hp: Any) -> Any:
        model = network(3, hp.Choice("rate", [0.05, 0.5]))
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=[keras.metrics.SparseCategoricalAccuracy()])
        return model

    objective = keras_tuner.Objective("val_sparse_categorical_accuracy", "max")
    tuner = make(hypermodel=own, objective=objective)
    search(tuner)
    assert [trial.status for trial in trials(tuner)] == ["COMPLETED"] * 2


def test_a_model_that_cannot_be_packed_runs_alone_beside_those_that_can(make: Make) -> None:
    import keras

    class Own(keras.Model):
        def train_step(self, *arguments: Any) -> Any:
            return super().train_step(*arguments)

    def mixed(hp: Any) -> Any:
        model = network(3, hp.Choice("rate", [0.05, 0.1]))
        if hp.Boolean("own"):
            model = Own(model.inputs, model.outputs)
            model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    tuner = make(hypermodel=mixed)
    search(tuner)
    assert [trial.status for trial in trials(tuner)] == ["COMPLETED"] * 4
    assert {way.split(":")[0].split(" on ")[0] for way in ways(tuner)} == {"pack of 2", "alone, by KerasTuner"}
    assert tuner.get_best_models()


def test_the_run_tells_what_trials_shared(make: Make) -> None:
    from kerasdl.runs.sharing import shared_by

    def found(**more: Any) -> Any:
        tuner = make(overwrite=True)
        search(tuner, **more)
        with tuner.run as run:
            return shared_by(run.trials(), run.places())

    # Two widths, each with two rates that one program trains.
    packs = found()
    assert (packs.trials, packs.programs, packs.asked, packs.trained, packs.passes) == (4, 2, 8, 8, 4)
    alone = found(shuffle=False)
    assert (alone.trials, alone.programs, alone.asked, alone.trained, alone.passes) == (4, 4, 8, 8, 8)
