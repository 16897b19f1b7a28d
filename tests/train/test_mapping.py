"""TensorFlow's vectorizer with our rules gives what a function gives for one member after another."""

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def tf(backend_name: str) -> Any:
    if backend_name != "tensorflow":
        pytest.skip("the rules are TensorFlow's")
    import tensorflow

    import kerasdl.train.backends.tensorflow  # noqa: F401 - adds the rules

    return tensorflow


FUNCTIONS = {
    "reshape": lambda tf, x: tf.reshape(x, (2, -1)),
    "reshape to its own shape": lambda tf, x: tf.reshape(x, tf.reverse(tf.shape(x), [0])),
    "slice": lambda tf, x: x[1:, -2:0:-1],
    "slice with an ellipsis": lambda tf, x: x[..., 1],
    "slice with a new axis": lambda tf, x: x[:, tf.newaxis, 2:],
    "slice from a place that is computed": lambda tf, x: x[tf.argmin([3, 1, 2]) :],
    "sum": lambda tf, x: tf.reduce_sum(x, -1),
    "norm": lambda tf, x: tf.math.reduce_euclidean_norm(x, -1),
    "mean over all": lambda tf, x: tf.reduce_mean(x),
    "largest, kept": lambda tf, x: tf.reduce_max(x, 0, keepdims=True),
    "smallest over both": lambda tf, x: tf.reduce_min(x, (1, -2)),
    "product": lambda tf, x: tf.reduce_prod(x, []),
    "all and any": lambda tf, x: tf.reduce_all(x > 0, 0) | tf.reduce_any(x < -1, 0),
    "expanded": lambda tf, x: tf.expand_dims(tf.expand_dims(x, 0), -1),
    "tiled": lambda tf, x: tf.tile(x, (2, 1)),
    "bits": lambda tf, x: tf.bitcast(x, tf.int32),
    "gradients": lambda tf, x: tf.gradients(tf.nn.bias_add(x, x[0]) ** 2 * tf.reduce_mean(x), x)[0],
    "gradients of images": lambda tf, x: tf.gradients(tf.nn.bias_add(tf.reshape(x, (1, 2, 2, 3)), x[0, :3]) ** 2, x)[0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("static", [True, False])
def test_members_are_what_they_are_alone(tf: Any, name: str, static: bool) -> None:
    function = FUNCTIONS[name]
    members = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")

    def mapped(x: Any) -> Any:
        return tf.vectorized_map(lambda one: function(tf, one), x, fallback_to_while_loop=False)

    # Without static shapes TensorFlow's own rules have to do.
    known = tf.TensorSpec(members.shape if static else (None, None, None), tf.float32)
    found = tf.function(mapped, input_signature=[known], autograph=False)(members)
    alone = tf.function(lambda one: function(tf, one), autograph=False)
    expected = np.stack([alone(tf.constant(one)).numpy() for one in members])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6, atol=1e-6)


def test_shapes_that_are_known_take_no_operations(tf: Any) -> None:
    def step(x: Any) -> Any:
        return tf.reduce_sum(tf.reshape(x[1:], (-1, 2)), 1, keepdims=True)

    def mapped(x: Any) -> Any:
        return tf.vectorized_map(step, x, fallback_to_while_loop=False)

    graph = tf.function(mapped, autograph=False).get_concrete_function(tf.TensorSpec((5, 3, 4), tf.float32)).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert not kinds & {"ConcatV2", "GreaterEqual", "Shape", "Pack"}
