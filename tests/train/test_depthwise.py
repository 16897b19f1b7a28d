"""Depthwise convolutions as kerasdl computes them on a processor are those of Keras."""

from typing import Any

import keras
import numpy as np
import pytest

from kerasdl.train.backends import current_backend


@pytest.mark.parametrize(
    ("taps", "strides", "padding", "dilation", "size", "multiplier"),
    [
        (3, 1, "same", 1, (7, 6), 1),
        (3, 2, "same", 1, (8, 7), 1),
        (5, 2, "same", 1, (9, 12), 1),
        (3, 1, "valid", 1, (5, 9), 1),
        (2, 3, "valid", 1, (7, 8), 1),
        (3, 1, "same", 2, (9, 9), 1),
        (3, 1, "valid", 3, (11, 9), 1),
        (3, 1, "same", 1, (6, 6), 2),
    ],
)
def test_values_and_gradients_are_those_of_keras(
    backend_name: str, taps: int, strides: int, padding: str, dilation: int, size: tuple[int, int], multiplier: int
) -> None:
    random = np.random.default_rng(taps)
    x = random.normal(size=(2, *size, 3)).astype("float32")
    layer = keras.layers.DepthwiseConv2D(taps, strides, padding, multiplier, dilation_rate=dilation)
    expected = keras.ops.convert_to_numpy(layer(x))
    kernel = layer.kernel.value
    backend = current_backend()

    def loss(parts: list[Any]) -> tuple[Any, Any]:
        found = keras.ops.depthwise_conv(parts[0], parts[1], strides, padding, dilation_rate=dilation)
        return keras.ops.sum(found**2), found

    parts = [keras.ops.convert_to_tensor(x), kernel]
    (_, plain), expected_gradients = backend.value_and_grad(loss)(parts)
    with backend.quick_layers():
        (_, quick), gradients = backend.value_and_grad(loss)(parts)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(quick) + 0.0, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(plain), expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(other), rtol=1e-4, atol=1e-4
        )


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the other backends compute them as they are")
def test_xla_gets_no_convolution_of_single_channels(backend_name: str) -> None:
    import jax

    if jax.default_backend() != "cpu":
        pytest.skip("not on a processor")
    layer = keras.layers.DepthwiseConv2D(3)
    layer.build((None, 8, 8, 4))
    x = np.zeros((1, 8, 8, 4), "float32")

    def text() -> str:
        return jax.jit(lambda given: layer(given)).lower(x).as_text()

    assert "convolution" in text()
    with current_backend().quick_layers():
        assert "convolution" not in text()
    assert "convolution" in text()
