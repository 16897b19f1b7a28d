"""What the backends' files offer, each by itself."""

import keras
import numpy as np
import pytest

from kerasdl.train.backends import values


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (2, 3)])
def test_values_are_those_that_keras_gives_and_copies(backend_name: str, dtype: str, shape: tuple[int, ...]) -> None:
    if (backend_name, dtype) == ("jax", "float64"):
        pytest.skip("JAX computes in 32 bits here")
    expected = np.random.default_rng(0).uniform(0, 9, shape).astype(dtype)
    variable = keras.Variable(expected, dtype=dtype, trainable=False)
    (found,) = values([variable])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    variable.assign(np.zeros(shape, dtype))
    np.testing.assert_array_equal(found, expected)
