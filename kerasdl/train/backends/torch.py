"""Many members as one program on PyTorch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import keras
import torch
from torch.utils import _pytree as pytree

from kerasdl.train import allocator
from kerasdl.train.backends import free_host_memory, most_at_once
from kerasdl.train.backends.torch_captured import Captured, can_be_captured
from kerasdl.train.backends.torch_norms import norm
from kerasdl.train.backends.torch_player import repeated
from kerasdl.train.backends.torch_pure import pure, stream, stream_seed
from kerasdl.train.backends.torch_recording import record

__all__ = ["norm", "pure"]

FUSES_ROWS = False

# How many steps are timed to choose the number of threads: the more, the shorter they are, within these bounds and this
# many seconds. After so many steps it is chosen again.
TIMED_STEPS = (2, 10)
TIMED_SECONDS = 0.05
CHOSEN_FOR = 1000
# Seconds after which progress is told.
TOLD_SECONDS = 0.2

_CORES = torch.get_num_threads()

# Numbers of glibc's `mallopt`, and bytes. Each operation of a step asks for memory and gives it back; glibc would give
# much of that back to the system, and taking it again, page by page, doubles a step's time.
M_TRIM_THRESHOLD, KEPT = -1, 1 << 30
M_MMAP_THRESHOLD, LARGE = -3, 32 << 20

_packs = ContextVar("packs", default=1)

allocator.call("mallopt", M_MMAP_THRESHOLD, LARGE)
allocator.call("mallopt", M_TRIM_THRESHOLD, KEPT)


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    with_gradients = torch.func.grad_and_value(function, has_aux=True)

    def in_keras_order(tensors: Any) -> Any:
        gradients, result = with_gradients(tensors)
        return result, gradients

    return in_keras_order


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return torch.func.vmap(function, in_dims=tuple(axes))


def cut(tensor: Any, sizes: Sequence[int]) -> list[Any]:
    return list(torch.split(tensor, list(sizes)))


def epoch_program(
    step: Callable[..., Any],
    results: Callable[..., Any],
    seen: tuple[int, ...] | None,
    after_step: Callable[[], None],
    *,
    convolves: bool = False,
    steps: float,
) -> Callable[..., Any]:
    def step_of_rows(state: Any, data: Any, rows: Any) -> Any:
        return step(state, tuple(_taken(part, rows) for part in data))

    return _Epoch(_Steps(step_of_rows), _Program(results), after_step)


class _Epoch:
    """An epoch in runs of steps, between which Python tells how far it is."""

    def __init__(self, steps: "_Steps", results: "_Program", after_step: Callable[[], None]) -> None:
        self._steps, self._results, self._after_step = steps, results, after_step
        self._threads = _Threads()

    def prepare(self, state: Any, data: Any, full: Any, rest: Any) -> None:
        for rows in (full, rest[None]):
            if rows.numel():
                self._steps.prepare(state, data, rows[0])
        self._results.prepare(state)

    def __call__(self, state: Any, data: Any, full: Any, rest: Any) -> Any:
        if not torch.cuda.is_available():
            self._threads.choose(lambda count: self._steps(state, data, full[:count]), full.shape[0])
        found: list[Any] = []
        done, count = 0, 1
        with _without_denormals():
            while done < len(full):
                begun = time.perf_counter()
                state = self._run(state, data, full[done : done + count], found)
                done += count
                if time.perf_counter() - begun < TOLD_SECONDS / 2:
                    count *= 2
            if rest.numel():
                state = self._run(state, data, rest[None], found)
        return state, self._results(state), [torch.cat(found)] if found else []

    def _run(self, state: Any, data: Any, rows: Any, found: list[Any]) -> Any:
        state, seen = self._steps(state, data, rows)
        found += seen
        for _ in range(len(rows)):
            self._after_step()
        return state


@contextmanager
def _without_denormals() -> Iterator[None]:
    """Lets numbers below 1e-38 be zero, as they are in XLA's programs: processors take ten times as long for them.

    The moments that optimizers keep get there where gradients stay away, as those of dead units do.
    """
    already = bool(torch.full((), 1e-39) * 1.0 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)


class _Program:
    """A function whose operations are recorded once for each shape of its arguments, and played back.

    Keras, vmap and autograd together spend milliseconds of Python on each step; the recording holds only the operations
    that are left of them, and other threads run beside it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._recordings: dict[Any, tuple[Callable[..., Any], Any]] = {}

    def prepare(self, *arguments: Any) -> None:
        with torch.no_grad():
            self._recording(*pytree.tree_flatten(arguments))

    def __call__(self, *arguments: Any) -> Any:
        tensors, structure = pytree.tree_flatten(arguments)
        return self._play(tensors, structure, tensors)

    def _play(self, example: list[Any], structure: Any, tensors: list[Any]) -> Any:
        # On GPUs TorchScript would compile kernels of its own at the second call, in seconds.
        with torch.no_grad(), torch.jit.optimized_execution(not torch.cuda.is_available()):
            program, output_structure = self._recording(example, structure)
            return pytree.tree_unflatten(list(program(*tensors)), output_structure)

    def _recording(self, tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
        key = (structure, tuple((tensor.shape, tensor.dtype) for tensor in tensors))
        if key not in self._recordings:
            self._recordings[key] = self._record(tensors, structure)
        return self._recordings[key]

    def _record(self, tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
        return record(self._function, tensors, structure)


class _Steps(_Program):
    """Steps one after another: `(state, data, rows)` with the rows of several batches."""

    def __call__(self, state: Any, data: Any, rows: Any) -> Any:
        example, structure = pytree.tree_flatten((state, data, rows[0]))
        return self._play(example, structure, [*example[:-1], rows])

    def _record(self, tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
        program, output_structure = super()._record(tensors, structure)
        carried = structure.child(0).num_leaves
        if can_be_captured(program, tensors):
            return Captured(program, carried), output_structure
        given = structure.child(1).num_leaves
        return repeated(program, carried, given, output_structure.num_leaves - carried), output_structure


def _taken(part: Any, rows: Any) -> Any:
    """`part[rows]`, by the operation that copies whole rows."""
    if rows.ndim == 1:
        return torch.index_select(part, 0, rows)
    return torch.index_select(part, 0, rows.reshape(-1)).reshape(*rows.shape, *part.shape[1:])


class _Threads:
    """Takes one thread or as many as there are cores, whichever does some steps faster now.

    Small operations gain a third from a second core where it is idle, and lose tenfold where another process holds it:
    every one of them waits until all its threads had their turn. So a pack beside others takes one.
    """

    def __init__(self) -> None:
        self._left, self._chosen = 0, 1

    def choose(self, work: Callable[[int], None], steps: int) -> None:
        """Chooses for an epoch of so many steps, if it was not done lately.

        Args:
            work: Takes some steps and throws away what they give.
            steps: How many are to come.
        """
        if _packs.get() > 1:
            torch.set_num_threads(1)
            return
        if self._left <= 0 and steps:
            # The first makes the program.
            work(1)
            fewest, most = TIMED_STEPS
            count = min(most, max(fewest, int(TIMED_SECONDS / _seconds(work, 1))))
            found = {}
            for threads in {1, _CORES}:
                torch.set_num_threads(threads)
                found[threads] = _seconds(work, count)
            self._chosen = min(found, key=lambda threads: found[threads])
            self._left = CHOSEN_FOR
        torch.set_num_threads(self._chosen)
        self._left -= steps


def _seconds(work: Callable[[int], None], count: int) -> float:
    started = time.perf_counter()
    work(count)
    return max(time.perf_counter() - started, 1e-9)


def share_processors(packs: int) -> None:
    _packs.set(packs)


def forget() -> None:
    """Recordings end with their packs."""


def compiled(function: Callable[..., Any], *, brief: bool = False) -> Callable[..., Any]:
    return _Program(function)


def brief_steps() -> int:
    """Programs are recorded, which takes no time worth saving."""
    return 0


def brief_scorings() -> int:
    """As of steps."""
    return 0


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


def read(variable: keras.Variable) -> Any:
    return keras.ops.convert_to_numpy(variable.value)


def settle(model: Any) -> None:
    """Variables hold what training makes of them at any time."""


def quick_variables() -> AbstractContextManager[None]:
    return nullcontext()


def quick_layers() -> AbstractContextManager[None]:
    return nullcontext()


def device() -> str:
    return f"gpu: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"


def packs_at_once() -> int:
    return 1 if torch.cuda.is_available() else most_at_once()


def free_memory() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_host_memory()
