"""Weights of another seed, given to a model that was built: those that a builder would give, or none at all."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


def table(layers: Any) -> Any:
    import keras

    inputs = keras.Input((6,))
    hidden = inputs
    for layer in layers:
        hidden = layer(hidden)
    return keras.Model(inputs, keras.layers.Dense(3)(hidden))


def perceptron(keras: Any) -> Any:
    dense = [keras.layers.Dense(5, kernel_initializer=name) for name in ("he_normal", "orthogonal", "random_uniform")]
    return table([*dense, keras.layers.BatchNormalization(), keras.layers.Dropout(0.5), keras.layers.GaussianNoise(1)])


def images(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.SeparableConv2D(4, 3), layers.Flatten(), layers.Dense(2)]
    )


def words(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((5,)), layers.Embedding(7, 4), layers.LSTM(3, dropout=0.1), layers.Dense(2)])


def fixed_seed(keras: Any) -> Any:
    return table([keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=3)), keras.layers.Dense(4)])


def shared_initializer(keras: Any) -> Any:
    one = keras.initializers.GlorotNormal()
    return table([keras.layers.Dense(4, kernel_initializer=one), keras.layers.Dense(4, kernel_initializer=one)])


def nested(keras: Any) -> Any:
    inner = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4), keras.layers.Dropout(0.1)])
    return table([inner, keras.layers.Dense(4, bias_initializer="normal")])


def loaded(keras: Any) -> Any:
    model = perceptron(keras)
    model.layers[1].set_weights([np.ones((6, 5)), np.ones(5)])
    return model


def drawn_by_numpy(keras: Any) -> Any:
    return table([keras.layers.Dense(4, bias_initializer=keras.initializers.Constant(np.random.rand()))])


def drawn_by_python(keras: Any) -> Any:
    return table([keras.layers.Dense(4, bias_initializer=keras.initializers.Constant(random.random()))])


def rate_from_a_seed_of_keras(keras: Any) -> Any:
    return table([keras.layers.Dense(4, bias_initializer=keras.initializers.Constant(random.randint(1, int(1e9))))])


def own_initializer(keras: Any) -> Any:
    def drawn(shape: Any, dtype: Any = None) -> Any:
        return keras.random.normal(shape, dtype=dtype)

    return table([keras.layers.Dense(4, kernel_initializer=drawn)])


def own_seed(keras: Any) -> Any:
    seed = random.randint(1, int(1e9))

    def drawn(shape: Any, dtype: Any = None) -> Any:
        return keras.random.normal(shape, dtype=dtype, seed=seed)

    return table([keras.layers.Dense(4, kernel_initializer=drawn)])


def initializer_of_a_generator(keras: Any) -> Any:
    generator = keras.random.SeedGenerator()
    dense = keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=generator))
    dense.generator = generator
    return table([dense])


KNOWN = [perceptron, images, words, fixed_seed, shared_initializer, nested]
UNKNOWN = [
    loaded,
    drawn_by_numpy,
    drawn_by_python,
    rate_from_a_seed_of_keras,
    own_initializer,
    own_seed,
    initializer_of_a_generator,
]


def built(build: Callable[[Any], Any], seed: int) -> tuple[Any, Any]:
    import keras

    from kerasdl.train.backends import set_seed
    from kerasdl.train.reseeding import find_reseeding, initializers_kept, random_states

    set_seed(seed)
    with initializers_kept() as kept:
        model = build(keras)
    return model, find_reseeding(model, seed, random_states(), kept)


@pytest.mark.parametrize("build", KNOWN)
def test_another_seed_gives_what_it_would_build(build: Callable[[Any], Any], backend_name: str) -> None:
    from kerasdl.train.backends import values

    model, reseeding = built(build, 1)
    start = values(model.variables)
    for seed in (2, 77, 1):
        reseeding.reseed(seed)
        other, _ = built(build, seed)
        for own, expected in zip(values(model.variables), values(other.variables), strict=True):
            np.testing.assert_array_equal(own, expected)
        same = all(map(np.array_equal, values(model.variables), start))
        assert same == (seed == 1)


@pytest.mark.parametrize("build", UNKNOWN)
def test_what_does_not_follow_from_keras_draws_alone_is_not_guessed(
    build: Callable[[Any], Any], backend_name: str
) -> None:
    assert built(build, 1)[1] is None
