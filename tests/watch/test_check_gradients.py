"""Right gradients pass, wrong ones are caught, kinks are neither; on every backend, and nothing is changed by it."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError

# Relative differences of a two-layer network (ReLU, softmax, cross-entropy and L2; 20 inputs, 100 rows) that a course
# report published for its own hand-written gradients.
PUBLISHED = {"W1": 4.0415370017064554e-07, "b1": 3.12e-07, "W2": 3.76e-07, "b2": 2.33e-07}


@pytest.fixture
def gradients(backend_name: str) -> SimpleNamespace:
    from kerasdl.watch import gradient_check
    from kerasdl.watch.gradient_check import differences, sampling

    return SimpleNamespace(
        check=gradient_check.check_gradients, slopes=differences.slopes, sample=sampling.sample, module=gradient_check
    )


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(12, 4)).astype("float32"), generator.normal(size=(12, 1)).astype("float32")


def sequential(*layers: Any, loss: Any = "mean_squared_error", width: int = 4) -> Any:
    import keras

    for number, layer in enumerate(layers):
        layer.name = f"layer_{number}"
    model = keras.Sequential([keras.Input((width,)), *layers], name="small")
    model.compile("sgd", loss)
    return model


def dense(*arguments: Any, seed: int = 1, **more: Any) -> Any:
    import keras

    return keras.layers.Dense(*arguments, kernel_initializer=keras.initializers.GlorotUniform(seed), **more)


def values(model: Any) -> list[np.ndarray]:
    import keras

    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in model.variables]


def test_the_published_network_is_below_the_published_differences(gradients: SimpleNamespace) -> None:
    import keras

    generator = np.random.default_rng(0)
    x = generator.normal(size=(100, 20)).astype("float32")
    y = generator.integers(0, 10, 100)
    penalty = keras.regularizers.L2(0.01)
    layers = [
        dense(50, activation="relu", kernel_regularizer=penalty),
        dense(10, activation="softmax", kernel_regularizer=penalty),
    ]
    model = sequential(*layers, loss="sparse_categorical_crossentropy", width=20)
    found = gradients.check(model, x, y, samples=8)
    assert found.passed
    table = found.table().set_index(["part", "parameter"])["relative_difference"]
    names = {"W1": "layer_0/kernel", "b1": "layer_0/bias", "W2": "layer_1/kernel", "b2": "layer_1/bias"}
    for published, name in names.items():
        assert table["total", f"small/{name}"] < PUBLISHED[published]
        assert table["data", f"small/{name}"] < PUBLISHED[published]
    assert set(table["regularization"].index) == {"small/layer_0/kernel", "small/layer_1/kernel"}
    assert set(found.table().verdict) == {"good"}


def wrong_layer(factor: float) -> Any:
    """A layer that cubes; its gradient is `factor` times the right one."""
    import keras

    @keras.ops.custom_gradient
    def cube(value: Any) -> Any:
        def gradient(*given: Any, upstream: Any = None) -> Any:
            # Torch hands the arguments over too, and the gradient from above by its name.
            upstream = given[0] if upstream is None else upstream
            return keras.ops.multiply(upstream, factor * 3 * value * value)

        return value * value * value, gradient

    class Cube(keras.layers.Layer):
        def call(self, value: Any) -> Any:
            return cube(value)

    return Cube()


def backends_own_wrong_layer(backend: str) -> Any:
    """A layer that doubles by the backend's own means; its gradient has the wrong sign."""
    import keras

    if backend == "torch":
        import torch

        class Double(torch.autograd.Function):
            @staticmethod
            def forward(context: Any, value: Any) -> Any:
                return 2 * value

            @staticmethod
            def backward(context: Any, upstream: Any) -> Any:
                return -2 * upstream

        double = Double.apply
    elif backend == "tensorflow":
        import tensorflow as tf

        @tf.custom_gradient
        def double(value: Any) -> Any:
            return 2 * value, lambda upstream: -2 * upstream
    else:
        import jax

        @jax.custom_vjp
        def double(value: Any) -> Any:
            return 2 * value

        double.defvjp(lambda value: (2 * value, None), lambda _, upstream: (-2 * upstream,))

    class Doubling(keras.layers.Layer):
        def call(self, value: Any) -> Any:
            return double(value)

    return Doubling()


