"""Runs a file as somebody without Keras would: `python reader.py FORMAT FILE INPUTS.npz OUTPUTS.npz ENDS`.

Nothing is imported but NumPy and the format's own runtime, which proves that the file needs no more. ENDS is JSON with
the names of the inputs and outputs in order; the last line printed is the runtime with its version.
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Batch = list[np.ndarray]
Run = Callable[[Batch], Batch]


def torchscript(path: str, inputs: list[str], outputs: list[str]) -> tuple[Run, str]:
    """Opens a TorchScript file."""
    import torch

    program = torch.jit.load(path, map_location="cpu")
    return _torch_runner(program, torch), f"torch {torch.__version__}"


def torch_export(path: str, inputs: list[str], outputs: list[str]) -> tuple[Run, str]:
    """Opens a .pt2 file."""
    import torch

    return _torch_runner(torch.export.load(path).module(), torch), f"torch {torch.__version__}"


def _torch_runner(program: Any, torch: Any) -> Run:
    def run(batch: Batch) -> Batch:
        with torch.no_grad():
            given = program(*map(torch.from_numpy, batch))
        return [each.numpy() for each in (given if isinstance(given, tuple | list) else [given])]

    return run


def litert(path: str, inputs: list[str], outputs: list[str]) -> tuple[Run, str]:
    """Opens a LiteRT file by its signature."""
    import importlib.metadata

    from ai_edge_litert.interpreter import Interpreter

    signature = Interpreter(path).get_signature_runner()

    def run(batch: Batch) -> Batch:
        given = signature(**dict(zip(inputs, batch, strict=True)))
        return [given[name] for name in outputs]

    return run, f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"


def openvino(path: str, inputs: list[str], outputs: list[str]) -> tuple[Run, str]:
    """Opens OpenVINO's .xml on the CPU, in float32 where the processor would take less; its ends go by their order."""
    # Importing OpenVINO would report its use to its makers; where this package is missing, it does not.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    from openvino import Core, __version__

    compiled = Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(batch: Batch) -> Batch:
        given = compiled(batch)
        return [given[place].copy() for place in range(len(outputs))]

    return run, f"openvino {__version__.split('-')[0]}"


READERS = {"torchscript": torchscript, "torch-export": torch_export, "litert": litert, "openvino": openvino}


def main() -> None:
    """Reads the command line."""
    name, path, rows, answers, ends = sys.argv[1:]
    inputs, outputs = json.loads(ends)
    run, runtime = READERS[name](path, inputs, outputs)
    given: dict[str, Any] = {}
    with np.load(rows, allow_pickle=False) as content:
        batches = sorted({int(key.split("/")[0]) for key in content.files})
        for number in batches:
            batch = [content[f"{number}/{place}"] for place in range(len(inputs))]
            for place, array in enumerate(run(batch)):
                given[f"{number}/{place}"] = np.asarray(array)
    foreign = {"keras", "kerasdl"} & set(sys.modules)
    if foreign:
        raise SystemExit(f"the file cannot be read without {', '.join(sorted(foreign))}")
    np.savez(answers, **given)
    print(runtime)


if __name__ == "__main__":
    main()
