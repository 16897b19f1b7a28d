"""Trials that end before their last epoch end where KerasTuner's do, with the scores and the models of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("backend_name")

Compare = Callable[..., tuple[Any, list[int]]]


def arrays() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 5)).astype("float32")
    return x, (x @ random.normal(size=(5, 3)) + random.normal(size=(60, 3))).argmax(axis=1)


def dense(units: int, seed: int, **more: Any) -> Any:
    import keras

    return keras.layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), **more)


def classifier(hp: Any) -> Any:
    import keras

    model = keras.Sequential([keras.Input((5,)), dense(6, 1, activation="relu"), dense(3, 2, activation="softmax")])
    rate = hp.Choice("rate", [0.3, 3.0])
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def explodes(hp: Any) -> Any:
    """Learns for some epochs of one batch each, and is not a number after them."""
    import keras

    model = keras.Sequential([keras.Input((5,)), dense(1, 1)])
    rates = keras.optimizers.schedules.PiecewiseConstantDecay([hp.Choice("sane", [2, 3])], [0.1, 1e25])
    model.compile(keras.optimizers.SGD(rates), "mse", metrics=["mae"])
    return model


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    def make(hypermodel: Any, objective: str = "val_loss", *, of: str = "kerasdl.tune", **more: Any) -> Any:
        import importlib

        kind = importlib.import_module(of).GridSearch
        return kind(hypermodel, objective, seed=5, directory=str(tmp_path), project_name=of, **more)

    return make


@pytest.fixture
def compare(make: Callable[..., Any]) -> Compare:
    """Searches by kerasdl's grid and by KerasTuner's.

    An epoch is one batch, so that the order of rows is of no account. Counts the epochs of each trial of KerasTuner's.
    """
    import keras

    counts: list[int] = []

    class Count(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            counts.append(0)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            counts[-1] = epoch + 1

    def compare(hypermodel: Any, objective: str, callbacks: list[Any], **more: Any) -> tuple[Any, list[int]]:
        x, y = arrays()
        found = []
        for of, own in (("kerasdl.tune", callbacks), ("keras_tuner", [*callbacks, Count()])):
            tuner = make(hypermodel, objective, of=of)
            held = (x[40:], y[40:])
            with np.errstate(all="ignore"):
                tuner.search(x[:40], y[:40], validation_data=held, batch_size=40, verbose=0, callbacks=own, **more)
            found.append(tuner)
        ours, theirs = found
        for mine, other in zip(trials(ours), trials(theirs), strict=True):
            np.testing.assert_allclose(mine.score, other.score, rtol=1e-4)
            assert (mine.status, mine.best_step) == (other.status, other.best_step)
            assert set(mine.metrics.metrics) == set(other.metrics.metrics)
        for mine, other in zip(ours.get_best_models(2), theirs.get_best_models(2), strict=True):
            for own, its in zip(mine.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_allclose(own, its, atol=1e-4)
        return ours, counts

    return compare


def trials(tuner: Any) -> list[Any]:
    return [tuner.oracle.trials[number] for number in sorted(tuner.oracle.trials)]


def epochs(tuner: Any) -> list[int]:
    with tuner.run as run:
        return list(run.trials()["epochs_done"])


def ways(tuner: Any) -> str:
    with tuner.run as run:
        return " ".join(run.trials()["how"])


@pytest.mark.parametrize(
    ("objective", "rule"),
    [
        ("val_loss", {"monitor": "val_loss", "patience": 1}),
        ("val_accuracy", {"monitor": "loss", "patience": 1, "min_delta": 0.05, "restore_best_weights": True}),
    ],
)
def test_early_stopping_in_packs_ends_where_it_does_in_fit(
    compare: Compare, objective: str, rule: dict[str, Any]
) -> None:
    import keras

    ours, counts = compare(classifier, objective, [keras.callbacks.EarlyStopping(**rule)], epochs=8)
    assert "alone, by" not in ways(ours)
    assert epochs(ours) == counts
    assert min(counts) < 8


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("least", [0.0, 0.25])
def test_the_rule_that_is_read_stops_every_curve_where_keras_does(mode: str, least: float) -> None:
    import keras

    from kerasdl.train.trial import Progress
    from kerasdl.tune.fit_arguments import read_callbacks

    class Model:
        stop_training = False

    random = np.random.default_rng(3)
    for patience in (0, 1, 2, 5):
        callback = keras.callbacks.EarlyStopping("own", min_delta=least, patience=patience, mode=mode)
        rule = read_callbacks([callback])
        for curve in random.integers(0, 8, size=(50, 12)) / 8:
            model, progress = Model(), Progress(rule)
            callback.set_model(model)
            callback.on_train_begin()
            for epoch, value in enumerate(curve):
                callback.on_epoch_end(epoch, {"own": float(value)})
                assert progress.update(epoch + 1, {"own": float(value)}, list) == model.stop_training
                if model.stop_training:
                    break


@pytest.mark.parametrize(
    ("monitor", "direction"),
    [("val_loss", "min"), ("val_accuracy", "max"), ("acc", "max"), ("val_mse", "min"), ("cosine_similarity", "max")],
)
def test_which_values_of_a_metric_are_better_is_known_as_to_keras(monitor: str, direction: str) -> None:
    import keras

    from kerasdl.tune.fit_arguments import read_callbacks

    rule = read_callbacks([keras.callbacks.EarlyStopping(monitor)])
    assert rule is not None
    assert rule.direction == direction


@pytest.mark.parametrize(
    ("rule", "reason"),
    [({"baseline": 0.1}, "baseline"), ({"start_from_epoch": 1}, "start_from_epoch"), ({"monitor": "val_f1"}, "mode")],
)
def test_what_no_pack_can_say_of_early_stopping_is_left_to_fit(rule: dict[str, Any], reason: str) -> None:
    import keras

    from kerasdl.tune.fit_arguments import NotPackable, read_callbacks

    with pytest.raises(NotPackable, match=reason):
        read_callbacks([keras.callbacks.EarlyStopping(**rule)])


def test_callbacks_but_for_plain_ones_are_left_to_fit() -> None:
    import keras

    from kerasdl.tune.fit_arguments import NotPackable, read_callbacks

    class Own(keras.callbacks.EarlyStopping):
        pass

    plain = keras.callbacks.EarlyStopping()
    assert read_callbacks([keras.callbacks.TerminateOnNaN()]) is None
    assert read_callbacks([plain, keras.callbacks.TerminateOnNaN()]) == read_callbacks([plain])
    for callbacks in ([Own()], [plain, plain], (plain,), [plain, keras.callbacks.ReduceLROnPlateau()]):
        with pytest.raises(NotPackable, match="callbacks"):
            read_callbacks(callbacks)


def test_a_metric_that_the_model_does_not_compute_is_told_by_keras(make: Callable[..., Any]) -> None:
    import keras

    tuner = make(classifier)
    missing = keras.callbacks.EarlyStopping("val_f1", mode="max")
    with pytest.warns(UserWarning, match="val_f1"):
        tuner.search(*arrays(), validation_split=0.2, epochs=2, batch_size=48, verbose=0, callbacks=[missing])
    assert [trial.status for trial in trials(tuner)] == ["COMPLETED"] * 2
    assert epochs(tuner) == [2, 2]
    assert ways(tuner).count("EarlyStopping watches val_f1, which the model does not compute") == 2


def test_a_trial_that_diverges_late_has_the_score_of_its_best_epoch_before(compare: Compare) -> None:
    import keras

    ours, _ = compare(explodes, "val_mae", [keras.callbacks.TerminateOnNaN()], epochs=6)
    assert max(trial.best_step for trial in trials(ours)) > 0
    assert epochs(ours) == [4, 5]
    with ours.run as run:
        rows = run.trials()
    assert list(rows["status"]) == ["diverged"] * 2
    np.testing.assert_allclose(rows["score"], [trial.score for trial in trials(ours)], rtol=1e-6)
    table = ours.results()
    assert list(table["diverged"]) == [1, 1]
    assert list(table["trial_id"]) == [trial.trial_id for trial in ours.oracle.get_best_trials(2)]
    np.testing.assert_allclose(table["mean"], [trial.score for trial in ours.oracle.get_best_trials(2)], rtol=1e-6)


def test_a_diverged_trial_is_the_same_in_a_pack_and_alone(make: Callable[..., Any]) -> None:
    import keras

    found = []
    for callbacks in ([], [keras.callbacks.Callback()]):
        tuner = make(explodes, overwrite=True)
        x, y = arrays()
        with np.errstate(all="ignore"):
            tuner.search(x, y, validation_split=0.2, batch_size=48, epochs=6, verbose=0, callbacks=callbacks)
        with tuner.run as run:
            found.append(run.trials()[["status", "score"]])
    assert "alone, by KerasTuner" in ways(tuner)
    assert list(found[0]["status"]) == list(found[1]["status"]) == ["diverged"] * 2
    np.testing.assert_allclose(found[0]["score"], found[1]["score"], rtol=1e-4)