def test_wrong_gradients_are_caught_and_right_ones_are_not(
    gradients: SimpleNamespace, rows: Any, backend_name: str
) -> None:
    for factor, verdict in ((1.0, "good"), (1.001, "suspicious"), (1.1, "wrong")):
        found = gradients.check(sequential(dense(5), wrong_layer(factor), dense(1)), *rows)
        assert found.passed == (verdict == "good")
        # Only what lies before the layer is led astray, by (f - 1) / (f + 1).
        table = found.table().set_index("parameter")
        assert list(table.verdict) == [verdict, verdict, "good", "good"]
        if verdict != "good":
            expected = (factor - 1) / (factor + 1)
            np.testing.assert_allclose(table.relative_difference.iloc[:2], expected, rtol=1e-4)
            assert f"2 of 4 gradients {verdict}" in found.summary()
    found = gradients.check(sequential(dense(5), backends_own_wrong_layer(backend_name), dense(1)), *rows)
    assert list(found.table().verdict) == ["wrong", "wrong", "good", "good"]


def test_one_wrong_entry_among_many_is_found(gradients: SimpleNamespace, rows: Any) -> None:
    import keras
    from keras import ops

    class OneWrong(keras.layers.Dense):
        def call(self, inputs: Any) -> Any:
            share = np.ones(self.kernel.shape)
            share[1, 17] = 1.01
            leaked = ops.cast(share, self.kernel.dtype) * self.kernel
            return ops.matmul(inputs, leaked + ops.stop_gradient(self.kernel - leaked)) + self.bias

    model = sequential(
        OneWrong(300, kernel_initializer=keras.initializers.GlorotUniform(3)), keras.layers.Activation("tanh"), dense(1)
    )
    found = gradients.check(model, *rows, samples=2)
    (failure,) = found.failures
    assert failure.parameter.endswith("kernel") and failure.worst == (1, 17)
    assert failure.gradient / failure.difference_quotient == pytest.approx(1.01, rel=1e-4)


