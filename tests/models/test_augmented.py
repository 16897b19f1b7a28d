import inspect

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError
from kerasdl.models.augmented import GEOMETRIC, NAMES, PHOTOMETRIC


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


# What layers need that have no default.
ARGUMENTS = {
    "GaussianDropout": {"rate": 0.3},
    "GaussianNoise": {"stddev": 0.1},
    "RandomBrightness": {"factor": 0.5},
    "RandomColorDegeneration": {"factor": 0.5},
    "RandomColorJitter": {"brightness_factor": 0.5},
    "RandomContrast": {"factor": 0.5},
    "RandomHue": {"factor": 0.3},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.1},
    "RandomSaturation": {"factor": 0.5},
    "RandomSharpness": {"factor": 0.5},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
}


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((4, 8, 8, channels), "float32")


def test_every_random_layer_of_keras_is_known_or_left_out_on_purpose() -> None:
    import keras

    # RandomCrop changes sizes at inference too; RandAugment and RandomApply are made of others.
    left_out = {"RandomCrop", "RandomApply"}
    there = {
        name
        for name, kind in vars(keras.layers).items()
        if name.startswith("Random") and inspect.isclass(kind) and "preprocessing" in kind.__module__
    }
    assert there - left_out <= set(NAMES)
    assert not set(GEOMETRIC) & set(PHOTOMETRIC)


@pytest.mark.parametrize("name", NAMES)
def test_inference_is_the_identity(name: str) -> None:
    import keras

    if not hasattr(keras.layers, name):
        pytest.skip(f"this Keras has no {name}")
    (layer,) = models.augmented([{"layer": name, **ARGUMENTS.get(name, {})}])
    assert layer.name == "augment_1"
    x = images()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer(x, training=False)), x)


@pytest.mark.parametrize("name", ["RandomBrightness", "RandomContrast", "RandomFlip", "RandomTranslation"])
def test_training_changes_images_and_keeps_them_between_0_and_1(name: str) -> None:
    import keras

    (layer,) = models.augmented([{"layer": name, **ARGUMENTS.get(name, {}), "seed": 1}])
    changed = keras.ops.convert_to_numpy(layer(images(), training=True))
    assert np.abs(changed - images()).max() > 0.01
    assert changed.min() >= 0
    assert changed.max() <= 1
    # Keras' own default would take 0..255 and leave such images almost as they are.
    assert "value_range" not in inspect.signature(type(layer)).parameters or tuple(layer.value_range) == (0, 1)


def test_layers_come_in_order_after_the_input() -> None:
    augment = [{"layer": "RandomFlip", "mode": "horizontal"}, {"layer": "RandomRotation", "factor": 0.1}]
    model = models.cnn((8, 8, 3), 3, filters=[2], augment=augment)
    assert [layer.name for layer in model.layers][:4] == ["features", "augment_1", "augment_2", "conv_1"]
    assert model.get_layer("augment_1").mode == "horizontal"
    plain = models.cnn((8, 8, 3), 3, filters=[2])
    plain.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        np.asarray(model.predict(images(), verbose=0)), np.asarray(plain.predict(images(), verbose=0))
    )


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"layer": "RandomFlp"}, "'RandomFlp' is not an augmentation layer; did you mean 'RandomFlip'?"),
        ({"layer": "Dense", "units": 3}, "'Dense' is not an augmentation layer"),
        ({"mode": "horizontal"}, "names no layer"),
        ({"layer": "RandomFlip", "mod": "horizontal"}, "RandomFlip takes no 'mod'; did you mean 'mode'?"),
        ({"layer": "RandomFlip", "mode": "sideways"}, "RandomFlip: "),
        ({"layer": "RandomRotation"}, "RandomRotation: "),
        ({"layer": "RandomRotation", "factor": "much"}, "RandomRotation: "),
        ({"layer": "GaussianNoise", "stddev": -1}, "GaussianNoise: "),
    ],
)
def test_what_cannot_be_names_the_layer(description: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        models.augmented([{"layer": "RandomFlip"}, description])
    assert str(caught.value).startswith("augment, layer 2: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_layers_that_need_colour_say_so_of_grey_images() -> None:
    with pytest.raises(UserError, match="layer 1: RandomHue needs images of 3 channels, not 1"):
        models.cnn((8, 8), 3, filters=[2], augment=[{"layer": "RandomHue", "factor": 0.1}])


def test_a_study_learns_of_a_misspelt_layer_before_keras_is_needed() -> None:
    with pytest.raises(ValueError, match="did you mean 'RandomFlip'"):
        models.find("cnn").check("augment", [{"layer": "RandomFlp"}])
    right = [{"layer": "RandomFlip", "mode": "horizontal"}]
    assert models.find("cnn").check("augment", right) == right


def test_masks_do_not_move_so_a_unet_takes_only_layers_that_leave_pixels_in_place() -> None:
    with pytest.raises(UserError, match="layer 1: RandomFlip moves the image and not its mask"):
        models.unet((8, 8), 2, augment=[{"layer": "RandomFlip"}])
    model = models.unet((8, 8), 2, filters=[2, 2], augment=[{"layer": "GaussianNoise", "stddev": 0.1}])
    assert model.layers[2].name == "augment_1"
