"""Steps as one graph of CUDA's kernels: a GPU runs them without waiting for the processor to ask for each.

A step of a small network is a few hundred kernels of some microseconds. Asking for one takes as long as it runs.
"""

from collections.abc import Callable
from typing import Any

import torch

# Libraries that kernels call make what they need when they are first called, which no graph may hold.
WARM_UPS = 3


class Captured:
    """Plays a recording many times, each time with what the one before gave: as `torch_player.repeated`, on a GPU.

    Args:
        program: What `torch_player.player` returned.
        carried: How many of its first results take the place of its first arguments.
    """

    def __init__(self, program: Callable[..., tuple[torch.Tensor, ...]], carried: int) -> None:
        self._program, self._carried = program, carried
        self._shared: list[torch.Tensor] = []
        self._graph: Any = None

    def __call__(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Plays steps.

        Args:
            *arguments: What is carried, what stays as it is, and the entries that the steps take in turn, stacked.

        Returns:
            What is carried in the end, and what came after that each time, stacked.
        """
        state, shared, entries = arguments[: self._carried], arguments[self._carried : -1], arguments[-1]
        known = [tensor.data_ptr() for tensor in self._shared]
        if self._graph is None or [tensor.data_ptr() for tensor in shared] != known:
            self._capture(state, list(shared), entries[0])
        for own, given in zip(self._state, state, strict=True):
            own.copy_(given)
        seen: list[list[torch.Tensor]] = [[] for _ in self._seen]
        for entry in entries:
            self._entry.copy_(entry)
            self._graph.replay()
            for kept, one in zip(seen, self._seen, strict=True):
                kept.append(one.clone())
        return (*(tensor.clone() for tensor in self._state), *(torch.stack(kept) for kept in seen))

    def _capture(self, state: tuple[torch.Tensor, ...], shared: list[torch.Tensor], entry: torch.Tensor) -> None:
        self._shared, self._state, self._entry = shared, [tensor.clone() for tensor in state], entry.clone()
        arguments = [*self._state, *shared, self._entry]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self._program(*arguments)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may meanwhile record the next pack.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            given = self._program(*arguments)
            # What is overwritten may still be asked for.
            places = {tensor.untyped_storage().data_ptr() for tensor in self._state}
            results = [one.clone() if one.untyped_storage().data_ptr() in places else one for one in given]
            for own, result in zip(self._state, results, strict=False):
                own.copy_(result)
            self._seen = results[self._carried :]


def can_be_captured(program: Any, tensors: list[torch.Tensor]) -> bool:
    """Tells whether a GPU alone plays a recording for such tensors.

    Draws by a generator of their own do not: the processor has to know its seed.
    """
    on_gpu = all(tensor.is_cuda for tensor in tensors)
    return on_gpu and not any(node.kind().startswith("kerasdl::") for node in program.graph.nodes())
