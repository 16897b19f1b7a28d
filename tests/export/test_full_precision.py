"""What files are compared with is computed in float32, all of it."""

import numpy as np
import pytest

from kerasdl.export.samples import keras_outputs


def reduced() -> bool:
    """Says whether a product on a GPU would round its factors now."""
    import keras

    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.backends.cudnn.conv.fp32_precision != "ieee"
    if backend == "tensorflow":
        import tensorflow

        return bool(tensorflow.config.experimental.tensor_float_32_execution_enabled())
    import jax

    return jax.config.jax_default_matmul_precision != "highest"


def test_gpus_do_not_round_what_files_are_compared_with(backend_name, monkeypatch):
    import keras

    if backend_name == "jax":
        import jax

        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    seen = []

    class Asking(keras.layers.Layer):
        def call(self, x):
            seen.append(reduced())
            return x * 2

    model = keras.Sequential([keras.Input((3,)), Asking()])
    seen.clear()
    (doubled,) = keras_outputs(model, [np.ones((2, 3), "float32")])
    np.testing.assert_array_equal(doubled, np.full((2, 3), 2.0))
    assert seen == [False]
    assert reduced()


def test_a_failing_model_leaves_the_backend_as_it_was(backend_name):
    import keras

    class Failing(keras.layers.Layer):
        def call(self, x):
            raise ArithmeticError("no")

        def compute_output_shape(self, shape):
            return shape

    before = reduced()
    with pytest.raises(ArithmeticError):
        keras_outputs(keras.Sequential([Failing()]), [np.ones((2, 3), "float32")])
    assert reduced() == before
