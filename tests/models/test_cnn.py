from pathlib import Path

import numpy as np
import pytest

from kerasdl import models
from kerasdl.errors import UserError


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


def names_of(model) -> list[str]:
    return [layer.name for layer in model.layers]


def test_the_cnn_16_32_has_the_published_number_of_parameters() -> None:
    assert models.cnn((28, 28, 1), 10).count_params() == 12_810
    # Images without a channel axis are grey.
    assert models.cnn((28, 28), 10).count_params() == 12_810


def test_layers_are_named_by_what_they_do() -> None:
    stages = [f"{name}_{number}" for number in (1, 2) for name in ("conv", "activation", "pool")]
    assert names_of(models.cnn((28, 28, 1), 10)) == ["features", *stages, "flatten", "output"]
    model = models.cnn((12, 12), 3, filters=[4], convolutions=2, batch_norm=True, dropout=0.1, dense=5, pooling="max")
    hidden = [f"{name}_{number}" for number in (1, 2) for name in ("conv", "batch_norm", "activation")]
    dense = ["dense_3", "batch_norm_3", "activation_3", "dropout_2"]
    assert names_of(model) == ["features", "channel", *hidden, "pool_1", "dropout_1", "pooling", *dense, "output"]


@pytest.mark.parametrize(("pooling", "features"), [("flatten", 4 * 4 * 8), ("average", 8), ("max", 8)])
def test_pooling_makes_features_of_maps(pooling: str, features: int) -> None:
    model = models.cnn((16, 16, 3), 5, filters=[4, 8], padding="same", pooling=pooling)
    assert model.get_layer("output").kernel.shape == (features, 5)


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3)])
def test_a_cnn_gives_probabilities_and_survives_saving(classes: int, units: int, tmp_path: Path) -> None:
    import keras

    model = models.cnn((9, 8, 2), classes, filters=[3], dense=4, batch_norm=True, augment=[{"layer": "RandomFlip"}])
    images = np.random.default_rng(0).random((4, 9, 8, 2), "float32")
    probabilities = np.asarray(model.predict(images, verbose=0))
    assert probabilities.shape == (4, units)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    model.save(tmp_path / "cnn.keras")
    loaded = keras.saving.load_model(tmp_path / "cnn.keras", safe_mode=True)
    np.testing.assert_array_equal(np.asarray(loaded.predict(images, verbose=0)), probabilities)


def test_l2_and_the_initializer_reach_every_kernel() -> None:
    import keras

    model = models.cnn((10, 10, 1), 3, filters=[2], dense=3, l2=0.5, initializer="he_normal")
    kernels = [weight for weight in model.get_weights() if weight.ndim > 1]
    total = sum(float(keras.ops.convert_to_numpy(loss)) for loss in model.losses)
    assert len(kernels) == 3
    assert total == pytest.approx(0.5 * sum(float((kernel**2).sum()) for kernel in kernels), rel=1e-5)
    for name in ("conv_1", "dense_2"):
        assert type(model.get_layer(name).kernel_initializer).__name__ == "HeNormal"


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((8, 8, 1), {}, "cnn: images of 8 x 8 are 3 x 3 at stage 2 of 2, too small"),
        ((28, 2), {}, "28 x 2 are 28 x 2 at stage 1"),
        ((4, 4), {"padding": "same", "filters": [2, 2, 2]}, "1 x 1 at stage 3 of 3"),
        ((5,), {}, "not features of shape (5,); choose mlp or softmax"),
    ],
)
def test_images_that_cannot_be_are_refused(shape: tuple[int, ...], settings: dict, message: str) -> None:
    with pytest.raises(UserError) as caught:
        models.cnn(shape, 3, **settings)
    assert message in str(caught.value)


def test_the_smallest_images_that_fit_are_taken() -> None:
    # 3 x 3 kernels and 2 x 2 pools: 10 -> 8 -> 4 -> 2 -> 1.
    assert models.cnn((10, 10), 3).output_shape == (None, 3)
    with pytest.raises(UserError):
        models.cnn((9, 9), 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [("filters", [0]), ("filters", 16), ("filters", "16"), ("padding", "full"), ("pooling", "mean"), ("kernel", 0)],
)
def test_settings_are_checked_before_keras_is_needed(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        models.find("cnn").check(name, value)


def test_lists_of_filters_are_taken_as_they_are() -> None:
    assert models.find("cnn").check("filters", [4, 8]) == [4, 8]
