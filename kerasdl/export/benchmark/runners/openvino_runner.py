"""OpenVINO on the CPU, tuned for the latency of one request at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasdl.export.benchmark.runners.opened import Arrays, Input, Opened

NAMES = {"i8": "int8", "u8": "int8", "f16": "float16", "bf16": "bfloat16"}


def open_model(request: dict[str, Any]) -> Opened:
    """Opens OpenVINO's `.xml` with the `.bin` beside it."""
    import openvino

    core = openvino.Core()
    model = core.read_model(request["path"])
    threads = {} if request["threads"] is None else {"INFERENCE_NUM_THREADS": request["threads"]}
    compiled = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY", **threads})
    batches = [port.partial_shape[0] for port in model.inputs if port.partial_shape.rank.get_length()]
    fixed = [size.get_length() for size in batches if size.is_static]
    running = compiled.create_infer_request()

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        def call() -> Arrays:
            outputs = running.infer(arrays, share_inputs=True)
            return [np.array(outputs[port]) for port in compiled.outputs]

        return call

    return Opened(
        inputs=[_input(port) for port in model.inputs],
        prepare=prepare,
        provider=f"OpenVINO {', '.join(compiled.get_property('EXECUTION_DEVICES'))}",
        batch=fixed[0] if fixed else None,
        facts={
            "versions": {"openvino": openvino.__version__},
            "threads": compiled.get_property("INFERENCE_NUM_THREADS"),
            # The CPU plug-in computes float32 files in bfloat16 where the processor has it.
            "precision": _precision(model, compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
        },
    )


def _input(port: Any) -> Input:
    sizes = [size.get_length() if size.is_static else None for size in port.partial_shape]
    return Input(port.any_name, tuple(sizes[1:]), str(np.dtype(port.element_type.to_dtype())))


def _precision(model: Any, computed: str) -> str:
    """Returns the precision of most weights, or the lower one that is computed in."""
    bytes_by_type: dict[str, int] = {}
    for operation in model.get_ops():
        if operation.get_type_name() == "Constant":
            name = operation.get_element_type().to_string()
            bytes_by_type[name] = bytes_by_type.get(name, 0) + operation.get_byte_size()
    reduced = {name: size for name, size in bytes_by_type.items() if name in NAMES}
    if reduced and sum(reduced.values()) * 2 > sum(bytes_by_type.values()):
        return NAMES[max(reduced, key=lambda name: reduced[name])]
    return NAMES.get(computed, "float32")