def test_a_gradient_that_is_missing_is_wrong(gradients: SimpleNamespace, rows: Any) -> None:
    import keras

    class Scale(keras.layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
            self.unused = self.add_weight(shape=(3,), initializer="ones", name="unused")

        def call(self, value: Any) -> Any:
            return value * keras.ops.stop_gradient(self.scale + 0.0)

    found = gradients.check(sequential(dense(3), Scale(), dense(1)), *rows)
    verdicts = found.table().set_index("parameter").verdict
    assert [name for name, verdict in verdicts.items() if verdict == "wrong"] == ["small/layer_1/scale"]
    assert verdicts["small/layer_1/unused"] == "zero"


def test_kinks_are_found_and_left_out(gradients: SimpleNamespace, rows: Any) -> None:
    # Zero weights: every row is at the kink of every unit.
    at_kinks = sequential(dense(5, activation="relu"), dense(1))
    at_kinks.set_weights([np.zeros((4, 5)), np.zeros(5), np.ones((5, 1)), np.zeros(1)])
    found = gradients.check(at_kinks, *rows)
    table = found.table().set_index("parameter")
    assert list(table.kinks) == [10, 5, 0, 0]
    assert list(table.verdict) == ["kinks", "kinks", "zero", "good"]
    assert "kinks at all sampled entries of small/layer_0/kernel" in found.notes[0]
    # Kinks 5e-6 away disappear from smaller steps.
    at_kinks.set_weights([np.zeros((4, 5)), np.full(5, 5e-6), np.ones((5, 1)), np.zeros(1)])
    table = gradients.check(at_kinks, *rows).table()
    assert table.kinks.sum() == 0
    assert table.relative_difference.iloc[:2].max() < 1e-7


def test_batch_normalization_dropout_and_noise(gradients: SimpleNamespace, rows: Any) -> None:
    import keras

    model = sequential(
        dense(6, kernel_regularizer="l2"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.Dropout(0.4),
        keras.layers.GaussianNoise(0.1),
        dense(1),
    )
    model.fit(*rows, batch_size=12, verbose=0)
    before = values(model)
    policies = [layer.dtype_policy for layer in model._flatten_layers()]
    losses = []
    for training in (False, True):
        found = gradients.check(model, *rows, training=training, samples=6)
        losses.append(found.loss)
        assert found.passed, found
        table = found.table().set_index(["part", "parameter"])
        # Batch statistics take away whatever a bias before them adds; those of inference do not.
        assert table.verdict["total", "small/layer_0/bias"] == ("zero" if training else "good")
        assert set(table.index.get_level_values("part")) == {"total", "data", "regularization"}
    assert losses[0] != losses[1]
    for one, other in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [layer.dtype_policy for layer in model._flatten_layers()] == policies
    assert keras.config.floatx() == "float32"
    assert {str(keras.backend.standardize_dtype(variable.dtype)) for variable in model.weights} == {"float32"}
    # The step that was compiled before still fits.
    model.fit(*rows, batch_size=12, verbose=0)


def test_whole_numbers_nested_graphs_and_several_outputs(gradients: SimpleNamespace) -> None:
    import keras

    generator = np.random.default_rng(0)
    words, table = keras.Input((5,), dtype="int32", name="words"), keras.Input((3,), name="table")
    inner = keras.Sequential(
        [keras.Input((4,)), dense(4, "tanh", activity_regularizer="l2", name="first")], name="inner"
    )
    encoded = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(500, 4, name="embedding")(words))
    hidden = keras.ops.concatenate([inner(encoded) * 2.0, table], axis=-1)
    outputs = {"a": dense(1, name="a")(hidden), "b": dense(3, activation="softmax", name="b")(hidden)}
    model = keras.Model({"words": words, "table": table}, outputs, name="two")
    losses = {"a": keras.losses.Huber(), "b": "sparse_categorical_crossentropy"}
    model.compile("adam", losses, loss_weights={"a": 0.5, "b": 2.0})
    x = {"words": generator.integers(0, 500, (8, 5)), "table": generator.normal(size=(8, 3))}
    y = {"a": generator.normal(size=(8, 1)), "b": generator.integers(0, 3, 8)}
    weight = generator.uniform(0.5, 2, 8)
    found = gradients.check(model, x, y, sample_weight={"a": weight, "b": weight})
    assert found.passed, found
    frame = found.table().set_index(["part", "parameter"])
    assert frame.verdict["total", "embedding/embeddings"] == "good"
    assert frame.verdict["regularization", "inner/first/kernel"] == "good"
    assert ("regularization", "a/kernel") not in frame.index


def subclassed() -> Any:
    import keras

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__(name="own")
            self.first, self.last = dense(4, activation="tanh"), dense(1)
            self.calls, self.fail_at = 0, -1

        def call(self, x: Any) -> Any:
            self.calls += 1
            if self.calls == self.fail_at:
                raise KeyboardInterrupt
            hidden = self.first(x)
            self.add_loss(0.1 * keras.ops.mean(keras.ops.square(hidden)))
            return self.last(hidden)

    return Own()


def test_a_subclassed_model_and_an_interruption(gradients: SimpleNamespace, rows: Any) -> None:
    import keras

    model = subclassed()
    model.compile("sgd", "mean_squared_error")
    found = gradients.check(model, *rows)
    assert found.passed, found
    assert set(found.table().part) == {"total", "data", "regularization"}
    before, wide = values(model), keras.backend.result_type("float64", "float64")
    # The second call is the first in float64.
    model.fail_at = model.calls + 2
    with pytest.raises(KeyboardInterrupt):
        gradients.check(model, *rows)
    assert keras.config.floatx() == "float32"
    assert keras.backend.result_type("float64", "float64") == wide
    assert model.compute_dtype == model.first.compute_dtype == "float32"
    for one, other in zip(before, values(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_lower_precision_is_checked_in_float64_and_said(gradients: SimpleNamespace, rows: Any) -> None:
    model = sequential(dense(4, activation="tanh", dtype="mixed_bfloat16"), dense(1, dtype="float16"))
    found = gradients.check(model, *rows, samples=3)
    assert found.passed
    assert found.table().relative_difference.max() < 1e-7
    assert len(found.notes) == 2
    assert "layer 'layer_0' computes in bfloat16; all was checked in float64" in " ".join(found.notes)
    assert model.layers[0].compute_dtype == "bfloat16"


def test_what_cannot_be_checked_is_told_in_one_line(gradients: SimpleNamespace, rows: Any) -> None:
    import keras

    class Narrow(keras.layers.Layer):
        def call(self, value: Any) -> Any:
            return keras.ops.cast(keras.ops.cast(value, "float32"), value.dtype)

    class Restless(keras.layers.Layer):
        def call(self, value: Any) -> Any:
            return value + np.random.default_rng().normal()

    x, y = rows
    raw = keras.Sequential([keras.Input((4,)), dense(1)], name="raw")
    lossless = keras.Sequential([keras.Input((4,)), dense(1)], name="lossless")
    lossless.compile("sgd")
    frozen = sequential(dense(1))
    frozen.trainable = False
    whole = sequential(dense(4), dense(1))
    whole.layers[0].quantize("int8")
    restless = sequential(dense(2), Restless(), dense(1))
    restless.run_eagerly = True
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: gradients.check("model", x, y), "a str is no Keras model"),
        (lambda: gradients.check(raw, x, y), "model 'raw' is not compiled"),
        (lambda: gradients.check(lossless, x, y), "model 'lossless' has no loss"),
        (lambda: gradients.check(frozen, x, y), "has no trainable weights"),
        (lambda: gradients.check(whole, x, y), "is quantized (int8)"),
        (lambda: gradients.check(sequential(dense(1)), x[:, :3], y), "cannot take these rows"),
        (lambda: gradients.check(sequential(dense(1)), x * np.nan, y), "is not finite"),
        (lambda: gradients.check(sequential(dense(1)), x, y, samples=0), "samples: 0"),
        (lambda: gradients.check(sequential(dense(2), Narrow(), dense(1)), x, y), "in less than float64"),
        (lambda: gradients.check(restless, x, y), "give different losses"),
    ]
    for call, words in cases:
        with pytest.raises(UserError) as raised:
            call()
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)


