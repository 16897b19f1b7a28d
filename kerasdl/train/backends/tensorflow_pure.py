"""Random layers of Keras in compiled TensorFlow programs, drawing what they draw in `fit`.

XLA orders the numbers of its random generators otherwise than TensorFlow's own kernels, which Keras' `fit` runs on a
CPU. This is the kernels' generator, Philox4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC
2011), in plain operations, which the vectorizer maps and XLA fuses.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import tensorflow as tf
from keras.src.backend.tensorflow import random as keras_random
from keras.src.random.seed_generator import draw_seed

from kerasdl.train.backends.substitution import Substitution

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
# How tensorflow/core/kernels/stateless_random_ops.cc scrambles a seed into a key and a counter.
_SCRAMBLING_KEY = 0x02461E293EC8F720
_SMALLEST_UNIFORM = 1e-7


def _words(counter: Sequence[Any], key: Sequence[Any]) -> list[Any]:
    """Gives four uint32 words for each counter, from four words of counter and two of key, all uint32 tensors."""
    counter, key = list(counter), list(key)
    for number in range(_ROUNDS):
        if number:
            key = [word + tf.constant(step, tf.uint32) for word, step in zip(key, _INCREMENTS, strict=True)]
        products = [
            tf.cast(word, tf.uint64) * tf.constant(factor, tf.uint64)
            for word, factor in zip((counter[0], counter[2]), _MULTIPLIERS, strict=True)
        ]
        low = [tf.cast(tf.bitwise.bitwise_and(one, tf.constant(0xFFFFFFFF, tf.uint64)), tf.uint32) for one in products]
        high = [tf.cast(tf.bitwise.right_shift(one, tf.constant(32, tf.uint64)), tf.uint32) for one in products]
        exclusive = tf.bitwise.bitwise_xor
        counter = [
            exclusive(exclusive(high[1], counter[1]), key[0]),
            low[1],
            exclusive(exclusive(high[0], counter[3]), key[1]),
            low[0],
        ]
    return counter


def _draw_words(seed: Any, count: int) -> Any:
    """Gives random uint32 words, `(count,)`, for a seed of Keras', two integers."""
    zero = tf.constant(0, tf.uint32)
    whole = tf.cast(tf.cast(keras_random._cast_seed(seed), tf.int64), tf.uint64)
    parts = [
        tf.cast(tf.bitwise.bitwise_and(whole, tf.constant(0xFFFFFFFF, tf.uint64)), tf.uint32),
        tf.cast(tf.bitwise.right_shift(whole, tf.constant(32, tf.uint64)), tf.uint32),
    ]
    scrambling = [tf.constant(_SCRAMBLING_KEY & 0xFFFFFFFF, tf.uint32), tf.constant(_SCRAMBLING_KEY >> 32, tf.uint32)]
    mixed = _words([parts[0][0], parts[1][0], parts[0][1], parts[1][1]], scrambling)
    blocks = tf.range(-(-count // 4), dtype=tf.int32)
    index = tf.cast(blocks, tf.uint32)
    counter = [index, tf.zeros_like(index), tf.zeros_like(index) + mixed[2], tf.zeros_like(index) + mixed[3]]
    words = _words(counter, [zero + mixed[0], zero + mixed[1]])
    return tf.reshape(tf.stack(words, axis=1), (-1,))[:count]


def _uniform(words: Any) -> Any:
    """Turns words into float32 in [0, 1): their low 23 bits as a mantissa."""
    mantissa = tf.bitwise.bitwise_and(words, tf.constant(0x7FFFFF, tf.uint32))
    return tf.bitcast(tf.bitwise.bitwise_or(mantissa, tf.constant(127 << 23, tf.uint32)), tf.float32) - 1.0


def _normal(words: Any) -> Any:
    """Turns pairs of words into pairs of standard normal numbers (Box and Muller, 1958)."""
    pairs = tf.reshape(words, (-1, 2))
    radius = tf.sqrt(-2.0 * tf.math.log(tf.maximum(_uniform(pairs[:, 0]), _SMALLEST_UNIFORM)))
    angle = 2.0 * math.pi * _uniform(pairs[:, 1])
    return tf.reshape(tf.stack([tf.sin(angle) * radius, tf.cos(angle) * radius], axis=1), (-1,))


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: str | None = None, seed: Any = None) -> Any:
    """As `keras.src.backend.tensorflow.random.uniform`, of floating point numbers."""
    drawn = tf.reshape(_uniform(_draw_words(draw_seed(seed), math.prod(shape))), shape)
    return tf.cast(drawn * (maxval - minval) + minval, dtype or keras_random.floatx())


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Any = None) -> Any:
    """As `keras.src.backend.tensorflow.random.normal`."""
    count = math.prod(shape)
    drawn = tf.reshape(_normal(_draw_words(draw_seed(seed), count + count % 2))[:count], shape)
    return tf.cast(drawn * stddev + mean, dtype or keras_random.floatx())


def dropout(inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
    """As `keras.src.backend.tensorflow.random.dropout`."""
    sides = inputs.shape if noise_shape is None else noise_shape
    shape = [own if side is None else side for own, side in zip(inputs.shape, sides, strict=True)]
    rate = tf.cast(0.0 + rate, inputs.dtype)
    stays = uniform(shape, dtype=inputs.dtype, seed=seed) >= rate
    return tf.where(stays, inputs / (1.0 - rate), tf.zeros_like(inputs))


_random = Substitution(keras_random, "uniform", "normal", "dropout")


@contextmanager
def pure(state: list[Any]) -> Iterator[SimpleNamespace]:
    """Lets Keras' layers draw by the functions above; TensorFlow keeps no further state."""
    with _random.by({"uniform": uniform, "normal": normal, "dropout": dropout}):
        yield SimpleNamespace(state=state)
