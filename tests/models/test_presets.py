import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError
from kerasdl.models import presets


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


@pytest.fixture
def preset(tmp_path: Path) -> tuple[str, object]:
    """A folder as KerasHub saves it, and the network in it."""
    keras_hub = pytest.importorskip("keras_hub")
    network = keras_hub.models.MobileNetBackbone(
        stackwise_expansion=[[8]],
        stackwise_num_blocks=[1],
        stackwise_num_filters=[[8]],
        stackwise_kernel_size=[[3]],
        stackwise_num_strides=[[2]],
        stackwise_se_ratio=[[None]],
        stackwise_activation=[["relu"]],
        stackwise_padding=[[1]],
        output_num_filters=8,
        input_num_filters=8,
        depthwise_filters=8,
        depthwise_stride=1,
        depthwise_residual=True,
        last_layer_filter=8,
        squeeze_and_excite=None,
        image_shape=(None, None, 3),
    )
    folder = str(tmp_path / "preset")
    network.save_to_preset(folder)
    keras_hub.layers.MobileNetImageConverter(image_size=(32, 32), scale=1 / 127.5, offset=-1.0).save_to_preset(folder)
    return folder, network


def test_a_preset_brings_its_weights_and_its_scaling(preset: tuple[str, object], tmp_path: Path) -> None:
    import keras

    folder, network = preset
    model = models.transfer((32, 32, 3), 3, backbone=folder, resolution=32)
    body = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    for found, expected in zip(body.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    scaling = model.get_layer("preprocessing")
    assert (scaling.scale, scaling.offset) == (pytest.approx(2.0), -1.0)
    rows = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(
        np.asarray(loaded.predict(rows, verbose=0)), np.asarray(model.predict(rows, verbose=0)), atol=1e-6
    )


def test_a_preset_that_cannot_be_had_is_named(tmp_path: Path) -> None:
    pytest.importorskip("keras_hub")
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        UserError, match=r"empty' cannot be had from KerasHub .* presets need a network or the folder"
    ) as caught:
        models.transfer((32, 32, 3), 3, backbone=str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)


def test_a_preset_needs_the_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(UserError, match=r"presets need keras-hub: .*pip install 'kerasdl\[hub\]'"):
        presets.build("resnet_18_imagenet", (32, 32, 3), None)


def test_whether_it_is_installed_is_told_without_importing_it() -> None:
    assert presets.installed() == (importlib.util.find_spec("keras_hub") is not None)


def test_a_preset_takes_no_other_weights() -> None:
    with pytest.raises(UserError, match=r"weights: mine\.h5: presets bring their own"):
        presets.build("resnet_18_imagenet", (32, 32, 3), "mine.h5")
