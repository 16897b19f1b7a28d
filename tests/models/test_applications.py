import importlib
import inspect
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from kerasdl import models
from kerasdl.backend import installed
from kerasdl.errors import UserError
from kerasdl.models import applications, backbones

# The smallest of each family.
FAMILIES = [
    "ConvNeXtTiny",
    "DenseNet121",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "InceptionResNetV2",
    "InceptionV3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "NASNetMobile",
    "ResNet50",
    "ResNet50V2",
    "VGG16",
    "VGG19",
    "Xception",
]

# Inception's maps are not exactly halves, DenseNet's are joined, VGG's have no way round, MobileNet's are weighed.
ONE_OF_EACH_MODE = ["InceptionV3", "DenseNet121", "VGG16", "MobileNetV3Small"]


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


@pytest.fixture
def built_once(backend_name: str) -> None:
    """Skips all backends but one: the graph is the same, and JAX compiles a random initializer for every shape."""
    if backend_name != next(name for name in ("tensorflow", "torch", "jax") if name in installed()):
        pytest.skip("the same graph is built on another backend")


def module_of(name: str):
    import keras

    return importlib.import_module(getattr(keras.applications, name).__module__)


def test_every_application_of_keras_is_known() -> None:
    import keras

    there = {name for name, one in vars(keras.applications).items() if name[0].isupper() and inspect.isfunction(one)}
    assert set(applications.NAMES) == there
    assert len(applications.NAMES) == len(there)
    assert {module_of(name) for name in FAMILIES} == {module_of(name) for name in there}
    assert len({applications.mode(name) for name in ONE_OF_EACH_MODE}) == len(applications._MODES)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mobilenet_v2", "MobileNetV2"),
        ("MobileNetV2", "MobileNetV2"),
        ("vgg16", "VGG16"),
        ("convnext_tiny", "ConvNeXtTiny"),
    ],
)
def test_names_are_taken_as_people_write_them(written: str, name: str) -> None:
    assert applications.find(written) == name


@pytest.mark.parametrize("name", FAMILIES)
def test_images_are_scaled_as_keras_own_preprocessing_does(name: str) -> None:
    import keras

    images = np.random.default_rng(0).random((2, 4, 5, 3), "float32")
    scaled = backbones.find_backbone(name, "imagenet").preprocessed(keras.ops.convert_to_tensor(images))
    expected = module_of(name).preprocess_input(255 * images)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(scaled), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", ONE_OF_EACH_MODE)
def test_the_scaling_survives_saving(name: str, tmp_path: Path) -> None:
    import keras

    images = np.random.default_rng(0).random((2, 4, 5, 3), "float32")
    inputs = keras.Input((4, 5, 3))
    model = keras.Model(inputs, backbones.find_backbone(name, "imagenet").preprocessed(inputs))
    model.save(tmp_path / "scaling.keras")
    loaded = keras.saving.load_model(tmp_path / "scaling.keras", safe_mode=True)
    expected = module_of(name).preprocess_input(255 * images)
    np.testing.assert_allclose(np.asarray(loaded.predict(images, verbose=0)), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.usefixtures("built_once")
@pytest.mark.parametrize(
    "name", [name if name in ONE_OF_EACH_MODE else pytest.param(name, marks=pytest.mark.sweep) for name in FAMILIES]
)
def test_every_family_carries_a_unet_and_a_classifier(name: str, backend_name: str) -> None:
    import keras

    if name == "NASNetMobile" and backend_name == "torch":
        with pytest.raises(UserError, match="NASNetMobile is not available with the torch backend"):
            applications.build(name, (96, 96, 3), None)
        return
    model = models.unet((100, 76), 2, encoder=name, mode="scratch", filters=[2, 2, 2, 2, 2, 2])
    assert model.output_shape == (None, 100, 76, 2)
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    sides = [maps.shape[1] for maps in body.outputs]
    # At each halving one, each about twice as large as the next.
    assert len(sides) >= 4
    assert all(1.4 < finer / coarser < 5 for finer, coarser in pairwise(sides))


def test_weights_come_from_a_file(tmp_path: Path) -> None:
    import keras

    source = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / "mobilenet.weights.h5"
    source.save_weights(path)
    model = models.transfer((64, 48, 3), 3, backbone="mobilenet", weights=str(path), resolution=32)
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    for found, expected in zip(body.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(UserError, match=r"none\.h5: no such file; give 'imagenet' or the path"):
        models.transfer((32, 32, 3), 3, backbone="mobilenet", weights="none.h5")
    (tmp_path / "other.weights.h5").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="not the weights of MobileNet without its classifier") as caught:
        models.transfer((32, 32, 3), 3, backbone="mobilenet", weights=str(tmp_path / "other.weights.h5"))
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("built_once")
def test_efficientnets_give_the_same_with_weights_from_a_file_as_with_those_that_keras_fetches(
    tmp_path: Path, monkeypatch
) -> None:
    import keras

    shape = (32, 32, 3)
    path = str(tmp_path / "b0.weights.h5")
    source = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=shape)
    # The mean that Keras' files hold; the variance does not matter to what is compared.
    normalization = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    statistics = [np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])]
    normalization.set_weights([*statistics, *normalization.get_weights()[2:]])
    source.save_weights(path)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", lambda *_, **__: path)
    images = np.random.default_rng(0).random((2, *shape), "float32")
    outputs = []
    # The stem shows it; what comes after makes random weights' outputs too small to compare.
    for weights in ("imagenet", path):
        backbone = backbones.find_backbone("EfficientNetB0", weights)
        inputs = keras.Input(shape)
        body = backbone.build(shape, weights)
        stem = keras.Model(body.input, body.get_layer("stem_conv").output)
        model = keras.Model(inputs, stem(backbone.preprocessed(inputs)))
        outputs.append(np.asarray(model.predict(images, verbose=0)))
    assert np.abs(outputs[0]).max() > 0.1
    np.testing.assert_allclose(*outputs, rtol=1e-3, atol=1e-4)


def test_without_a_network_the_error_names_the_file_and_the_ways_out(monkeypatch) -> None:
    def fail(name: str, origin: str, **_: object) -> None:
        raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    with pytest.raises(UserError) as caught:
        models.transfer((96, 96, 3), 3, backbone="mobilenet_v2")
    message = str(caught.value)
    assert message.startswith(
        "MobileNetV2: the ImageNet weights cannot be fetched from https://storage.googleapis.com/"
    )
    for way in ("connect to the network", "~/.keras/models/mobilenet_v2_", "efficientnet_lite0", "mode = 'scratch'"):
        assert way in message
    assert "\n" not in message


def test_images_too_small_for_a_network_are_refused() -> None:
    with pytest.raises(UserError, match="resolution: 64 is too small for InceptionV3; give at least 75"):
        models.transfer((64, 64, 3), 3, backbone="inception_v3", resolution=64, mode="scratch")


def test_a_misspelt_backbone_is_corrected(monkeypatch) -> None:
    monkeypatch.setattr("kerasdl.models.presets.installed", lambda: False)
    with pytest.raises(UserError, match=r"'mobilnet_v2' is not known; did you mean .*pip install 'kerasdl\[hub\]'"):
        models.transfer((64, 64, 3), 3, backbone="mobilnet_v2")
