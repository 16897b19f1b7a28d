import numpy as np
import pytest

from kerasdl import models

COUNTS = [
    (depth, width, count)
    for depth, widths in {
        0: {1: 3, 2: 3, 3: 3},
        1: {1: 5, 2: 9, 3: 13},
        2: {1: 7, 2: 15, 3: 25},
        3: {1: 9, 2: 21, 3: 37},
    }.items()
    for width, count in widths.items()
]


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


def names_of(model) -> list[str]:
    return [layer.name for layer in model.layers]


def trainable(model) -> int:
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


@pytest.mark.parametrize(("depth", "width", "count"), COUNTS)
def test_xor_mlps_have_the_published_numbers_of_parameters(depth: int, width: int, count: int) -> None:
    model = models.mlp((2,), 2, depth=depth, width=width)
    assert model.count_params() == trainable(model) == count


def test_the_mlp_784_128_64_10_has_the_published_number_of_parameters() -> None:
    assert models.mlp((28, 28), 10, width=[128, 64]).count_params() == 109_386


def test_softmax_has_one_weight_for_each_feature_and_class() -> None:
    assert models.softmax((28, 28), 10).count_params() == 784 * 10 + 10
    # Two classes have two units here: the model is multinomial whatever their number.
    assert models.softmax((2,), 2).output_shape == (None, 2)


def test_depth_0_is_linear() -> None:
    model = models.mlp((3,), 4, depth=0, dropout=0.5, batch_norm=True)
    assert names_of(model) == ["features", "output"]
    kernel, bias = model.get_weights()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    logits = x @ kernel + bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.asarray(model.predict(x, verbose=0)), shares, rtol=1e-5, atol=1e-6)


def test_layers_are_named_by_what_they_do() -> None:
    model = models.mlp((4, 4, 1), 3, depth=2, batch_norm=True, dropout=0.1)
    hidden = [f"{name}_{number}" for number in (1, 2) for name in ("dense", "batch_norm", "activation", "dropout")]
    assert names_of(model) == ["features", "flatten", *hidden, "output"]
    assert names_of(models.mlp((2,), 3, depth=1)) == ["features", "dense_1", "activation_1", "output"]
    assert names_of(models.softmax((4, 4), 3)) == ["features", "flatten", "output"]


@pytest.mark.parametrize(("classes", "units"), [(2, 1), (3, 3), (10, 10)])
def test_an_mlp_gives_probabilities(classes: int, units: int) -> None:
    model = models.mlp((5,), classes)
    assert model.output_shape == (None, units)
    probabilities = np.asarray(model.predict(np.ones((4, 5), "float32"), verbose=0))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if units > 1:
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_batch_normalization_adds_four_numbers_a_unit_two_of_them_trained() -> None:
    bare = models.mlp((6,), 3, depth=2, width=8)
    normalized = models.mlp((6,), 3, depth=2, width=8, batch_norm=True)
    assert normalized.count_params() - bare.count_params() == 4 * 16
    assert trainable(normalized) - trainable(bare) == 2 * 16


def test_dropout_drops_while_training_only() -> None:
    model = models.mlp((6,), 3, depth=1, width=64, dropout=0.9)
    x = np.ones((1, 6), "float32")
    calm = [np.asarray(model.predict(x, verbose=0)) for _ in range(2)]
    np.testing.assert_array_equal(*calm)
    assert model.get_layer("dropout_1").rate == 0.9


@pytest.mark.parametrize("build", [models.mlp, models.softmax])
def test_l2_adds_the_kernels_squares_to_the_loss(build) -> None:
    import keras

    assert build((6,), 3).losses == []
    model = build((6,), 3, l2=0.5)
    kernels = [weight for weight in model.get_weights() if weight.ndim == 2]
    total = sum(float(keras.ops.convert_to_numpy(loss)) for loss in model.losses)
    assert total == pytest.approx(0.5 * sum(float((kernel**2).sum()) for kernel in kernels), rel=1e-5)


def test_the_initializer_and_activation_are_those_that_were_named() -> None:
    model = models.mlp((6,), 3, depth=2, width=256, initializer="he_normal", activation="tanh")
    for number in (1, 2):
        assert type(model.get_layer(f"dense_{number}").kernel_initializer).__name__ == "HeNormal"
        assert model.get_layer(f"activation_{number}").activation.__name__ == "tanh"
    spread = model.get_layer("dense_2").get_weights()[0].std()
    assert spread == pytest.approx(np.sqrt(2 / 256), rel=0.1)


def test_every_name_that_the_hints_allow_builds_a_model() -> None:
    from typing import get_args

    from kerasdl.models.mlp import Activation, Initializer

    for activation in get_args(Activation):
        models.mlp((2,), 2, depth=1, width=2, activation=activation)
    for initializer in get_args(Initializer):
        models.mlp((2,), 2, depth=1, width=2, initializer=initializer)
