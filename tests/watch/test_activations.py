"""Activations: the outputs of layers on a fixed batch, and a model that does not notice."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError


def build() -> Any:
    """Bounded, dying and normalized layers, each under a name of its own."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(12, "tanh", name="bounded", kernel_initializer=keras.initializers.RandomNormal(stddev=2)),
            layers.Dense(16, "relu", name="dying", bias_initializer=keras.initializers.Constant(-1)),
            layers.BatchNormalization(name="normal"),
            layers.Activation("sigmoid", name="squash"),
            layers.Dropout(0.4, name="drop"),
            layers.Dense(10, name="logits"),
        ]
    )


def subclassed() -> Any:
    """A layer that is used twice, among layers that only `call` knows."""
    import keras

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.widen = keras.layers.Dense(16, name="widen")
            self.again = keras.layers.Dense(16, "relu", activity_regularizer="l2", name="again")
            self.drop, self.head = keras.layers.Dropout(0.4), keras.layers.Dense(10, name="head")

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.head(self.drop(self.again(self.again(self.widen(x))), training=training))

    return Own()


def fit(model: Any, digits: SimpleNamespace, *callbacks: Any, **more: Any) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    settings = {"batch_size": 64, "epochs": 2, "verbose": 0, "callbacks": list(callbacks), **more}
    return model.fit(digits.x, digits.y, **settings)


def expected(output: np.ndarray, low: float | None, high: float | None) -> list[float]:
    saturated = np.nan if low is None else np.mean((output < low + 0.01) | (output > high - 0.01))
    return [output.mean(), output.std(), np.mean((output == 0).all(axis=0)), saturated]


NUMBERS = ["mean", "standard_deviation", "dead_share", "saturated_share"]


def test_numbers_are_those_of_the_layers_outputs(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import Activations

    model = compiled(build)
    watch = Activations(digits.x[:50].astype("float64"))
    fit(model, digits, watch)
    table = watch.table()
    assert table["layer"].tolist() == ["bounded", "dying", "squash"] * 2
    assert table["epoch"].tolist() == [0] * 3 + [1] * 3
    last = table[table["epoch"] == 1].set_index("layer")
    outputs = keras.Model(model.inputs, [model.get_layer(name).output for name in last.index]).predict(
        digits.x[:50], verbose=0
    )
    for name, output, ends in zip(last.index, outputs, ((-1, 1), (None, None), (0, 1)), strict=True):
        np.testing.assert_allclose(
            last.loc[name, NUMBERS].astype(float), expected(output, *ends), rtol=1e-4, atol=1e-6, err_msg=name
        )
    assert last.loc["bounded", "saturated_share"] > 0
    assert 0 < last.loc["dying", "dead_share"] < 1


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_was(training: bool, compiled: Any, digits: SimpleNamespace, values: Any) -> None:
    from kerasdl.watch import Activations

    found = []
    for watch in (None, Activations(training=training, layers=["*"])):
        model = compiled(subclassed)
        # Without a batch of its own, the callback takes the first of the validation data.
        history = fit(
            model, digits, *([watch] if watch else []), validation_data=(digits.x[:90], digits.y[:90])
        ).history
        found.append((history, values(model)))
        assert all("call" not in vars(layer) for layer in model.layers)
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert watch is not None
    calls = watch.table().query("epoch == 0")[["layer", "call"]].to_numpy().tolist()
    dropout = next(layer.name for layer in model.layers if "drop" in layer.name)
    assert calls == [["widen", 0], ["again", 0], ["again", 1], [dropout, 0], ["head", 0]]
    dropped = (
        watch.table().query(f"layer == '{dropout}'")["mean"] != watch.table().query("call == 1")["mean"].to_numpy()
    )
    assert dropped.all() == training


def test_channels_are_units_of_convolutions(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch.activations import summary

    output = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype("float32")
    output[..., 1] = 0
    output[:, 0] = 0
    assert summary(keras.layers.Conv2D(3, 1), output)["dead_share"] == pytest.approx(1 / 3)
    turned = keras.layers.Conv2D(4, 1, data_format="channels_first")
    assert summary(turned, output)["dead_share"] == pytest.approx(1 / 4)
    # A recurrent layer's outputs are its activation times a gate.
    assert np.isnan(summary(keras.layers.LSTM(3), output)["saturated_share"])


def test_mistakes_are_named(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import Activations

    def linear() -> Any:
        return keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, name="only")])

    def stream() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield digits.x[:20], digits.y[:20]

    model = compiled(linear)
    with pytest.raises(UserError, match="no layer to watch"):
        fit(model, digits, Activations(digits.x[:9]))
    with pytest.raises(UserError, match="did you mean 'only'"):
        fit(model, digits, Activations(digits.x[:9], layers="onyl"))
    with pytest.raises(UserError, match="was not validated"):
        fit(model, digits, Activations(layers="only"))
    with pytest.raises(UserError, match="is a stream"):
        fit(model, digits, Activations(layers="only"), validation_data=stream(), validation_steps=1)


def test_several_inputs_are_a_list_or_a_dictionary_as_for_fit(backend_name: str) -> None:
    import keras

    from kerasdl.watch import Activations

    random = np.random.default_rng(0)
    inputs = {name: random.normal(size=(8, 3)).astype("float32") for name in ("left", "right")}
    tower = keras.layers.Dense(4, "relu", name="tower")
    given = {name: keras.Input((3,), name=name) for name in inputs}
    outputs = keras.layers.Subtract()([tower(one) for one in given.values()])
    for form, batch in ((list(given.values()), list(inputs.values())), (given, inputs)):
        model = keras.Model(form, keras.layers.Dense(1)(outputs))
        model.compile("sgd", "mse")
        watch = Activations(batch)
        model.fit(batch, np.zeros((8, 1)), verbose=0, callbacks=[watch])
        table = watch.table().set_index(["layer", "call"])
        for call, name in enumerate(inputs):
            shown = keras.ops.convert_to_numpy(tower(inputs[name]))
            np.testing.assert_allclose(table.loc[("tower", call), "mean"], shown.mean(), 1e-5)


def test_what_runs_in_loops_is_left_out(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import Activations

    def recurrent() -> Any:
        return keras.Sequential(
            [
                keras.Input((8, 8)),
                keras.layers.TimeDistributed(keras.layers.Dense(5, "relu"), name="each"),
                keras.layers.SimpleRNN(6, name="recurrent"),
                keras.layers.Dense(10),
            ]
        )

    watch = Activations(digits.images[:20, :, :, 0], layers=[0, 1])
    model: Callable[..., Any] = compiled(recurrent)
    fit(model, SimpleNamespace(x=digits.images[:, :, :, 0], y=digits.y), watch, epochs=1)
    assert watch.table()["layer"].tolist() == ["each", "recurrent"]
