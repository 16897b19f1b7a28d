"""Asks Keras' own exporter for what the graph writer does not know: custom layers, recurrence, attention.

On TensorFlow it goes through tf2onnx, on torch through `torch.onnx`. A model that runs on JAX is saved and exported by
a fresh process on whichever of the two is installed, as a process has one Keras backend for life.
"""

import contextlib
import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError

# The backend -> the modules that Keras' exporter needs there.
NEEDS = {"tensorflow": ("tensorflow", "tf2onnx"), "torch": ("torch", "onnxscript")}

# Seconds; the start of a backend and the trace of a large model fit many times over.
PATIENCE = 900


def exporters() -> list[str]:
    """Returns the backends with whose help Keras' own exporter can work here, the running one first."""
    import keras

    able = [name for name, modules in NEEDS.items() if all(importlib.util.find_spec(module) for module in modules)]
    running = keras.backend.backend()
    return sorted(able, key=lambda name: name != running)


def export_with_keras(model: Any, opset: int, reason: str) -> Iterator[tuple[str, Any]]:
    """Exports a model by Keras' own exporter, on one backend after another, as long as the caller asks for more.

    Args:
        model: A built Keras model that has been called.
        opset: The ONNX operator set wanted.
        reason: Why the graph writer could not do it.

    Yields:
        Who exported (`"keras on tensorflow"`, `"keras on torch in a fresh process"`) and the `onnx.ModelProto`.

    Raises:
        UserError: No exporter is installed, or none of those installed could export the model.
    """
    import keras
    import onnx

    running, able = keras.backend.backend(), exporters()
    if not able:
        raise UserError(
            f"{reason}: kerasdl writes no graph for this, and Keras' own exporter is not installed; "
            "install one: pip install 'kerasdl[tensorflow]' (or [torch])"
        )
    own = own_classes(model)
    if own and running not in able:
        raise UserError(
            f"{', '.join(own)} cannot be loaded in a fresh process on {able[0]}, where Keras' own exporter works; "
            f"export from a process that defines it and runs on {able[0]} (KERAS_BACKEND={able[0]})"
        )
    failures = []
    with tempfile.TemporaryDirectory(prefix="kerasdl-export-") as folder:
        # Keras loads nothing but its own classes in safe mode, so a fresh process is no way out for others.
        for name in [running] if own else able:
            path = Path(folder) / f"{name}.onnx"
            try:
                if name == running:
                    who = f"{export_here(model, path, opset)} on {name}"
                else:
                    who = f"{_export_elsewhere(model, name, path, opset)} on {name} in a fresh process"
            except UserError as error:
                failures.append(f"on {name}: {error}")
                continue
            yield who, onnx.load(path)
    if failures:
        raise UserError(
            f"{reason}: kerasdl writes no graph for this, and Keras' own exporter failed {'; '.join(failures)}"
        )


def export_here(model: Any, path: Path, opset: int) -> str:
    """Exports by Keras' exporter in this process, quietly; on torch, where that fails, by torch's newer one.

    Args:
        model: The Keras model; it must have been called.
        path: Where the file goes.
        opset: The ONNX operator set.

    Returns:
        Who did it: `"keras"` or `"torch.onnx"`.

    Raises:
        UserError: The exporters failed; the message holds the first line of what Keras' said.
    """
    import keras

    with warnings.catch_warnings(), quiet("tf2onnx", "torch.onnx", "onnxscript"):
        # The exporters warn of their inner workings (deprecated aliases, traced constants); the outputs are compared.
        warnings.simplefilter("ignore")
        try:
            model.export(path, format="onnx", verbose=False, opset_version=opset)
        except Exception as error:  # what a foreign exporter can raise has no common class
            line = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:300]}"
            if keras.backend.backend() == "torch" and _export_by_torch(model, path, opset):
                return "torch.onnx"
            raise UserError(line) from error
    return "keras"


def _export_by_torch(model: Any, path: Path, opset: int) -> bool:
    """Exports by `torch.onnx.export(dynamo=True)`, which knows operators that the one Keras calls does not."""
    import torch

    from kerasdl.export.samples import input_specifications

    specifications = input_specifications(model)
    if len(specifications) != 1:
        return False
    _, shape, dtype = specifications[0]
    # Two rows: torch takes a length of one for a constant.
    sample = torch.ones((2, *(size or 2 for size in shape[1:])), dtype=getattr(torch, dtype))
    batch = ({0: torch.export.Dim("batch")},)
    was_training = model.training
    model.eval()
    try:
        # A Keras model takes *args: its dynamic shapes are a tuple inside the tuple.
        shapes = (batch,)
        program = torch.onnx.export(
            model, (sample,), dynamo=True, dynamic_shapes=shapes, opset_version=opset, verbose=False
        )
        program.save(path)
    except Exception:  # noqa: BLE001  the caller reports what Keras' own exporter said
        return False
    finally:
        model.train(was_training)
    return True


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """Silences loggers and what compiled code prints to the standard output and error, such as torch's whole graph.

    Args:
        *names: The loggers.
    """
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in enumerate(kept, start=1):
            os.dup2(copy, number)
            os.close(copy)
        os.close(nothing)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _export_elsewhere(model: Any, backend: str, path: Path, opset: int) -> str:
    """Saves the model and has a fresh process on another backend load it in safe mode and export it."""
    saved = path.with_suffix(".keras")
    model.save(saved)
    package = Path(__file__).parents[2]
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(package), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", "kerasdl.export.convert", str(saved), str(path), str(opset)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise UserError(f"the fresh process did not end within {PATIENCE} s") from error
    if done.returncode == 0 and path.is_file():
        return done.stdout.strip().splitlines()[-1]
    raise UserError(next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}"))


def own_classes(model: Any) -> list[str]:
    """Names what Keras cannot load in safe mode: `"layer 'noise' (MyNoise)"`, subclassed models, Lambda layers."""
    layers = [model, *model._flatten_layers(include_self=False)]
    return [
        f"{'model' if layer is model else 'layer'} {layer.name!r} ({type(layer).__name__})"
        for layer in layers
        if not type(layer).__module__.startswith(("keras.", "keras_hub.")) or type(layer).__name__ == "Lambda"
    ]
