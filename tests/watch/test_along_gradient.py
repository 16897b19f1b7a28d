"""What is measured along the gradient, against softmax regression by hand in NumPy's float64."""

import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.train.conftest import CLASSES, make_dataset

keras = pytest.importorskip("keras")

RATE = 0.5


def by_hand(kernel: np.ndarray, bias: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    def loss_and_gradient(weights: np.ndarray, offset: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ weights + offset
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        wrong = (shares - np.eye(CLASSES)[y]) / len(x)
        return -np.log(shares[np.arange(len(x)), y]).mean(), np.concatenate([(x.T @ wrong).ravel(), wrong.sum(axis=0)])

    loss, gradient = loss_and_gradient(kernel, bias)
    losses, changes, smoothness = [loss], [], []
    for distance in (0.5, 1.0, 2.0, 4.0):
        step = distance * RATE * gradient
        there, other = loss_and_gradient(kernel - step[: kernel.size].reshape(kernel.shape), bias - step[kernel.size :])
        losses.append(there)
        changes.append(np.linalg.norm(other - gradient))
        smoothness.append(changes[-1] / np.linalg.norm(step))
    return {
        "training_loss": loss,
        "inference_loss": loss,
        "gradient_norm": np.linalg.norm(gradient),
        "loss_variation": max(losses) - min(losses),
        "gradient_change": max(changes),
        "effective_smoothness": max(smoothness),
    }


@pytest.fixture
def measured(backend_name: str) -> Any:
    """Trains members of a builder as a pack and gives what was measured by trial and epoch, and the first weights."""
    from kerasdl.train import Trial
    from kerasdl.train.alone import train_alone
    from kerasdl.train.building import build as build_trial
    from kerasdl.train.pack import PackTrainer
    from kerasdl.train.seats import Member
    from kerasdl.watch.trials import TrialWatch
    from tests.train.conftest import Recorder

    def train(build: Any, seeds: tuple[int, ...], epochs: int = 2, by_fit: bool = False) -> Any:
        dataset = make_dataset((6,), 200)
        trials = [Trial(seed, 0, seed, build, epochs, 50) for seed in seeds]
        found: dict[Any, dict[str, np.ndarray]] = {}

        def tell(epoch: int, names: Any, rows: Any) -> None:
            for trial, own in rows.items():
                found[trial, epoch] = dict(zip(names, own.T, strict=True))

        unmeasured: dict[int, str] = {}
        watch = TrialWatch(None, 1, None, tell, lambda numbers, why: unmeasured.update(dict.fromkeys(numbers, why)))
        members = [Member((trial,)) for trial in trials]
        recorder = Recorder()
        if by_fit:
            for member in members:
                train_alone(member, dataset, recorder, "alone", watch=watch)
        else:
            PackTrainer(members, dataset, recorder, watch=watch).run("together")
        weights = [build_trial(trial).get_weights() for trial in trials]
        return SimpleNamespace(
            found=found, dataset=dataset, weights=weights, unmeasured=unmeasured, outcomes=recorder.outcomes
        )

    return train


def linear() -> Any:
    outputs = keras.layers.Dense(CLASSES, activation="softmax", bias_initializer="glorot_normal", name="only")
    model = keras.Sequential([keras.Input((6,)), outputs])
    model.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy")
    return model


def test_measuring_is_no_part_of_an_epochs_seconds(measured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from kerasdl.train import pack

    hours = 0
    measure = pack.PackTrainer._measured

    def slowly(trainer: Any) -> Any:
        nonlocal hours
        hours += 1
        return measure(trainer)

    monkeypatch.setattr(pack, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + 3600 * hours))
    monkeypatch.setattr(pack.PackTrainer, "_measured", slowly)
    outcomes = measured(linear, (0,), epochs=2).outcomes
    assert hours == 3
    assert 0 < outcomes[0].seconds < 3600


def test_measures_before_training_are_those_by_hand(measured: Any) -> None:
    run = measured(linear, (0, 1))
    assert set(run.found) == {(trial, epoch) for trial in (0, 1) for epoch in (0, 1, 2)}
    for trial in (0, 1):
        kernel, bias = (weight.astype("float64") for weight in run.weights[trial])
        own = run.found[trial, 0]
        # Four batches of 50 rows each.
        for number in range(4):
            rows = slice(50 * number, 50 * (number + 1))
            x, y = run.dataset.train.x[rows].astype("float64"), run.dataset.train.y[rows]
            for name, value in by_hand(kernel, bias, x, y).items():
                np.testing.assert_allclose(own[name][number], value, rtol=2e-4, err_msg=name)
            logits = x @ kernel + bias
            shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(own["mean/only"][number], shares.mean(), rtol=1e-4)
            np.testing.assert_allclose(own["deviation/only"][number], shares.std(), rtol=1e-4)


def words(x: Any) -> Any:
    """Makes six numbers of a row six of five words, some of them several times."""
    return keras.ops.cast(keras.ops.clip(keras.ops.abs(x) * 2, 0, 4), "int32")


def embedded() -> Any:
    """Softmax regression on how often each word occurs."""
    inputs = keras.Input((6,))
    meaning = keras.layers.Embedding(5, CLASSES, name="words")(words(inputs))
    # A layer on zeros adds its bias alone.
    bias = keras.layers.Dense(CLASSES, bias_initializer="glorot_normal")(inputs * 0.0)
    model = keras.Model(inputs, keras.ops.softmax(keras.layers.GlobalAveragePooling1D()(meaning) + bias))
    model.compile(keras.optimizers.SGD(RATE), "sparse_categorical_crossentropy")
    return model


def test_words_that_occur_several_times_add_up(measured: Any) -> None:
    run = measured(embedded, (0, 1))
    for trial in (0, 1):
        table, bias = (w.astype("float64") for w in run.weights[trial] if w.shape in ((5, CLASSES), (CLASSES,)))
        for number in range(4):
            rows = slice(50 * number, 50 * (number + 1))
            own = keras.ops.convert_to_numpy(words(run.dataset.train.x[rows]))
            shares = np.stack([(own == word).mean(axis=1) for word in range(5)], axis=1)
            assert (shares > 0.4).any()
            for name, value in by_hand(table, bias, shares, run.dataset.train.y[rows]).items():
                np.testing.assert_allclose(run.found[trial, 0][name][number], value, rtol=2e-4, err_msg=name)


def test_training_and_inference_mode_differ_by_batch_normalization_alone(measured: Any) -> None:
    def normalized() -> Any:
        layers = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
        model = keras.Sequential([keras.Input((6,)), *layers, keras.layers.Dense(CLASSES, activation="softmax")])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        return model

    own = measured(normalized, (3, 4)).found
    before, own = own[3, 0], own[3, 2]
    assert (np.abs(own["training_loss"] - own["inference_loss"]) > 1e-4).all()
    # Before training gamma is one and beta zero.
    np.testing.assert_allclose(before["mean/batch_normalization"], 0, atol=1e-5)
    np.testing.assert_allclose(before["deviation/batch_normalization"], 1, atol=0.02)
    assert (own["mean/activation"] > 0).all()


def test_fit_measures_what_packs_measure(measured: Any) -> None:
    def scheduled() -> Any:
        hidden = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Activation("tanh")]
        model = keras.Sequential([keras.Input((6,)), *hidden, keras.layers.Dense(CLASSES, activation="softmax")])
        rate = keras.optimizers.schedules.ExponentialDecay(0.5, 4, 0.5)
        model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
        return model

    packed, alone = measured(scheduled, (5, 6)), measured(scheduled, (5, 6), by_fit=True)
    assert not alone.unmeasured
    assert set(alone.found) == set(packed.found) == {(trial, epoch) for trial in (5, 6) for epoch in (0, 1, 2)}
    for key, own in packed.found.items():
        for name, values in own.items():
            np.testing.assert_allclose(alone.found[key][name], values, rtol=2e-3, atol=1e-5, err_msg=f"{key} {name}")
    # Seeing changes nothing.
    for number, outcome in packed.outcomes.items():
        for one, other in zip(outcome.weights, alone.outcomes[number].weights, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


class OwnStep(keras.Model):
    """Trains as Keras does; who knows by what loss."""

    def train_step(self, *arguments: Any) -> Any:
        return super().train_step(*arguments)


def test_what_cannot_be_measured_is_trained_and_said(measured: Any) -> None:
    def own() -> Any:
        inputs = keras.Input((6,))
        model = OwnStep(inputs, keras.layers.Dense(CLASSES, activation="softmax")(inputs))
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        return model

    run = measured(own, (0,), by_fit=True)
    assert run.outcomes[0].status == "completed"
    assert not run.found
    assert "OwnStep has a train_step of its own" in run.unmeasured[0]


@pytest.mark.slow
def test_the_comparison_of_arms_pairs_seeds_and_names_what_is_missing(backend_name: str, tmp_path: Any) -> None:
    from kerasdl.errors import UserError
    from kerasdl.tune import Study
    from kerasdl.watch import compare_batch_norm

    found = compare_batch_norm(
        "mlp",
        "digits",
        learning_rates=(0.05, 0.5),
        repeats=2,
        epochs=2,
        fixed={"depth": 2, "width": 8},
        directory=tmp_path / "run",
        progress=False,
    )
    table = found.table().set_index("quantity")
    assert {"final training accuracy", "final validation accuracy", "final test accuracy"} <= set(table.index)
    trials = found.run.trials()
    best = found.learning_rates().query("best").set_index("batch_norm")["learning_rate"]
    for arm, column in ((False, "off"), (True, "on")):
        own = trials[(trials["batch_norm"] == arm) & (trials["learning_rate"] == best[arm])]
        assert table.loc["final validation accuracy", column] == pytest.approx(own["score"].mean())
    rows = table.loc["final validation accuracy"]
    assert rows["difference"] == pytest.approx(rows["on"] - rows["off"])
    assert rows["low"] < rows["difference"] < rows["high"]
    measures = found.run.measures()
    assert set(measures["epoch"]) == {0, 1, 2}
    assert np.isfinite(measures["effective_smoothness"]).all()
    page = found.report().read_text(encoding="utf-8")
    assert "effective smoothness" in page
    found.run.close()
    with pytest.raises(UserError, match="does not vary learning_rate; name them in its space"):
        compare_batch_norm(Study(data="digits", model="mlp", space={"batch_norm": [False, True]}))
    with pytest.raises(UserError, match="no data"):
        compare_batch_norm("mlp")
