"""TorchScript on LibTorch's interpreter; PyTorch has deprecated it and names `.pt2` as what follows."""

import warnings
from collections.abc import Callable
from typing import Any

from kerasdl.export.benchmark.runners.opened import Arrays, Opened


def open_model(request: dict[str, Any]) -> Opened:
    """Opens a TorchScript file; it does not say which inputs it takes."""
    import torch

    device = choose_device(request["threads"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(request["path"], map_location=device).eval()
    return Opened(inputs=[], prepare=prepare_module(module, device), provider=f"torch {device}", facts=facts(module))


def choose_device(threads: int | None) -> str:
    """Returns where torch computes, and sets the threads that it uses on the CPU."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    return "cuda" if torch.cuda.is_available() else "cpu"


def prepare_module(module: Callable[..., Any], device: str) -> Callable[[Arrays], Callable[[], Any]]:
    """Returns what prepares calls of a module with NumPy arrays in and out."""
    import torch

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        def call() -> Arrays:
            with torch.inference_mode():
                outputs = module(*(torch.from_numpy(array).to(device) for array in arrays))
                return [tensor.cpu().numpy() for tensor in flat(outputs)]

        return call

    return prepare


def flat(outputs: Any) -> list[Any]:
    """Lists the tensors in what a module returned."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    return [tensor for each in outputs for tensor in flat(each)] if isinstance(outputs, list | tuple) else [outputs]


def facts(module: Any) -> dict[str, Any]:
    """Returns the version, the threads and the precision of a module's weights."""
    import torch

    types = {str(tensor.dtype).removeprefix("torch.") for tensor in [*module.parameters(), *module.buffers()]}
    reduced = [name for name in ("int8", "qint8", "float16", "bfloat16") if name in types]
    return {
        "versions": {"torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "precision": reduced[0].removeprefix("q") if reduced else "float32",
    }