SMOOTH: list[tuple[Callable[[float], float], Callable[[float], float]]] = [
    (np.sin, np.cos),
    (np.exp, np.exp),
    (lambda t: 1e3 * t**3 - t, lambda t: 3e3 * t**2 - 1),
    (lambda t: np.tanh(50 * t), lambda t: 50 / np.cosh(50 * t) ** 2),
    (lambda t: 1e-9 * np.sin(t) + 3, lambda t: 1e-9 * np.cos(t)),
    (lambda t: 7.0, lambda t: 0.0),
]


def test_slopes_are_as_good_as_their_error_says(gradients: SimpleNamespace) -> None:
    for function, derivative in SMOOTH:
        for at in np.random.default_rng(0).normal(size=20):
            (slope,) = gradients.slopes(lambda t, f=function: np.array([f(t)]), float(at))
            assert not slope.kink
            assert abs(slope.value - derivative(at)) <= slope.error
            assert slope.error <= 1e-6 * abs(slope.value) + 1e-8 * max(1, abs(function(at)))


def test_kinks_are_told_from_slopes(gradients: SimpleNamespace) -> None:
    for gap in (0.3, 3e-5, 3e-6):
        for side in (-1, 1):
            (slope,) = gradients.slopes(lambda t, k=side * gap: np.array([abs(t - k) + t * t]), 0.0)
            assert not slope.kink
            assert slope.value == pytest.approx(-side, rel=1e-6)
    for jump in (1e-2, 1.0, 1e3):
        smooth, kinked = gradients.slopes(lambda t, j=jump: np.array([np.sin(t), j * abs(t) + t * t]), 0.0)
        assert kinked.kink
        assert not smooth.kink
        assert smooth.value == pytest.approx(1.0, rel=1e-7)


def test_entries_are_sampled_where_there_is_a_gradient_and_elsewhere(gradients: SimpleNamespace) -> None:
    gradient = np.zeros((100, 8))
    gradient[[3, 50]] = 1.0
    generator = np.random.default_rng(0)
    entries = gradients.sample(gradient, 10, generator)
    assert len(set(entries)) == 10
    assert sum(gradient[entry] != 0 for entry in entries) >= 5
    assert any(gradient[entry] == 0 for entry in entries)
    assert gradients.sample(np.ones(3), 10, generator) == [(0,), (1,), (2,)]
    assert gradients.sample(np.ones(()), 10, generator) == [()]
    drawn = [gradients.sample(gradient, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_result_is_a_table_to_read(gradients: SimpleNamespace, rows: Any) -> None:
    found = gradients.check(sequential(dense(3), wrong_layer(-1.0), dense(1)), *rows, seed=4)
    text = str(found).splitlines()
    assert text[0].split() == ["part", "parameter", "entries", "kinks", "relative", "difference", "rounding", "verdict"]
    assert len(text) == 1 + len(found.parameters) + 1 + len(found.notes)
    worst = max(found.parameters, key=lambda one: one.relative_difference)
    assert worst.gradient == pytest.approx(-worst.difference_quotient)
    assert f"{worst.gradient:.6g} where finite differences give {worst.difference_quotient:.6g}" in text[-1]
    assert [one.parameter for one in found.failures] == ["small/layer_0/kernel", "small/layer_0/bias"]
    assert len(found.table()) == len(found.parameters)
