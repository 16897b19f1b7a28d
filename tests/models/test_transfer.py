from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError
from kerasdl.models.backbones import Backbone
from kerasdl.models.transfer import freeze


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


@pytest.fixture(autouse=True)
def small(monkeypatch) -> None:
    """A network with every kind of layer that matters, quick to compile, in the place of the backbone."""

    def build(shape: tuple[int, int, int], weights: str | None):
        import keras

        layers = keras.layers
        inputs = keras.Input(shape)
        hidden = layers.Conv2D(4, 3, strides=8, name="stem_conv")(inputs)
        hidden = layers.BatchNormalization(name="stem_batch_norm")(hidden)
        hidden = layers.Dropout(0.2, name="block_14_drop")(hidden)
        return keras.Model(inputs, layers.Conv2D(5, 1, name="head_conv")(hidden), name="small")

    backbone = Backbone("small", build, scale=2.0, offset=-1.0)
    # The package's own name `transfer` is the function.
    monkeypatch.setattr(import_module("kerasdl.models.transfer"), "find_backbone", lambda *_: backbone)


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, "float32")


def body_of(model):
    import keras

    return next(layer for layer in model.layers if isinstance(layer, keras.Model))


def train(model, rows: np.ndarray) -> None:
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(rows, np.arange(len(rows)) % 3, epochs=1, verbose=0)


def test_a_probe_trains_its_head_alone_and_keeps_the_bodys_averages() -> None:
    model = models.transfer((32, 32, 3), 3, resolution=32)
    body = body_of(model)
    before, head = body.get_weights(), model.get_layer("output").get_weights()
    assert len(model.trainable_variables) == 2
    train(model, images(4, 32, 32, 3))
    for old, new in zip(before, body.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(head[0] - model.get_layer("output").get_weights()[0]).max() > 0


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_fine_tuning_trains_the_body_but_its_batch_normalization_only_when_asked(batch_statistics: bool) -> None:
    model = models.transfer((32, 32, 3), 3, resolution=32, mode="fine-tune", batch_statistics=batch_statistics)
    body = body_of(model)
    assert (body.get_layer("block_14_drop").rate > 0) == batch_statistics
    layer = body.get_layer("stem_batch_norm")
    kernel, before = body.get_layer("head_conv").get_weights()[0], layer.get_weights()
    train(model, images(4, 32, 32, 3))
    assert np.abs(body.get_layer("head_conv").get_weights()[0] - kernel).max() > 0
    for old, new in zip(before, layer.get_weights(), strict=True):
        assert (np.abs(new - old).max() > 0) == batch_statistics


@pytest.mark.parametrize(("unfreeze", "layers"), [(0, 0), (3, 3), (1.0, 6), (0.5, 3), (0.0, 0), (1000, 6)])
def test_unfreeze_counts_layers_or_is_a_share_of_them(unfreeze: int | float, layers: int) -> None:
    import keras

    inputs = keras.Input((4,))
    hidden = inputs
    for _ in range(6):
        hidden = keras.layers.Activation("relu")(keras.layers.Dense(2)(hidden))
    body = keras.Model(inputs, hidden)
    freeze(body, "fine-tune", unfreeze, batch_statistics=False)
    assert [layer.trainable for layer in body.layers if layer.weights] == [False] * (6 - layers) + [True] * layers


def test_while_training_a_probes_body_does_what_it_does_at_inference() -> None:
    import keras

    body = body_of(models.transfer((32, 32, 3), 3, resolution=32))
    pixels = images(2, 32, 32, 3)
    calm, trained = (keras.ops.convert_to_numpy(body(pixels, training=training)) for training in (False, True))
    np.testing.assert_allclose(trained, calm, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "resolution", "seen"),
    [
        ((28, 28), None, (96, 96)),
        ((120, 100, 1), None, None),
        ((40, 80, 3), None, (96, 192)),
        ((200, 100, 3), 50, (100, 50)),
    ],
)
def test_images_are_resized_by_their_shorter_side(shape: tuple[int, ...], resolution: int | None, seen) -> None:
    model = models.transfer(shape, 3, resolution=resolution)
    names = [layer.name for layer in model.layers]
    assert ("resizing" in names) == (seen is not None)
    assert model.get_layer("preprocessing").output.shape[1:] == (*(seen or shape[:2]), 3)
    assert ("rgb" in names) == (len(shape) == 2 or shape[2] == 1)


def test_a_model_survives_saving_with_what_is_frozen(tmp_path: Path) -> None:
    import keras

    model = models.transfer((20, 24), 2, dense=4, dropout=0.2, augment=[{"layer": "RandomFlip"}], resolution=32)
    rows = images(3, 20, 24)
    probabilities = np.asarray(model.predict(rows, verbose=0))
    assert probabilities.shape == (3, 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded.predict(rows, verbose=0)), probabilities, atol=1e-6)
    assert len(loaded.trainable_variables) == 4


@pytest.mark.parametrize(
    ("shape", "message"), [((5,), "choose mlp or softmax for tables"), ((32, 32, 4), "1 or 3 channels, not 4")]
)
def test_images_that_cannot_be_are_refused(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        models.transfer(shape, 3)


@pytest.mark.parametrize(
    ("name", "value"), [("mode", "finetune"), ("unfreeze", 1.5), ("unfreeze", -1), ("resolution", 8)]
)
def test_settings_are_checked_before_keras_is_needed(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        models.find("transfer").check(name, value)


def test_a_count_stays_a_count_and_a_share_a_share() -> None:
    check = models.find("transfer").check
    assert [type(check("unfreeze", value)) for value in (1, 1.0)] == [int, float]
