"""BatchNormStats: moving statistics against the data's moments, and the gap between two ways to run a model."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError


def build() -> Any:
    """Batch normalization of columns and of channels, once without scale."""
    import keras

    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, name="convolution"),
            layers.BatchNormalization(name="channels", momentum=0.8),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(12),
            layers.BatchNormalization(name="columns", scale=False),
            layers.Dense(10),
        ]
    )


def fit(model: Any, digits: SimpleNamespace, *callbacks: Any, **more: Any) -> Any:
    import keras

    keras.utils.set_random_seed(3)
    settings = {"batch_size": 64, "epochs": 2, "verbose": 0, "callbacks": list(callbacks), **more}
    return model.fit(digits.images, digits.y, **settings)


def inputs_of(model: Any, name: str, x: np.ndarray) -> np.ndarray:
    import keras

    inputs = keras.Model(model.inputs, model.get_layer(name).input).predict(x, verbose=0)
    return inputs.reshape(-1, inputs.shape[-1]).astype("float64")


def test_distances_are_those_by_hand(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import BatchNormStats

    model = compiled(build, keras.optimizers.Adam(0.01))
    rows = digits.images[:50], digits.y[:50]
    # Pieces of 64 and a rest of 8.
    watch = BatchNormStats(rows, whole=digits.images, batch_size=64)
    fit(model, digits, watch)
    table = watch.table()
    assert table["layer"].tolist() == ["channels", "columns"] * 4
    assert table["source"].tolist() == ["batch", "batch", "whole", "whole"] * 2
    last = table[table["epoch"] == 1].set_index(["source", "layer"])
    for source, x in (("batch", rows[0]), ("whole", digits.images)):
        for name in ("channels", "columns"):
            layer = model.get_layer(name)
            fed = inputs_of(model, name, x)
            mean, variance = (
                np.asarray(keras.ops.convert_to_numpy(value), "float64")
                for value in (layer.moving_mean, layer.moving_variance)
            )
            scaled = (fed.mean(axis=0) - mean) / np.sqrt(variance + layer.epsilon)
            ratio = np.log((fed.var(axis=0) + layer.epsilon) / (variance + layer.epsilon))
            own = last.loc[(source, name)]
            assert own["mean_distance"] == pytest.approx(np.sqrt(np.mean(scaled**2)), rel=1e-4)
            assert own["variance_distance"] == pytest.approx(np.sqrt(np.mean(ratio**2)), rel=1e-4)
    gamma = keras.ops.convert_to_numpy(model.get_layer("channels").gamma)
    found = last.loc[("batch", "channels"), ["gamma_mean", "gamma_minimum", "gamma_maximum"]].astype(float)
    np.testing.assert_allclose(found, [gamma.mean(), gamma.min(), gamma.max()], rtol=1e-6)
    assert last.loc[("batch", "columns"), "gamma_mean":"gamma_maximum"].isna().all()
    assert last.loc[("batch", "columns"), "beta_mean":"beta_maximum"].notna().all()
    losses = watch.losses().set_index("epoch")
    assert losses.loc[1, "inference"] == pytest.approx(model.evaluate(*rows, verbose=0)[0], rel=1e-4)
    np.testing.assert_allclose(losses["gap"], losses["training"] - losses["inference"])
    assert (losses["gap"].abs() > 1e-3).all()


def test_distances_vanish_when_the_statistics_are_the_datas(compiled: Any, digits: SimpleNamespace) -> None:
    import keras

    from kerasdl.watch import BatchNormStats

    class Settle(keras.callbacks.Callback):
        """Gives the first layer the very moments of what it is fed."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            fed = inputs_of(self.model, "channels", digits.images)
            layer = self.model.get_layer("channels")
            layer.moving_mean.assign(fed.mean(axis=0))
            layer.moving_variance.assign(fed.var(axis=0))

    watch = BatchNormStats(digits.images)
    fit(compiled(build), digits, Settle(), watch, epochs=1)
    table = watch.table().set_index("layer")
    assert table.loc["channels", "mean_distance"] < 1e-5
    assert table.loc["channels", "variance_distance"] < 1e-4
    assert table.loc["columns", "mean_distance"] > 1e-3
    # Without labels there is no loss.
    assert watch.losses().loc[0, ["training", "inference", "gap"]].isna().all()


def test_the_model_stays_as_it_was(compiled: Any, digits: SimpleNamespace, values: Any) -> None:
    from kerasdl.watch import BatchNormStats

    found = []
    for watches in ([], [BatchNormStats(whole=digits.images)]):
        model = compiled(build)
        history = fit(model, digits, *watches, validation_split=0.25).history
        found.append((history, values(model)))
    assert found[0][0] == found[1][0]
    for one, other in zip(found[0][1], found[1][1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_moments_of_pieces_are_those_of_the_whole(backend_name: str) -> None:
    from kerasdl.watch.moments import Moments

    random = np.random.default_rng(0)
    x = (1000 + random.normal(size=(30, 5, 3))).astype("float32")
    mask = random.random((30, 5)) < 0.6
    pieces, masked, turned = Moments(), Moments(), Moments()
    for start in range(0, 30, 7):
        own = slice(start, start + 7)
        pieces.add(x[own], None, -1)
        masked.add(x[own], mask[own], -1)
        turned.add(x[own].transpose(0, 2, 1), None, 1)
    np.testing.assert_allclose(pieces.mean, x.mean(axis=(0, 1), dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(pieces.variance, x.var(axis=(0, 1), dtype="float64"), rtol=1e-5)
    np.testing.assert_allclose(turned.variance, pieces.variance, rtol=1e-5)
    np.testing.assert_allclose(masked.mean, x[mask].mean(axis=0, dtype="float64"), rtol=1e-6)
    np.testing.assert_allclose(masked.variance, x[mask].var(axis=0, dtype="float64"), rtol=1e-5)


def test_mistakes_are_named(compiled: Any, mlp: Any, digits: SimpleNamespace) -> None:
    from kerasdl.watch import BatchNormStats

    with pytest.raises(UserError, match="no BatchNormalization layer"):
        compiled(mlp).fit(digits.x, digits.y, verbose=0, callbacks=[BatchNormStats(digits.x)])
    with pytest.raises(UserError, match="whole number"):
        BatchNormStats(digits.x, batch_size=0)
    with pytest.raises(UserError, match="no rows"):
        fit(compiled(build), digits, BatchNormStats(digits.images, whole=digits.images[:0]), epochs=1)
