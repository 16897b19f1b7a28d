"""LiteRT's interpreter (formerly TensorFlow Lite) with its XNNPACK kernels."""

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from kerasdl.export.benchmark.runners.opened import Arrays, Input, Opened


def open_model(request: dict[str, Any]) -> Opened:
    """Opens a `.tflite` file."""
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    threads = request["threads"] or os.cpu_count() or 1
    interpreter = Interpreter(model_path=request["path"], num_threads=threads)
    details = interpreter.get_input_details()
    signatures = [list(each.get("shape_signature", each["shape"])) for each in details]
    fixed = [int(shape[0]) for shape in signatures if len(shape) and shape[0] > 0]
    indices = [each["index"] for each in details]
    outputs = [each["index"] for each in interpreter.get_output_details()]
    shapes: list[tuple[int, ...]] = []

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        wanted = [array.shape for array in arrays]

        def call() -> Arrays:
            if shapes != wanted:
                for index, shape in zip(indices, wanted, strict=True):
                    interpreter.resize_tensor_input(index, shape)
                interpreter.allocate_tensors()
                shapes[:] = wanted
            for index, array in zip(indices, arrays, strict=True):
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            return [interpreter.get_tensor(index) for index in outputs]

        return call

    return Opened(
        inputs=[_input(each, shape) for each, shape in zip(details, signatures, strict=True)],
        prepare=prepare,
        provider="LiteRT CPU",
        batch=fixed[0] if fixed else None,
        facts={
            "versions": {"ai-edge-litert": getattr(ai_edge_litert, "__version__", "unknown")},
            "threads": threads,
            "precision": _precision(interpreter),
        },
    )


def _input(detail: dict[str, Any], signature: list[int]) -> Input:
    sizes = tuple(int(size) if size > 0 else None for size in signature[1:])
    return Input(str(detail["name"]), sizes, str(np.dtype(detail["dtype"])))


def _precision(interpreter: Any) -> str:
    sizes: dict[str, int] = {}
    for detail in interpreter.get_tensor_details():
        name = str(np.dtype(detail["dtype"]))
        sizes[name] = sizes.get(name, 0) + math.prod(int(size) for size in detail["shape"])
    largest = max(sizes, key=lambda name: sizes[name], default="float32")
    return largest if largest in {"int8", "float16"} else "float32"
