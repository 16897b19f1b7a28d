"""GradientMagnitude: right numbers, on every backend the same, and training untouched."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError

Build = Callable[[], Any]
QUANTITIES = ["gradient_norm", "weight_norm", "update_ratio", "zero_share"]
COMPILED_QUICKLY = "optimization_level=0" in os.environ.get("XLA_FLAGS", "")


def fit(model: Any, digits: SimpleNamespace, *callbacks: Any, **more: Any) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    x = digits.images if len(model.input_shape or ()) == 4 else digits.x
    settings = {"batch_size": 64, "epochs": 2, "verbose": 0, "callbacks": list(callbacks), **more}
    return model.fit(x, digits.y, **settings)


def medians(watch: Any, quantity: str, **where: Any) -> np.ndarray:
    table = watch.table()
    for name, value in {"quantity": quantity, **where}.items():
        table = table[table[name] == value]
    return table["median"].to_numpy()


def test_numbers_are_those_of_a_float64_reference(
    compiled: Any, mlp: Build, digits: SimpleNamespace, reference: Any
) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    model = compiled(mlp, keras.optimizers.SGD(0.2, momentum=0.8))
    by_hand = reference(model.get_weights(), 0.2, 0.8)
    watch = GradientMagnitude()
    fit(model, digits, watch, shuffle=False)
    table = watch.table().set_index(["epoch", "layer", "variable", "quantity"])
    assert len(table) == 2 * 6 * 4
    weights = [(layer, variable) for layer in ("first", "second", "logits") for variable in ("kernel", "bias")]
    for epoch in range(2):
        rows = by_hand.epoch(digits.x, digits.y, 64)
        for place, (layer, variable) in enumerate(weights):
            for column, quantity in enumerate(QUANTITIES):
                own = table.loc[(epoch, layer, variable, quantity)]
                steps = rows[:, place, column]
                finite = steps[np.isfinite(steps)]
                # A bias starts at zero: its first ratio has no meaning.
                assert (
                    own["steps"] == len(finite) == 4 - (epoch == 0 and variable == "bias" and quantity == QUANTITIES[2])
                )
                assert own["not_finite"] == 4 - len(finite)
                expected = [finite.mean(), *np.percentile(finite, (50, 5, 95)), finite.max()]
                np.testing.assert_allclose(
                    own[["mean", "median", "p05", "p95", "maximum"]].astype(float), expected, 1e-4
                )


def test_rows_of_an_embedding_that_are_used_several_times_add_up(backend_name: str) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    words = np.array([[1, 1, 2], [1, 2, 2], [2, 4, 1]])
    y = np.array([[1.0], [-2.0], [0.5]], "float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((3,), dtype="int32"),
            keras.layers.Embedding(6, 2, name="words"),
            keras.layers.Flatten(),
            keras.layers.Dense(1, name="logits"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    table, kernel, bias = (weight.astype("float64") for weight in model.get_weights())
    errors = 2 * (table[words].reshape(3, -1) @ kernel + bias - y) / len(y)
    gradient = np.zeros_like(table)
    np.add.at(gradient, words, (errors @ kernel.T).reshape(3, 3, 2))
    watch = GradientMagnitude(layers="words")
    model.fit(words, y, batch_size=3, verbose=0, callbacks=[watch])
    np.testing.assert_allclose(medians(watch, "gradient_norm"), [np.linalg.norm(gradient)], 1e-5)
    np.testing.assert_allclose(medians(watch, "zero_share"), [0.5])
    np.testing.assert_allclose(
        medians(watch, "update_ratio"), [0.1 * np.linalg.norm(gradient) / np.linalg.norm(table)], 1e-5
    )


def convolutional() -> Any:
    import keras

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.3),
            keras.layers.Flatten(),
            keras.layers.Dense(10, kernel_regularizer="l2"),
        ]
    )


def nested() -> Any:
    """A model in a model, a layer used twice, and a frozen one."""
    import keras

    inner = keras.Sequential([keras.Input((64,)), keras.layers.Dense(16, "relu", name="inner")], name="encoder")
    twice, frozen = keras.layers.Dense(16, "tanh", name="twice"), keras.layers.Dense(16, name="frozen", trainable=False)
    inputs = keras.Input((64,))
    return keras.Model(inputs, keras.layers.Dense(10, name="head")(frozen(twice(twice(inner(inputs))))))


def subclassed() -> Any:
    import keras

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [keras.layers.Dense(12, "relu", name=f"block_{number}") for number in range(2)]
            self.drop, self.head = keras.layers.Dropout(0.2), keras.layers.Dense(10, name="head")

        def call(self, x: Any, training: bool | None = None) -> Any:
            for block in self.blocks:
                x = block(x)
            return self.head(self.drop(x, training=training))

        @property
        def input_shape(self) -> tuple[None, int]:
            return None, 64

    return Own()


def kinds() -> dict[str, tuple[Build, Callable[[], Any], dict[str, Any]]]:
    import keras
    from keras import optimizers

    several = {} if keras.backend.backend() == "torch" else {"steps_per_execution": 3}
    return {
        "convolutions, Adam": (convolutional, lambda: optimizers.Adam(0.01), {}),
        "nested, shared and frozen, AdamW with clipping": (
            nested,
            lambda: optimizers.AdamW(0.01, clipnorm=0.1),
            several,
        ),
        "subclassed, accumulated gradients": (
            subclassed,
            lambda: optimizers.Nadam(0.01, gradient_accumulation_steps=3, use_ema=True, ema_overwrite_frequency=2),
            {},
        ),
    }


@pytest.mark.parametrize("kind", range(3))
def test_training_is_bit_for_bit_what_it_would_have_been(
    kind: int, compiled: Any, digits: SimpleNamespace, values: Any
) -> None:
    from kerasdl.watch import GradientMagnitude

    skip_where_products_are_contracted_differently()
    build, optimizer, settings = list(kinds().values())[kind]
    models = [compiled(build, optimizer(), **settings) for _ in range(2)]
    watch = GradientMagnitude()
    plain = fit(models[0], digits, validation_split=0.2 * (kind == 0))
    watched = fit(models[1], digits, watch, validation_split=0.2 * (kind == 0))
    assert plain.history == watched.history
    one, other = map(values, models)
    assert len(one) == len(other)
    for left, right in zip(one, other, strict=True):
        np.testing.assert_array_equal(left, right)
    ours = models[1].optimizer
    assert type(ours) is type(models[0].optimizer)
    assert {**ours.get_config(), "name": ""} == {**models[0].optimizer.get_config(), "name": ""}
    assert not {"apply", "stateless_apply"} & vars(ours).keys()
    assert "train_step" not in vars(models[1])
    # Every weight that is trained is in the table, and no frozen one.
    table = watch.table()
    assert len(table) == 2 * 4 * len(models[1].trainable_variables)
    assert np.isfinite(table.loc[table["quantity"] == "gradient_norm", "median"]).all()
    if kind == 1:
        assert list(dict.fromkeys(table["layer"])) == ["encoder/inner", "twice", "head"]
    if kind == 2:
        counts = table[table["quantity"] == "update_ratio"].groupby("epoch")["steps"].max()
        # Of three batches an epoch, only every third moves weights.
        assert counts.tolist() == [1, 1]


def skip_where_products_are_contracted_differently() -> None:
    if COMPILED_QUICKLY and os.environ["KERAS_BACKEND"] == "jax":
        pytest.skip("XLA does so where it hardly optimizes; the test that follows runs this as users compile")


def test_it_is_bit_for_bit_as_users_compile_it_too(backend_name: str) -> None:
    if backend_name != "jax" or not COMPILED_QUICKLY:
        pytest.skip("those tests compile as users do")
    exact = ["-k", "bit_for_bit_what or saved_models"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, *exact]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    ended = subprocess.run(command, env={**environment, "XLA_FLAGS": ""}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and "4 passed" in ended.stdout, ended.stdout


def test_gradients_are_those_before_scaling_and_clipping(
    compiled: Any, mlp: Build, digits: SimpleNamespace, reference: Any
) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    model = compiled(mlp, keras.optimizers.SGD(1e-9, loss_scale_factor=1024.0, global_clipnorm=1e-4))
    expected = np.median(reference(model.get_weights(), 0, 0).epoch(digits.x, digits.y, 64)[..., 0], axis=0)
    watch = GradientMagnitude()
    fit(model, digits, watch, shuffle=False, epochs=1)
    np.testing.assert_allclose(medians(watch, "gradient_norm"), expected, rtol=1e-4)


def test_steps_that_a_loss_scale_skips_are_counted(
    compiled: Any, mlp: Build, digits: SimpleNamespace, half_precision: None
) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=2.0**28)
    watch = GradientMagnitude()
    fit(compiled(mlp, optimizer), digits, watch, epochs=4)
    table = watch.table()
    by_weight = table.groupby(["quantity", "layer", "variable"])["not_finite"].sum()
    skipped = 16 - int(keras.ops.convert_to_numpy(optimizer.iterations))
    assert 0 < by_weight["gradient_norm"].max() <= skipped < 16
    assert (by_weight["update_ratio", :, "kernel"] == skipped).all()
    # In units of the loss itself.
    assert medians(watch, "gradient_norm", epoch=3, layer="logits", variable="kernel").item() < 10


def test_layers_are_chosen_by_name_pattern_number_or_themselves(
    compiled: Any, mlp: Build, digits: SimpleNamespace
) -> None:
    import keras

    from kerasdl.watch.layers import choose_variables, named_layers

    def chosen(model: Any, choice: Any) -> list[str]:
        return list(dict.fromkeys(layer for layer, _, _ in choose_variables(model, choice, "Watch")))

    model, deep = mlp(), nested()
    assert chosen(model, None) == ["first", "second", "logits"]
    assert chosen(model, "second") == ["second"]
    assert chosen(model, ["*s*", -1]) == ["first", "second", "logits"]
    assert chosen(model, [0, model.layers[2]]) == ["first", "logits"]
    assert chosen(deep, "encoder") == chosen(deep, "inner") == chosen(deep, "encoder/*") == ["encoder/inner"]
    with pytest.raises(UserError, match="did you mean 'second'"):
        chosen(model, "secnd")
    with pytest.raises(UserError, match="no layer 5; the model has 3"):
        chosen(model, 5)
    with pytest.raises(UserError, match="frozen layers have no gradient"):
        chosen(deep, "frozen")

    class Twins(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = keras.layers.Dense(4, name="part"), keras.layers.Dense(4, name="part")

    assert [name for name, _, _ in named_layers(Twins())][1:] == ["part", "part#2"]


def test_mistakes_are_named_before_training(compiled: Any, mlp: Build, digits: SimpleNamespace) -> None:
    from kerasdl.watch import GradientMagnitude

    model = compiled(mlp)
    for wrong in (0, 2.5, True):
        with pytest.raises(UserError, match="whole number"):
            GradientMagnitude(every=wrong)
    with pytest.raises(UserError, match="did you mean 'update_ratio'"):
        GradientMagnitude(logs="update_ratios")
    with pytest.raises(UserError, match="did you mean 'first'"):
        fit(model, digits, GradientMagnitude(layers="frist"))
    with pytest.raises(UserError, match="one watches this fit already"):
        fit(model, digits, GradientMagnitude(), GradientMagnitude(layers="first"))
    assert int(model.optimizer.iterations.numpy()) == 0


def test_every_nth_step_and_the_logs(
    compiled: Any, mlp: Build, digits: SimpleNamespace, reference: Any, tmp_path: Path
) -> None:
    import keras
    import pandas as pd

    from kerasdl.watch import GradientMagnitude

    model = compiled(mlp, keras.optimizers.SGD(0.1))
    rows = reference(model.get_weights(), 0.1, 0).epoch(digits.x, digits.y, 64)
    watch = GradientMagnitude(every=3, logs=["gradient_norm"], layers="logits")
    lines = keras.callbacks.CSVLogger(tmp_path / "lines.csv")
    history = fit(model, digits, watch, lines, shuffle=False).history
    # The first and the fourth of four steps.
    assert watch.table().query("quantity == 'gradient_norm'")["steps"].tolist() == [2] * 4
    name = "gradient_norm/logits/kernel"
    found = medians(watch, "gradient_norm", variable="kernel")
    np.testing.assert_allclose(found[0], rows[[0, 3], 4, 0].mean(), rtol=1e-4)
    np.testing.assert_allclose(history[name], found)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "lines.csv")[name], found)
    assert not [key for key in history if key.startswith("zero_share")]


def test_saved_models_are_those_of_an_unwatched_fit(
    compiled: Any, mlp: Build, digits: SimpleNamespace, values: Any, tmp_path: Path
) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    skip_where_products_are_contracted_differently()
    for name, watches in (("plain", []), ("watched", [GradientMagnitude()])):
        model = compiled(mlp, keras.optimizers.Adam(0.01))
        # In the middle of the second epoch, too.
        saving = keras.callbacks.ModelCheckpoint(tmp_path / f"{name}.keras", save_freq=6)
        fit(model, digits, *watches, saving, shuffle=False)
        model.save(tmp_path / f"{name}-end.keras")
    for end in ("", "-end"):
        plain, watched = (keras.saving.load_model(tmp_path / f"{name}{end}.keras") for name in ("plain", "watched"))
        for one, other in zip(values(plain), values(watched), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_fit_that_breaks_off_leaves_nothing_behind(
    compiled: Any, mlp: Build, digits: SimpleNamespace, values: Any
) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    def broken() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield digits.x[:64], digits.y[:64]
        raise OSError("the disk is gone")

    results = []
    for watch in (None, GradientMagnitude()):
        watches = [watch] if watch else []
        model = compiled(mlp, keras.optimizers.Adam(0.01), run_eagerly=True)
        with pytest.raises(KeyboardInterrupt):
            fit(model, digits, *watches, Break())
        fit(model, digits, epochs=1)
        if keras.backend.backend() != "tensorflow":
            with pytest.raises(OSError, match="disk"):
                model.fit(broken(), shuffle=False, verbose=0, callbacks=watches)
        fit(model, digits, *watches, epochs=1)
        results.append((model.train_function, values(model)))
    for one, other in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert type(results[0][0]) is type(results[1][0])
    assert watch is not None
    assert watch.table()["steps"].max() == 4
    assert len(watch.table()) == 6 * 4


def test_fits_follow_one_another(compiled: Any, mlp: Build, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude

    class Thaw(keras.callbacks.Callback):
        """Trains one layer more from the fourth epoch on, the way Keras asks for it."""

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 3:
                self.model.get_layer("first").trainable = True
                self.model.compile("sgd", self.model.loss, metrics=["accuracy"])
                self.model.optimizer.build(self.model.trainable_variables)
                self.model.make_train_function()

    def endless() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield digits.x[:50], digits.y[:50]

    model = compiled(mlp)
    model.get_layer("first").trainable = False
    model.compile("sgd", model.loss, metrics=["accuracy"])
    watch = GradientMagnitude()
    fit(model, digits, watch, epochs=1)
    own = model.train_function
    model.fit(endless(), shuffle=False, steps_per_epoch=5, initial_epoch=1, epochs=3, verbose=0, callbacks=[watch])
    assert model.train_function is own
    table = watch.table()
    assert list(zip(table["fit"], table["epoch"], strict=True))[::16] == [(0, 0), (1, 1), (1, 2)]
    assert table.groupby("epoch")["steps"].max().tolist() == [4, 5, 5]
    assert "first" not in set(table["layer"])
    # One that runs before the other callback in the list notices the next epoch only.
    fit(model, digits, Thaw(), watch, initial_epoch=3, epochs=4)
    assert "first" in set(watch.table().query("epoch == 3")["layer"])


def test_what_is_kept_does_not_grow_with_the_steps(compiled: Any, mlp: Build, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import GradientMagnitude
    from kerasdl.watch.steps.recording import ROWS

    class Look(keras.callbacks.Callback):
        waiting = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            step = self._model.train_function.step
            held = getattr(step, "_waiting", None)
            self.waiting = max(self.waiting, step._rows if held is None else len(held))

    look, watch = Look(), GradientMagnitude(layers="logits")
    model = compiled(mlp)
    many = SimpleNamespace(x=np.tile(digits.x, (3, 1)), y=np.tile(digits.y, 3))
    fit(model, many, watch, look, batch_size=1, epochs=1)
    assert look.waiting <= ROWS < len(many.x)
    assert watch.table()["steps"].max() == len(many.x)
