"""ONNX Runtime: plain runs from NumPy arrays, bound device memory, CUDA graphs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasdl.export.benchmark.runners.opened import Arrays, Input, Opened
from kerasdl.export.session import CPU, CUDA, TENSORRT, create_session, placement

# ONNX Runtime's names of types that NumPy names otherwise.
TYPES = {"float": "float32", "double": "float64", "string": "object"}


def open_model(request: dict[str, Any]) -> Opened:
    """Opens an ONNX file on the provider of the request; what it really got stands in `provider`."""
    import onnxruntime

    wanted, mode = request["requested"], request["mode"]
    graph = {CUDA: {"enable_cuda_graph": "1"}} if mode == "CUDA graph" else None
    # Nodes that a provider lacks go to the next, which `placement` shows.
    every = (TENSORRT, CUDA, CPU)
    providers = list(every[every.index(wanted) :])
    session = create_session(request["path"], providers, threads=request["threads"], provider_options=graph)
    inputs = [_input(each) for each in session.get_inputs()]
    batches = {each.shape[0] for each in session.get_inputs() if each.shape}
    fixed = [size for size in batches if isinstance(size, int)]
    prepare = _bound(session, mode == "CUDA graph") if mode else _plain(session)
    return Opened(
        inputs=inputs,
        prepare=prepare,
        fetch=_fetch_bound if mode else list,
        provider=actual_provider(session),
        batch=fixed[0] if fixed else None,
        facts={
            "versions": {"onnxruntime": onnxruntime.__version__},
            "threads": request["threads"],
            "providers": session.get_providers(),
            "nodes_by_provider": placement(session),
        },
    )


def actual_provider(session: Any) -> str:
    """Names the provider that computes most nodes; where this cannot be told, the first that the session kept."""
    nodes = placement(session)
    if nodes:
        return max(nodes, key=lambda name: nodes[name])
    providers: list[str] = session.get_providers()
    return providers[0]


def _input(argument: Any) -> Input:
    name = argument.type.removeprefix("tensor(").removesuffix(")")
    sizes = [size if isinstance(size, int) else None for size in argument.shape[1:]]
    return Input(argument.name, tuple(sizes), TYPES.get(name, name))


def _plain(session: Any) -> Callable[[Arrays], Callable[[], Any]]:
    names = [each.name for each in session.get_inputs()]

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        feed = dict(zip(names, arrays, strict=True))
        return lambda: session.run(None, feed)

    return prepare


def _bound(session: Any, graph: bool) -> Callable[[Arrays], Callable[[], Any]]:
    """Keeps inputs and outputs in the device's memory; a CUDA graph replays fixed addresses, so each has its number."""
    import onnxruntime

    names = [each.name for each in session.get_inputs()]
    outputs = [each.name for each in session.get_outputs()]
    numbers = iter(range(1, 1 << 30))

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        binding = session.io_binding()
        options = onnxruntime.RunOptions()
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0) for array in arrays]
        for name, value in zip(names, values, strict=True):
            binding.bind_ortvalue_input(name, value)
        if graph:
            uncaptured = onnxruntime.RunOptions()
            uncaptured.add_run_config_entry("gpu_graph_id", "-1")
            answers = session.run(None, dict(zip(names, arrays, strict=True)), uncaptured)
            for name, answer in zip(outputs, answers, strict=True):
                place = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(answer), "cuda", 0)
                binding.bind_ortvalue_output(name, place)
            options.add_run_config_entry("gpu_graph_id", str(next(numbers)))
        else:
            for name in outputs:
                binding.bind_output(name, "cuda", 0)

        def call() -> Any:
            session.run_with_iobinding(binding, options)
            binding.synchronize_outputs()
            return binding

        return call

    return prepare


def _fetch_bound(binding: Any) -> Arrays:
    outputs: Arrays = binding.copy_outputs_to_cpu()
    return outputs
