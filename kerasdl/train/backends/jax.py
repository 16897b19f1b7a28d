"""Many members as one program on JAX."""

from collections.abc import Callable, Sequence
from typing import Any

import jax

from kerasdl.train.backends import free_host_memory


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.value_and_grad(function, has_aux=True)


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return jax.vmap(function, in_axes=tuple(axes))


def epoch_program(step: Callable[..., Any], results: Callable[..., Any]) -> Callable[..., Any]:
    def epoch(state: Any, x: Any, y: Any, full: Any, rest: Any) -> Any:
        def body(state: Any, rows: Any) -> tuple[Any, None]:
            return step(state, x[rows], y[rows]), None

        state, _ = jax.lax.scan(body, state, full)
        if rest.shape[-1]:
            state = step(state, x[rest], y[rest])
        return state, results(state)

    return jax.jit(epoch, donate_argnums=0)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(function)


def set_seed(seed: int) -> None:
    """JAX keeps no random state."""


def device() -> str:
    first = jax.devices()[0]
    return f"{first.platform}: {first.device_kind}"


def free_memory() -> int:
    statistics = jax.devices()[0].memory_stats()
    if not statistics:
        return free_host_memory()
    return int(statistics["bytes_limit"] - statistics["bytes_in_use"])
