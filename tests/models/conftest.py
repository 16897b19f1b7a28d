"""Small models without the seconds of compiling them."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest


def draw(initializer: Any, shape: tuple[int, ...], dtype: str | None = None) -> Any:
    """Draws by NumPy what an initializer describes, not truncated: JAX compiles a draw for every shape."""
    import keras

    field = math.prod(shape[:-2])
    fans = {"fan_in": field * shape[-2], "fan_out": field * shape[-1], "fan_avg": field * sum(shape[-2:]) / 2}
    deviation = math.sqrt(initializer.scale / fans[initializer.mode])
    if initializer.distribution == "uniform":
        values = np.random.uniform(-math.sqrt(3) * deviation, math.sqrt(3) * deviation, shape)
    else:
        values = np.random.normal(0, deviation, shape)
    return keras.ops.convert_to_tensor(values.astype("float32"), dtype)


@pytest.fixture
def little_compiled(backend_name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spares most of what compiling costs where a model is built or asked once."""
    if backend_name == "tensorflow":
        # XLA compiles for longer than such small models run.
        monkeypatch.setattr("keras.src.trainers.trainer.model_supports_jit", lambda model: False)
    if backend_name != "jax":
        yield
        return
    import jax
    import keras

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
