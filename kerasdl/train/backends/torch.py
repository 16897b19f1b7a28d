"""Many members as one program on PyTorch."""

import itertools
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.utils import _pytree as pytree

from kerasdl.train.backends import free_host_memory
from kerasdl.train.backends.torch_pure import pure, stream, stream_seed
from kerasdl.train.backends.torch_recording import record

__all__ = ["pure"]

# How many steps are timed to choose the number of threads: the more, the shorter they are, within these bounds and this
# many seconds. After so many steps it is chosen again.
TIMED_STEPS = (2, 10)
TIMED_SECONDS = 0.05
CHOSEN_FOR = 1000

_CORES = torch.get_num_threads()


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    with_gradients = torch.func.grad_and_value(function, has_aux=True)

    def in_keras_order(tensors: Any) -> Any:
        gradients, result = with_gradients(tensors)
        return result, gradients

    return in_keras_order


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return torch.func.vmap(function, in_dims=tuple(axes))


def epoch_program(
    step: Callable[..., Any],
    results: Callable[..., Any],
    seen: tuple[int, ...] | None,
    after_step: Callable[[], None],
    *,
    convolves: bool = False,
    brief: bool = False,
) -> Callable[..., Any]:
    step, results = compiled(step), compiled(results)
    threads = _Threads()

    def epoch(state: Any, data: Any, full: Any, rest: Any) -> Any:
        def after(state: Any, rows: Any) -> Any:
            return step(state, tuple(_taken(part, rows) for part in data))

        def trial_steps(count: int) -> None:
            for rows in full[:count]:
                after(state, rows)

        if not torch.cuda.is_available():
            threads.choose(trial_steps, full.shape[0])
        remainder = [rest] if rest.shape[-1] else []
        found = []
        for rows in itertools.chain(full, remainder):
            state, own = after(state, rows)
            found += own
            after_step()
        return state, results(state), [torch.stack(found)] if found else []

    return _Program(epoch)


class _Program:
    """A function that is recorded when it first runs: recording is Python's work, which no other thread speeds up."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def prepare(self, *arguments: Any) -> None:
        """Leaves it to the first run."""

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


def _taken(part: Any, rows: Any) -> Any:
    """`part[rows]`, by the operation that copies whole rows."""
    if rows.ndim == 1:
        return torch.index_select(part, 0, rows)
    return torch.index_select(part, 0, rows.reshape(-1)).reshape(*rows.shape, *part.shape[1:])


class _Threads:
    """Takes one thread or as many as there are cores, whichever does some steps faster now.

    Small operations gain a third from a second core where it is idle, and lose tenfold where another process holds it:
    every one of them waits until all its threads had their turn.
    """

    def __init__(self) -> None:
        self._left = 0

    def choose(self, work: Callable[[int], None], steps: int) -> None:
        """Chooses for an epoch of so many steps, if it was not done lately.

        Args:
            work: Takes some steps and throws away what they give.
            steps: How many are to come.
        """
        if self._left <= 0 and steps:
            # The first makes the program.
            work(1)
            fewest, most = TIMED_STEPS
            count = min(most, max(fewest, int(TIMED_SECONDS / _seconds(work, 1))))
            found = {}
            for threads in {1, _CORES}:
                torch.set_num_threads(threads)
                found[threads] = _seconds(work, count)
            torch.set_num_threads(min(found, key=lambda threads: found[threads]))
            self._left = CHOSEN_FOR
        self._left -= steps


def _seconds(work: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    work(count)
    return max(time.perf_counter() - started, 1e-9)


def forget() -> None:
    # Each recording leaves a class there.
    torch._C._jit_clear_class_registry()


def compiled(function: Callable[..., Any], *, brief: bool = False) -> Callable[..., Any]:
    """Records the operations of a function once for each shape of its arguments, and plays them back.

    Keras, vmap and autograd together spend milliseconds of Python on each step; the recording holds only the operations
    that are left of them.
    """
    recordings: dict[Any, tuple[Callable[..., Any], Any]] = {}

    def play(*arguments: Any) -> Any:
        tensors, structure = pytree.tree_flatten(arguments)
        key = (structure, tuple((tensor.shape, tensor.dtype) for tensor in tensors))
        with torch.no_grad():
            if key not in recordings:
                recordings[key] = record(function, tensors, structure)
            program, output_structure = recordings[key]
            return pytree.tree_unflatten(list(program(*tensors)), output_structure)

    return _Program(play)


def set_seed(seed: int) -> None:
    torch.manual_seed(seed)


def random_state(seed: int, epoch: int) -> list[Any]:
    return [stream(seed, epoch)]


def begin_epoch(seed: int, epoch: int) -> None:
    torch.manual_seed(stream_seed(seed, epoch))


def drawn_state() -> list[Any]:
    states = [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if torch.cuda.is_available() else [])]
    return [state.numpy() for state in states]


def restore_drawn(arrays: Sequence[Any]) -> None:
    own, *others = (torch.from_numpy(array) for array in arrays)
    torch.set_rng_state(own)
    if others and torch.cuda.is_available():
        torch.cuda.set_rng_state(others[0])


def settle(model: Any) -> None:
    """Variables hold what training makes of them at any time."""


def quick_layers() -> AbstractContextManager[None]:
    return nullcontext()


def device() -> str:
    return f"gpu: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"


def packs_at_once() -> int:
    """Recording a program changes PyTorch for all threads, and `forget` ends those that are there."""
    return 0


def free_memory() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_host_memory()
