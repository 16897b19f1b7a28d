"""What opens and calls a model, one file for each runtime; each imports its runtime in a worker's process alone."""

import importlib
from collections.abc import Callable
from typing import Any

from kerasdl.export.benchmark.runners.opened import Input, Opened

__all__ = ["MODULES", "Input", "Opened", "open_model"]

# What each runtime needs to be importable.
MODULES = {
    "onnxruntime": "onnxruntime",
    "keras": "keras",
    "torchscript": "torch",
    "torch-export": "torch",
    "openvino": "openvino",
    "litert": "ai_edge_litert",
}


def open_model(runtime: str, request: dict[str, Any]) -> Opened:
    """Opens a model in this process.

    Args:
        runtime: A key of `MODULES`.
        request: The fields of a `Candidate`.

    Returns:
        The model, ready to be called.
    """
    module = importlib.import_module(f"{__name__}.{runtime.replace('-', '_')}_runner")
    opener: Callable[[dict[str, Any]], Opened] = module.open_model
    return opener(request)
