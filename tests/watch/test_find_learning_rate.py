"""The range test trains what it says it trains, suggests by its rules, and leaves nothing changed."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.data import Dataset, Scaling, Split
from kerasdl.errors import UserError

ROWS, BATCH = 200, 16


@pytest.fixture
def watch(backend_name: str) -> SimpleNamespace:
    from kerasdl.watch import range_test
    from kerasdl.watch.range_test import suggestions, sweep

    return SimpleNamespace(find=range_test.find_learning_rate, suggestions=suggestions, sweep=sweep)


@pytest.fixture
def data() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 6)).astype("float32")
    return x, (x @ generator.normal(size=(6, 4))).argmax(axis=1).astype("int64")


def build(optimizer: Any, layers: tuple[Any, ...] = (), **compile: Any) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    middle = [keras.layers.Dense(12, activation="tanh"), *layers]
    model = keras.Sequential([keras.Input((6,)), *middle, keras.layers.Dense(4, activation="softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", **compile)
    return model


def variables(model: Any) -> list[Any]:
    return [*model.variables, *model.metrics_variables, *model.optimizer.variables]


def state(model: Any) -> list[np.ndarray]:
    import keras

    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables(model)]


def drawn() -> list[Any]:
    """What every random state would give next, without drawing."""
    found: list[Any] = [random.getstate(), *np.random.get_state()]
    if "torch" in sys.modules:
        found.append(sys.modules["torch"].get_rng_state().numpy())
    return found


def assert_same(before: list[Any], after: list[Any]) -> None:
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        np.testing.assert_equal(one, other)


def learning_rate(model: Any) -> float:
    import keras

    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def test_each_batch_is_trained_with_its_own_rate(watch: SimpleNamespace, data: Any) -> None:
    import keras

    from kerasdl.watch.range_test.batches import ShuffledRows

    model = build(keras.optimizers.SGD(0.5, momentum=0.9))
    found = watch.find(model, data, batch_size=BATCH, start=1e-4, end=1.0, steps=30, seed=3)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-4, 1.0, 30), rtol=1e-6)

    batches = ShuffledRows(data, BATCH, 3)
    losses = []
    for index, rate in enumerate(np.geomspace(1e-4, 1.0, 30)):
        model.optimizer.learning_rate = float(rate)
        losses.append(float(model.train_on_batch(*batches[index % len(batches)])))
    np.testing.assert_allclose(found.losses, losses, rtol=2e-4)

    weights = 0.98 ** np.arange(30)[::-1] * 0.02
    smoothed = [np.dot(weights[-n:], found.losses[:n]) / weights[-n:].sum() for n in range(1, 31)]
    np.testing.assert_allclose(found.smoothed, smoothed, rtol=1e-9)
    assert found.ending.startswith("reached the highest learning rate")


def test_suggestions_follow_their_rules(watch: SimpleNamespace) -> None:
    rates = np.geomspace(1e-6, 10, 80)
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=80) * 0.02
        losses = 2 - 1.5 / (1 + np.exp(-3 * (np.log10(rates) + 2))) + (rates > 1) * rates + noise
        found = watch.suggestions.suggest(rates, losses)
        slopes = [
            (losses[i + 1] - losses[i]) / (np.log(rates[i + 1]) - np.log(rates[i])) for i in range(len(rates) - 1)
        ]
        assert found["steepest"] == rates[slopes.index(min(slopes))]
        assert found["minimum / 10"] == pytest.approx(rates[list(losses).index(min(losses))] / 10)
        assert found["valley"] == pytest.approx(fastai_valley(list(rates), list(losses)))
    assert watch.suggestions.suggest(rates, np.linspace(1, 2, 80)) == {}


def fastai_valley(rates: list[float], losses: list[float]) -> float:
    """The rule as its authors state it: the longest falling subsequence, and a point at half its second third."""
    longest = [1] * len(losses)
    for i in range(len(losses)):
        for j in range(i):
            if losses[i] < losses[j]:
                longest[i] = max(longest[i], longest[j] + 1)
    end = longest.index(max(longest))
    start = end - longest[end]
    third = (end - start) / 3
    return rates[start + int(third) + int(third / 2)]


def test_nothing_is_changed_and_training_goes_on_alike(watch: SimpleNamespace, data: Any) -> None:
    import keras

    layers = lambda: (keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=5))  # noqa: E731
    optimizers = {
        "number": lambda: keras.optimizers.Adam(0.01, clipnorm=1.0),
        "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), 0.9),
    }
    for kind, optimizer in optimizers.items():
        model = build(optimizer(), layers())
        train = lambda model=model: model.fit(*data, batch_size=BATCH, epochs=1, shuffle=False, verbose=0)  # noqa: E731
        train()
        before, dice, rate, schedule = state(model), drawn(), learning_rate(model), model.optimizer._learning_rate
        history = model.history
        found = watch.find(model, data, batch_size=BATCH, end=1.0, steps=20)
        assert found.rates[-1] == pytest.approx(1.0, rel=1e-5)
        assert_same(before, state(model))
        assert_same(dice, drawn())
        assert learning_rate(model) == rate
        assert model.optimizer._learning_rate is schedule, kind
        assert model.history is history
        train()
        after = state(model)
        for variable, value in zip(variables(model), before, strict=True):
            variable.assign(value)
        train()
        assert_same(after, state(model))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_test_gives_everything_back(watch: SimpleNamespace, data: Any, error: Any) -> None:
    import keras

    model = build(keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), 0.9))
    model.fit(*data, batch_size=100, verbose=0)
    before, dice, schedule, train = state(model), drawn(), model.optimizer._learning_rate, model.train_function
    batches, reset = iter(range(7)), model.reset_metrics

    def failing() -> None:
        if next(batches, None) is None:
            raise error("in the middle")
        reset()

    object.__setattr__(model, "reset_metrics", failing)
    with pytest.raises(error, match="in the middle"):
        watch.find(model, data, start=0.1)
    object.__delattr__(model, "reset_metrics")
    assert_same(before, state(model))
    assert_same(dice, drawn())
    assert model.optimizer._learning_rate is schedule
    assert model.train_function is train


def test_data_may_have_any_form_that_fit_takes(watch: SimpleNamespace, data: Any, backend_name: str) -> None:
    import keras

    from kerasdl.watch.range_test.batches import ShuffledRows

    x, y = data
    split = Split(x, y)
    scaling = Scaling(np.zeros(6, "float32"), np.ones(6, "float32"))
    names = tuple("abcd")
    dataset = Dataset("made", split, split, split, names, (), scaling, "made by the test", "none", "0")

    def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield x[:BATCH], y[:BATCH]

    forms: list[Any] = [
        (x, y),
        [x, y, np.ones(ROWS, "float32")],
        (keras.ops.convert_to_tensor(x), keras.ops.convert_to_tensor(y)),
        dataset,
        ShuffledRows((x, y), BATCH, 0),
        endless(),
    ]
    if backend_name == "tensorflow":
        import tensorflow as tf

        forms.append(tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH))
    if backend_name == "torch":
        import torch

        rows = torch.utils.data.TensorDataset(torch.tensor(x), torch.tensor(y))
        forms.append(torch.utils.data.DataLoader(rows, batch_size=BATCH, shuffle=True))
    model = build(keras.optimizers.SGD())
    for form in forms:
        dice = drawn()
        arrays = isinstance(form, tuple | list | Dataset)
        found = watch.find(model, form, batch_size=BATCH if arrays else None, start=1e-3, end=1.0, steps=20)
        assert len(found.rates) == 20
        assert set(found.suggestions) <= {"steepest", "valley", "minimum / 10"}
        assert_same(dice, drawn())
    # Arrays, tensors and a data set are the same rows in the same order.
    same = [
        watch.find(model, form, batch_size=BATCH, end=1.0, steps=20).losses for form in (forms[0], forms[2], dataset)
    ]
    np.testing.assert_array_equal(same[0], same[1])
    np.testing.assert_array_equal(same[0], same[2])


def test_a_model_that_is_not_built_and_takes_several_inputs(watch: SimpleNamespace, data: Any) -> None:
    import keras

    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = keras.layers.Dense(8, activation="relu"), keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            return self.last(self.first(keras.ops.concatenate([inputs["a"], inputs["b"]], axis=-1)))

    x, y = data
    model = Two()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(), loss, metrics=["accuracy"])
    inputs = {"a": x[:, :4], "b": x[:, 4:]}
    first = watch.find(model, (inputs, y), start=1e-3, steps=30)
    again = watch.find(model, (inputs, y), start=1e-3, steps=30)
    np.testing.assert_array_equal(first.losses, again.losses)
    assert [variable.shape for variable in model.weights] == [(6, 8), (8,), (8, 4), (4,)]


def test_it_ends_where_the_loss_diverges(watch: SimpleNamespace, data: Any, tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(), "mean_squared_error")
    target = data[0].sum(axis=1, keepdims=True)
    found = watch.find(model, (data[0], target), batch_size=ROWS, start=1e-4, end=1e4, steps=60)
    assert "diverged" in found.ending
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 60
    least = found.smoothed.min()
    assert found.smoothed[-1] > 4 * least
    assert (found.smoothed[:-1] <= 4 * np.minimum.accumulate(found.smoothed[:-1])).all()
    # Gradient descent on this quadratic diverges above 2 over the largest curvature.
    curvature = 2 * np.linalg.eigvalsh(np.cov(data[0].T)).max()
    assert all(1e-3 < found.suggestions[name] < 2 / curvature for name in ("valley", "minimum / 10"))
    assert 1e-3 < found.suggestions["steepest"] < found.rates[-1]
    assert list(found.table().columns) == ["learning_rate", "loss", "smoothed"]
    assert f"{found.suggestions['valley']:.2e}" in str(found)

    figure = found.figure(tmp_path / "rates.png")
    assert (tmp_path / "rates.png").stat().st_size > 5000
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_xscale()) == ("learning rate", "training loss", "log")
    with pytest.raises(UserError, match="already there"):
        found.figure(tmp_path / "rates.png")
    with pytest.raises(UserError, match="cannot be written"):
        found.figure(tmp_path / "rates.nothing")


def test_a_loss_below_zero_does_not_end_it(watch: SimpleNamespace) -> None:
    sweep = watch.sweep.Sweep(np.geomspace(1e-3, 1, 20), 0.5, 4.0)
    model = SimpleNamespace(stop_training=False)
    sweep.set_model(model)
    sweep._rate = 0.1
    for loss in (-1.0, -1.1, -1.2, -0.9, 0.5):
        sweep.on_train_batch_end(0, {"loss": loss})
        assert not model.stop_training
    for _ in range(5):
        sweep.on_train_batch_end(0, {"loss": 9.0})
    assert model.stop_training
    assert "diverged" in sweep.ending


def test_what_cannot_be_is_told_in_one_line(watch: SimpleNamespace, data: Any) -> None:
    import keras

    x, y = data
    model = build(keras.optimizers.SGD())
    raw = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    frozen = build(keras.optimizers.SGD())
    frozen.trainable = False
    line = keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)])
    line.compile(keras.optimizers.SGD(), "mean_squared_error")
    spoilt = np.full_like(x, np.nan)
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: watch.find(raw, data), "is not compiled; call model.compile"),
        (lambda: watch.find("model", data), "a str is no Keras model"),
        (lambda: watch.find(frozen, data), "has no trainable weights"),
        (lambda: watch.find(model, "digits"), "a str cannot be trained on"),
        (lambda: watch.find(model, (x, y[:-1])), "the arrays have 200, 199 rows"),
        (lambda: watch.find(model, (x[:0], y[:0])), "have no rows"),
        (lambda: watch.find(model, data, steps=5), "steps: 5 is not a whole number of at least 20"),
        (lambda: watch.find(model, data, start=1.0, end=0.1), "start (1) must be below end (0.1)"),
        (lambda: watch.find(model, data, start=0), "start: 0 is not a learning rate"),
        (lambda: watch.find(model, data, smoothing=1.0), "smoothing: 1.0"),
        (lambda: watch.find(model, data, batch_size=0), "batch_size: 0"),
        (lambda: watch.find(model, iter([(x, y)]), batch_size=3), "has batches of its own"),
        (lambda: watch.find(model, iter([(x[:9], y[:9])] * 12)), "the data ended after 12 batches, of 100 wanted"),
        (lambda: watch.find(model, (spoilt, y)), "the loss of the first batch is not finite"),
        (lambda: watch.find(line, data, start=1e2, end=1e9), "too few to suggest one; give a start far below 100"),
    ]
    for call, words in cases:
        before = state(model) if model.optimizer.built else None
        with pytest.raises(UserError) as raised:
            call()
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
        if before is not None:
            assert_same(before, state(model))
