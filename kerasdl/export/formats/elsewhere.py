"""Converts a model in a process whose Keras runs on the backend that a format needs.

`python -m kerasdl.export.formats.elsewhere MODEL.keras FILE ORDER.json`: `KERAS_BACKEND` says on which backend. The
model is loaded in safe mode, so that no code comes out of the file.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.backend import start
from kerasdl.errors import UserError
from kerasdl.export.fallback import own_classes, quiet
from kerasdl.export.formats.ends import Ends
from kerasdl.export.formats.format import FORMATS

# Seconds; the start of a backend and the conversion of a large model fit many times over.
PATIENCE = 900


def convert(
    model: Any, name: str, path: Path, ends: Ends, properties: Mapping[str, object], *, half: bool
) -> tuple[str, tuple[str, ...]]:
    """Converts a model here where the running backend can, else in a fresh process.

    Args:
        model: A Keras model that takes raw features.
        name: The format.
        path: Where the file goes.
        ends: The names of its inputs and outputs.
        properties: What is known about the model.
        half: Whether weights are stored in float16.

    Returns:
        Who converted, and what a reader must know.

    Raises:
        UserError: The conversion failed, or the model cannot be loaded in the process that it needs.
    """
    import keras

    backend = str(FORMATS[name].backend)
    if keras.backend.backend() == backend and (_on_processor(model) or own_classes(model)):
        with quiet("tensorflow", "torch.export"):
            try:
                return f"{CONVERTERS[name]} on {backend}", _write(model, name, path, ends, properties, half)
            except UserError as error:
                raise UserError(f"{CONVERTERS[name]} failed on model {model.name!r}: {error}") from error
    own = own_classes(model)
    if own:
        raise UserError(
            f"{', '.join(own)} cannot be loaded in a fresh process on {backend}, which the format {name!r} needs; "
            f"export from a process that defines it and runs on {backend} (KERAS_BACKEND={backend})"
        )
    return f"{CONVERTERS[name]} on {backend} in a fresh process", _elsewhere(model, name, path, ends, properties, half)


CONVERTERS = {"torchscript": "torch.jit.trace", "torch-export": "torch.export", "litert": "TFLiteConverter"}


def _on_processor(model: Any) -> bool:
    """Whether a model's weights are on the CPU: a trace keeps the device that it was made on."""
    return all("cpu" in str(getattr(weight.value, "device", "cpu")).lower() for weight in model.weights)


def _write(
    model: Any, name: str, path: Path, ends: Ends, properties: Mapping[str, object], half: bool
) -> tuple[str, ...]:
    if name == "litert":
        from kerasdl.export.formats.litert_file import write_litert

        return write_litert(model, path, ends, properties, half=half)
    from kerasdl.export.formats.torch_file import write_torch_export, write_torchscript

    return {"torchscript": write_torchscript, "torch-export": write_torch_export}[name](model, path, ends, properties)


def _elsewhere(
    model: Any, name: str, path: Path, ends: Ends, properties: Mapping[str, object], half: bool
) -> tuple[str, ...]:
    backend = str(FORMATS[name].backend)
    with tempfile.TemporaryDirectory(prefix="kerasdl-export-") as folder:
        saved, order = Path(folder) / "model.keras", Path(folder) / "order.json"
        # Saving imports TensorFlow where it is installed.
        start()
        model.save(saved)
        order.write_text(
            json.dumps({"format": name, "ends": ends.as_dict(), "properties": dict(properties), "half": half})
        )
        environment = os.environ | {"KERAS_BACKEND": backend, "KERAS_TORCH_DEVICE": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment["PYTHONPATH"] = os.pathsep.join(
            filter(None, [str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH")])
        )
        command = [sys.executable, "-m", "kerasdl.export.formats.elsewhere", str(saved), str(path), str(order)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise UserError(f"{CONVERTERS[name]} did not end within {PATIENCE} s") from error
    if done.returncode == 0 and path.is_file():
        return tuple(json.loads(done.stdout.strip().splitlines()[-1]))
    last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
    raise UserError(f"{CONVERTERS[name]} failed on model {model.name!r}: {last}")


def main() -> None:
    """Reads the command line; exit status 2 and one line on what went wrong."""
    from kerasdl.backend import choose
    from kerasdl.export.samples import input_specifications, keras_outputs
    from kerasdl.safety import load_model

    source, destination, order = map(Path, sys.argv[1:])
    told = json.loads(order.read_text())
    try:
        choose()
        named = told["ends"]
        ends = Ends(tuple(named["inputs"]), tuple(named["outputs"]), named["dynamic_batch"])
        model = load_model(source)
        keras_outputs(
            model,
            [np.ones((1, *(size or 32 for size in shape[1:])), kind) for _, shape, kind in input_specifications(model)],
        )
        with quiet("tensorflow", "torch.export"):
            warnings = _write(model, told["format"], destination, ends, told["properties"], told["half"])
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        raise SystemExit(2) from error
    print(json.dumps(warnings))


if __name__ == "__main__":
    main()
