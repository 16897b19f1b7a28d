"""Batch normalization within PyTorch's packs is Keras' own, by other operations."""

from typing import Any

import keras
import numpy as np
import pytest


@pytest.fixture
def torch(backend_name: str) -> Any:
    if backend_name != "torch":
        pytest.skip("only PyTorch's packs normalize otherwise")
    return pytest.importorskip("torch")


def _output_and_gradients(torch: Any, x: Any, offset: Any, scale: Any, towards: Any) -> Any:
    """Keras' moments and normalization of each member, with the gradients of what follows."""
    from keras.src.backend.torch import nn

    def loss(x: Any, offset: Any, scale: Any, towards: Any) -> Any:
        mean, variance = nn.moments(x, [0])
        found = nn.batch_normalization(x, mean, variance, -1, offset, scale, 1e-3)
        # The moments themselves may have gradients of their own.
        return (found * towards).sum() + (mean * variance).sum(), (found, mean, variance)

    return torch.func.vmap(torch.func.grad_and_value(loss, argnums=(0, 1, 2), has_aux=True))(x, offset, scale, towards)


@pytest.mark.parametrize("rows", [2, 50])
def test_values_and_gradients_are_those_of_keras(torch: Any, rows: int) -> None:
    from kerasdl.train.backends.torch_normalization import _Normalized
    from kerasdl.train.backends.torch_pure import pure

    random = np.random.default_rng(0)
    x = keras.ops.convert_to_tensor(random.normal(2.0, 3.0, (3, rows, 4)).astype("float32"))
    offset, scale = (keras.ops.convert_to_tensor(random.normal(size=(3, 4)).astype("float32")) for _ in range(2))
    towards = keras.ops.convert_to_tensor(random.normal(size=x.shape).astype("float32"))
    expected = _output_and_gradients(torch, x, offset, scale, towards)
    used = []
    own = _Normalized.vmap

    def noted(*arguments: Any) -> Any:
        used.append(arguments)
        return own(*arguments)

    with pytest.MonkeyPatch.context() as patch, pure([]):
        patch.setattr(_Normalized, "vmap", staticmethod(noted))
        found = _output_and_gradients(torch, x, offset, scale, towards)
    assert used
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: keras.layers.BatchNormalization(scale=False),
        lambda: keras.layers.BatchNormalization(center=False),
        lambda: keras.layers.BatchNormalization(axis=1),
        lambda: keras.layers.BatchNormalization(trainable=False),
    ],
)
def test_other_layers_are_left_to_keras(torch: Any, layer: Any) -> None:
    from kerasdl.train.backends.torch_pure import pure

    made = layer()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32"))
    made.build(x.shape)
    expected = made(x, training=True)
    fresh = layer()
    fresh.build(x.shape)
    with pure([]):
        found = fresh(x, training=True)
    torch.testing.assert_close(found, expected)
