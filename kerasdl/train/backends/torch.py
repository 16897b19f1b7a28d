"""Many members as one program on PyTorch."""

import itertools
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.dialect.common.cse_pass import CSEPass
from torch.utils import _pytree as pytree

from kerasdl.train.backends import free_host_memory

# How many steps are timed to choose the number of threads, and after how many epochs it is chosen again.
TIMED_STEPS = 10
TIMED_EPOCHS = 5

# PyTorch's binary cross-entropy raises an error for the whole pack where one member predicts NaN; its formula does not.
_UNCHECKED = get_decompositions(
    [torch.ops.aten.binary_cross_entropy.default, torch.ops.aten.binary_cross_entropy_backward.default]
)

_CORES = torch.get_num_threads()
_COPIES = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.detach.default, torch.ops.aten.alias.default)


def value_and_grad(function: Callable[..., Any]) -> Callable[..., Any]:
    with_gradients = torch.func.grad_and_value(function, has_aux=True)

    def in_keras_order(tensors: Any) -> Any:
        gradients, result = with_gradients(tensors)
        return result, gradients

    return in_keras_order


def map_members(function: Callable[..., Any], axes: Sequence[int | None]) -> Callable[..., Any]:
    return torch.func.vmap(function, in_dims=tuple(axes))


def epoch_program(step: Callable[..., Any], results: Callable[..., Any]) -> Callable[..., Any]:
    step, results = compiled(step), compiled(results)
    epochs = itertools.count()

    def epoch(state: Any, x: Any, y: Any, full: Any, rest: Any) -> Any:
        def trial_steps() -> None:
            for rows in full[:TIMED_STEPS]:
                step(state, x[rows], y[rows])

        if next(epochs) % TIMED_EPOCHS == 0 and not torch.cuda.is_available():
            _choose_threads(trial_steps)
        remainder = [rest] if rest.shape[-1] else []
        for rows in itertools.chain(full, remainder):
            state = step(state, x[rows], y[rows])
        return state, results(state)

    return epoch


def _choose_threads(work: Callable[[], None]) -> None:
    """Takes one thread or as many as there are cores, whichever does some work faster now.

    Small operations gain a third from a second core where it is idle, and lose tenfold where another process holds it:
    every one of them waits until all its threads had their turn.
    """
    work()
    seconds = {}
    for threads in {1, _CORES}:
        torch.set_num_threads(threads)
        started = time.perf_counter()
        work()
        seconds[threads] = time.perf_counter() - started
    torch.set_num_threads(min(seconds, key=lambda threads: seconds[threads]))


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
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
                recordings[key] = _record(function, tensors, structure)
            program, output_structure = recordings[key]
            return pytree.tree_unflatten(list(program(*tensors)), output_structure)

    return play


def _record(function: Callable[..., Any], tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
    output_structures: list[Any] = []

    def flat(*arguments: Any) -> tuple[Any, ...]:
        outputs, output_structure = pytree.tree_flatten(function(*pytree.tree_unflatten(list(arguments), structure)))
        output_structures.append(output_structure)
        return tuple(outputs)

    graph = make_fx(torch.func.functionalize(flat, remove="mutations"), decomposition_table=_UNCHECKED)(*tensors)
    for node in list(graph.graph.nodes):
        if node.target in _COPIES:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph = CSEPass()(graph).graph_module
    graph.graph.eliminate_dead_code()
    graph.recompile()
    with warnings.catch_warnings():
        # TorchScript is only the player of a finished list of operations here; PyTorch warns that it is deprecated.
        warnings.simplefilter("ignore")
        try:
            program = torch.jit.trace(graph, tuple(tensors), check_trace=False)
        except RuntimeError:
            # It cannot take some operations' optional arguments (the gradient of a convolution without a bias); the
            # recording then plays itself, a little slower.
            program = graph
    return program, output_structures[-1]


def set_seed(seed: int) -> None:
    torch.manual_seed(seed)


def device() -> str:
    return f"gpu: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu"


def free_memory() -> int:
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else free_host_memory()
