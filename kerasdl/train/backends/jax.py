"""Many members as one program on JAX."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import keras

from kerasdl.train.backends import free_host_memory, most_at_once
from kerasdl.train.backends.jax_depthwise import on_processor

FUSES_ROWS = True


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.value_and_grad(function, has_aux=True)


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return jax.vmap(function, in_axes=tuple(axes))


def cut(tensor: Any, sizes: Sequence[int]) -> list[Any]:
    return jax.lax.split(tensor, sizes)


def epoch_program(
    step: Callable[..., Any],
    results: Callable[..., Any],
    seen: tuple[int, ...] | None,
    after_step: Callable[[], None],
    *,
    convolves: bool = False,
    steps: float,
) -> Callable[..., Any]:
    def after(state: Any, data: Any, rows: Any) -> Any:
        return step(state, tuple(part[rows] for part in data))

    if convolves and jax.default_backend() == "cpu":
        return _Stepwise(after, results, after_step, brief=steps < brief_steps())

    def epoch(state: Any, data: Any, full: Any, rest: Any) -> Any:
        state, rows = jax.lax.scan(lambda state, rows: after(state, data, rows), state, full)
        if rest.shape[-1]:
            state, last = after(state, data, rest)
            rows = jax.tree.map(lambda all_, one: jnp.concatenate([all_, one[None]]), rows, last)
        return state, results(state), rows

    return _Program(jax.jit(epoch, donate_argnums=0, compiler_options=_options(brief=steps < brief_steps())))


def _options(*, brief: bool, convolves: bool = False) -> dict[str, Any] | None:
    """Leaves out of XLA what makes a program compile for longer than it gains.

    Measured on two cores: `digits-cnn` takes 31.5 s with fusion emitters and 23.2 s without, a trial 1.9 s and 1.1 s.
    At level 1 a pack of MLPs of ten layers is compiled in 2.2 s instead of 2.7 s, and runs as fast. On a GPU XLA tries
    products of its own beside the library's: 27 MLPs are compiled in 7.7 s with them and 3.7 s without.

    XLA gives sums to YNNPACK, which does not fuse them with what they add, and wakes threads for each. An epoch of a
    CNN takes 2.0 s so, and 1.7 s where YNNPACK has the products alone. Dense layers gain by it where they are
    normalized, but are compiled for a tenth longer, and norms of watched steps take a tenth of a step more.
    """
    asked: dict[str, Any] = {}
    if jax.default_backend() == "cpu":
        asked["xla_backend_optimization_level"] = 0 if brief else 1
        if brief or convolves:
            asked["xla_cpu_use_fusion_emitters"] = False
        if convolves and not brief:
            asked["xla_cpu_experimental_ynn_fusion_type"] = "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"
    elif brief:
        asked["xla_gpu_enable_triton_gemm"] = False
    return {name: value for name, value in asked.items() if _is_known(name, value)}


@functools.cache
def _is_known(option: str, value: Any) -> bool:
    """Tells whether this version of XLA has an option."""
    try:
        jax.jit(lambda number: number, compiler_options={option: value}).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True


class _Stepwise:
    """An epoch whose steps Python calls: on a CPU XLA runs convolutions inside a loop of its own on one core."""

    def __init__(
        self, step: Callable[..., Any], results: Callable[..., Any], after_step: Callable[[], None], *, brief: bool
    ) -> None:
        self._after_step = after_step
        options = _options(brief=brief, convolves=True)
        self._step = _Program(jax.jit(step, donate_argnums=0, compiler_options=options))
        self._results = _Program(jax.jit(results))

    def prepare(self, state: Any, data: Any, full: Any, rest: Any) -> None:
        for rows in [*full[:1], *([rest] if rest.shape[-1] else [])]:
            self._step.prepare(state, data, rows)

    def __call__(self, state: Any, data: Any, full: Any, rest: Any) -> Any:
        found = []
        for rows in [*full, *([rest] if rest.shape[-1] else [])]:
            state, own = self._step(state, data, rows)
            found += own
            self._after_step()
        return state, self._results(state), [jnp.stack(found)] if found else []


def compiled(function: Callable[..., Any], *, brief: bool = False) -> Callable[..., Any]:
    return _Program(jax.jit(function, compiler_options=_options(brief=brief)))


def brief_steps() -> int:
    """The study `mlp` takes 0.9 times as long with 330 steps on two cores, and 1.6 times with 1,100.

    On a GPU a step of 27 MLPs takes 0.1 ms less with XLA's own products, which take 4 s.
    """
    return 300 if jax.default_backend() == "cpu" else 30_000


def brief_scorings() -> int:
    """They are made as steps are."""
    return 0


def share_processors(packs: int) -> None:
    """XLA gives the threads of all programs what there is."""


def forget() -> None:
    jax.clear_caches()


class _Program:
    """A jitted function that can be compiled ahead for the shapes to come."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._prepared: dict[Any, Any] = {}

    def prepare(self, *arguments: Any) -> None:
        self._prepared[_shapes(arguments)] = self._function.lower(*arguments).compile()

    def __call__(self, *arguments: Any) -> Any:
        if not self._prepared:
            return self._function(*arguments)
        return self._prepared.get(_shapes(arguments), self._function)(*arguments)


def _shapes(arguments: Any) -> Any:
    leaves, structure = jax.tree.flatten(arguments)
    return structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)


def set_seed(seed: int) -> None:
    """JAX keeps no random state."""


def random_state(seed: int, epoch: int) -> list[Any]:
    return []


def begin_epoch(seed: int, epoch: int) -> None:
    """JAX keeps no random state."""


@contextmanager
def pure(state: list[Any]) -> Iterator[Any]:
    with quick_layers():
        yield SimpleNamespace(state=state)


def quick_variables() -> AbstractContextManager[None]:
    return nullcontext()


def quick_layers() -> AbstractContextManager[None]:
    return on_processor()


def drawn_state() -> list[Any]:
    return []


def restore_drawn(arrays: Sequence[Any]) -> None:
    """JAX keeps no random state."""


def read(variable: keras.Variable) -> Any:
    return keras.ops.convert_to_numpy(variable.value)


def settle(model: Any) -> None:
    # Keras keeps the variables' values in a state of its own while an epoch runs.
    model.jax_state_sync()


def device() -> str:
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind}"


def packs_at_once() -> int:
    return most_at_once() if jax.default_backend() == "cpu" else 1


def free_memory() -> int:
    statistics = jax.devices()[0].memory_stats()
    if not statistics:
        return free_host_memory()
    return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
