"""Many members as one program on TensorFlow."""

import logging
import operator
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import reduce
from typing import Any

import tensorflow as tf

from kerasdl.train.backends import free_host_memory, most_at_once
from kerasdl.train.backends.tensorflow_grappler import as_traced_graphs
from kerasdl.train.backends.tensorflow_mapping import add_rules
from kerasdl.train.backends.tensorflow_pure import pure
from kerasdl.train.backends.tensorflow_variables import quick_variables, read

__all__ = ["pure", "quick_variables", "read"]

FUSES_ROWS = False

add_rules()

# Below this many steps Grappler takes longer than it saves: a quarter of the time in which a graph is made, for steps
# that are up to a fifth faster.
_AS_TRACED_STEPS = 300

# Whether XLA compiles what is traced now.
_for_xla: ContextVar[bool] = ContextVar("for_xla", default=False)
_PLACES = 4


def _expected(record: logging.LogRecord) -> bool:
    """Keeps what TensorFlow logs, but its advice against tracing anew for the programs that are made for each pack."""
    message = record.getMessage()
    return "triggered tf.function retracing" not in message or "_Program" not in message


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


def cut(tensor: Any, sizes: Sequence[int]) -> list[Any]:
    return tf.split(tensor, sizes)


def norm(tensor: Any) -> Any:
    if not _for_xla.get():
        return tf.math.reduce_euclidean_norm(tensor)
    # XLA's loop waits for each addition: it adds the squares of four places at once.
    length, rest = divmod(tensor.shape[0], _PLACES)
    squares = [tf.square(part) for part in tf.split(tensor, [*[length] * _PLACES, *[1] * rest])]
    parts = [reduce(operator.add, squares[:_PLACES]), *squares[_PLACES:]]
    return tf.sqrt(reduce(operator.add, map(tf.reduce_sum, parts)))


def epoch_program(
    step: Callable[..., Any],
    results: Callable[..., Any],
    seen: tuple[int, ...] | None,
    after_step: Callable[[], None],
    *,
    convolves: bool = False,
    steps: float,
) -> Callable[..., Any]:
    def epoch(state: Any, data: Any, full: Any, rest: Any, end: Any) -> Any:
        def after(state: Any, rows: Any) -> Any:
            return step(state, tuple(tf.gather(part, rows) for part in data))

        def next_step(index: Any, state: Any, rows: Any) -> Any:
            state, own = after(state, full[index])
            return index + 1, state, [array.write(index, one) for array, one in zip(rows, own, strict=True)]

        count = full.shape[0] + bool(rest.shape[-1])
        rows = [] if seen is None else [tf.TensorArray(tf.float32, count, element_shape=seen)]
        _, state, rows = tf.while_loop(lambda index, *_: index < end, next_step, (0, state, rows))
        if rest.shape[-1]:
            state, own = after(state, rest)
            rows = [array.write(count - 1, one) for array, one in zip(rows, own, strict=True)]
        return state, results(state), [array.stack() for array in rows]

    # The number of steps is an argument so that the program can be compiled by a run of none.
    # XLA runs convolutions inside a loop on one core of a CPU; TensorFlow's own graph does not.
    return _Program(
        epoch,
        xla=steps >= brief_steps() and not convolves,
        as_traced=steps < _AS_TRACED_STEPS and not convolves,
        idle=lambda full: (tf.constant(0),),
        busy=lambda full: (tf.constant(full.shape[0]),),
    )


def compiled(function: Callable[..., Any], *, brief: bool = False) -> Callable[..., Any]:
    return _Program(function, xla=not brief, as_traced=brief)


def brief_steps() -> int:
    """On two cores a program is made 0.8 s sooner without XLA, and each step then takes 0.3 to 0.5 ms longer."""
    return 1500


def brief_scorings() -> int:
    """A program is made 0.7 s sooner without XLA, and takes as long to run and a third more of the processors."""
    return 100


def share_processors(packs: int) -> None:
    """TensorFlow gives the threads of all programs what there is."""


def forget() -> None:
    """TensorFlow keeps what XLA compiled for as long as the process lives; it offers no way to let go of it.

    oneDNN's kernels stay as well, up to 1,024 shapes of each operation; `TF_ENABLE_ONEDNN_OPTS=0` does without them.
    """


class _Program:
    """A graph, compiled by XLA if it is to run for long, or run as it was traced if it is not worth optimizing.

    `idle` and `busy` give further arguments for a run that only compiles and for a real one.
    """

    def __init__(
        self, function: Callable[..., Any], *, xla: bool, as_traced: bool, idle: Any = None, busy: Any = None
    ) -> None:
        def traced(*arguments: Any) -> Any:
            token = _for_xla.set(xla)
            try:
                return function(*arguments)
            finally:
                _for_xla.reset(token)

        self._function = tf.function(traced, jit_compile=xla or None, autograph=False)
        self._optimizing = as_traced_graphs if as_traced and device() == "cpu" else nullcontext
        self._idle, self._busy = idle, busy

    def prepare(self, *arguments: Any) -> None:
        with self._optimizing():
            self._function(*arguments, *(self._idle(arguments[2]) if self._idle else ()))

    def __call__(self, *arguments: Any) -> Any:
        with self._optimizing():
            return self._function(*arguments, *(self._busy(arguments[2]) if self._busy else ()))


def set_seed(seed: int) -> None:
    tf.random.set_seed(seed)


def random_state(seed: int, epoch: int) -> list[Any]:
    return []


def begin_epoch(seed: int, epoch: int) -> None:
    """Keras' layers keep their own random states on TensorFlow."""


def drawn_state() -> list[Any]:
    return []


def restore_drawn(arrays: Sequence[Any]) -> None:
    """Keras' layers keep their own random states on TensorFlow."""


def settle(model: Any) -> None:
    """Variables hold what training makes of them at any time."""


def quick_layers() -> AbstractContextManager[None]:
    return nullcontext()


def device() -> str:
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "cpu"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "unknown")
    return f"gpu: {name}"


def packs_at_once() -> int:
    return 1 if tf.config.list_physical_devices("GPU") else most_at_once()


def free_memory() -> int:
    # TensorFlow tells what it uses of a GPU, not what is left.
    return free_host_memory()
