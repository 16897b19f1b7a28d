"""Handwritten digits, small models on them, and a NumPy model whose gradients are written out by hand."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kerasdl import data


@pytest.fixture
def digits(backend_name: str) -> SimpleNamespace:
    """200 rows of digits: `x` of 64 columns, `images` of 8 x 8 x 1, labels `y`; batches of 64 leave a rest of 8."""
    train = data.load("digits").train
    images = train.x[:200].astype("float32")
    return SimpleNamespace(x=images.reshape(200, 64), images=images, y=train.y[:200])


@pytest.fixture
def compiled(backend_name: str) -> Callable[..., Any]:
    """Compiles a freshly built model with a loss on logits, always from the same seed."""
    import keras

    def compile(build: Callable[[], Any], optimizer: Any = "sgd", **more: Any) -> Any:
        keras.utils.set_random_seed(7)
        model = build()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=["accuracy"], **more)
        return model

    return compile


@pytest.fixture
def mlp(backend_name: str) -> Callable[[], Any]:
    """Builds 64 columns, 12 with ReLU, 8 with tanh, 10 logits."""
    import keras

    def build() -> Any:
        return keras.Sequential(
            [
                keras.Input((64,)),
                keras.layers.Dense(12, activation="relu", name="first"),
                keras.layers.Dense(8, activation="tanh", name="second"),
                keras.layers.Dense(10, name="logits"),
            ]
        )

    return build


@pytest.fixture
def values(backend_name: str) -> Callable[[Any], list[np.ndarray]]:
    """Gives all that a trained model holds: its variables and its optimizer's."""
    import keras

    def values(model: Any) -> list[np.ndarray]:
        return [
            np.array(keras.ops.convert_to_numpy(variable))
            for variable in (*model.variables, *model.optimizer.variables)
        ]

    return values


class Reference:
    """The network of `mlp` in float64, with its gradients by the chain rule, trained by SGD with momentum."""

    def __init__(self, weights: list[np.ndarray], rate: float, momentum: float) -> None:
        self.weights = [weight.astype("float64") for weight in weights]
        self.velocities = [np.zeros_like(weight) for weight in self.weights]
        self.rate, self.momentum = rate, momentum

    def gradients(self, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
        """The gradients of the mean cross-entropy."""
        (w1, b1, w2, b2, w3, b3), x = self.weights, x.astype("float64")
        z1 = x @ w1 + b1
        a1 = np.maximum(z1, 0)
        a2 = np.tanh(a1 @ w2 + b2)
        logits = a2 @ w3 + b3
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        d3 = (shares - np.eye(10)[y]) / len(x)
        d2 = d3 @ w3.T * (1 - a2**2)
        d1 = d2 @ w2.T * (z1 > 0)
        return [x.T @ d1, d1.sum(0), a1.T @ d2, d2.sum(0), a2.T @ d3, d3.sum(0)]

    def step(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Learns from a batch and returns the four numbers for each weight, `(6, 4)`."""
        rows = []
        for index, gradient in enumerate(self.gradients(x, y)):
            old = self.weights[index]
            self.velocities[index] = self.momentum * self.velocities[index] - self.rate * gradient
            self.weights[index] = old + self.velocities[index]
            norm, change = np.linalg.norm(old), np.linalg.norm(self.velocities[index])
            ratio = change / norm if norm else np.inf
            rows.append([np.linalg.norm(gradient), norm, ratio, np.mean(gradient == 0)])
        return np.array(rows)

    def epoch(self, x: np.ndarray, y: np.ndarray, batch_size: int) -> np.ndarray:
        """Learns from rows in their order and returns `(steps, 6, 4)`."""
        starts = range(0, len(x), batch_size)
        return np.stack([self.step(x[i : i + batch_size], y[i : i + batch_size]) for i in starts])


@pytest.fixture
def reference() -> type[Reference]:
    return Reference


@pytest.fixture
def half_precision(backend_name: str) -> Iterator[None]:
    """Keras in mixed precision for one test."""
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")
