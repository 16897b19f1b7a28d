"""Many members as one program on TensorFlow."""

import logging
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor

from kerasdl.train.backends import free_host_memory

# Keras' argmax compares bit patterns, and TensorFlow's vectorizer has no rule for reading bits as another type.
if "Bitcast" not in pfor._pfor_converter_registry:

    @pfor.RegisterPFor("Bitcast")
    def _bitcast(loop_input: Any) -> Any:
        return pfor.wrap(tf.bitcast(loop_input.stacked_input(0), loop_input.get_attr("type")), True)


def _expected(record: logging.LogRecord) -> bool:
    """Keeps what TensorFlow logs, but its advice against tracing anew for the programs that are made for each pack."""
    message = record.getMessage()
    return "triggered tf.function retracing" not in message or not any(name in message for name in _TRACED_ONCE)


_TRACED_ONCE = ("epoch_program", "map_members", "compiled", "_unmapped")
tf.get_logger().addFilter(_expected)


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    def with_gradients(tensors: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(tensors)
            loss, more = function(tensors)
        return (loss, more), tape.gradient(loss, tensors, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    return with_gradients


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    mapped = [index for index, axis in enumerate(axes) if axis == 0]

    def of_all(*arguments: Any) -> Any:
        def of_one(own: Sequence[Any]) -> Any:
            complete = list(arguments)
            for index, value in zip(mapped, own, strict=True):
                complete[index] = value
            return function(*complete)

        return tf.vectorized_map(of_one, tuple(arguments[index] for index in mapped), fallback_to_while_loop=False)

    return of_all


def epoch_program(step: Callable[..., Any], results: Callable[..., Any]) -> Callable[..., Any]:
    def epoch(state: Any, x: Any, y: Any, full: Any, rest: Any) -> Any:
        def body(index: Any, state: Any) -> tuple[Any, Any]:
            rows = full[index]
            return index + 1, step(state, tf.gather(x, rows), tf.gather(y, rows))

        _, state = tf.while_loop(lambda index, _: index < full.shape[0], body, (tf.constant(0), state))
        if rest.shape[-1]:
            state = step(state, tf.gather(x, rest), tf.gather(y, rest))
        return state, results(state)

    return tf.function(epoch, jit_compile=True, autograph=False)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return tf.function(function, jit_compile=True, autograph=False)


def set_seed(seed: int) -> None:
    tf.random.set_seed(seed)


def device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unknown")
    return f"gpu: {name}"


def free_memory() -> int:
    # TensorFlow tells what it uses of a GPU, not what is left.
    return free_host_memory()
