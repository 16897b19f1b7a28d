"""Runs a written file on batches of raw rows."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.export.formats.ends import Ends
from kerasdl.export.result import ExportError

# Seconds; the start of a runtime and some thousand rows fit many times over.
PATIENCE = 900

Batches = Sequence[tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Ran:
    """What a file gave.

    Attributes:
        outputs: For each batch one array per output.
        runtime: What ran it, with its version.
        providers: The execution providers that onnxruntime really used; empty for other formats.
        probabilities: Whether its one output is called `"probabilities"`.
    """

    outputs: tuple[tuple[np.ndarray, ...], ...]
    runtime: str
    providers: tuple[str, ...]
    probabilities: bool


def run_file(name: str, path: Path, batches: Batches, ends: Ends) -> Ran:
    """Runs a file: ONNX and Keras in this process, others in a fresh one that imports only NumPy and their runtime.

    Args:
        name: The format.
        path: The file.
        batches: For each batch one array per input.
        ends: The names of inputs and outputs.

    Returns:
        Its outputs.

    Raises:
        ExportError: The file cannot be opened, or fails on a batch.
    """
    if name == "onnx":
        return _run_onnx(path, batches)
    if name == "keras":
        return _run_keras(path, batches, ends)
    return _run_elsewhere(name, path, batches, ends)


def _run_onnx(path: Path, batches: Batches) -> Ran:
    import onnxruntime

    from kerasdl.export.session import create_session

    try:
        session = create_session(path)
    except Exception as error:  # onnxruntime raises a class of its own for every status
        raise ExportError(f"the file does not open: {_first_line(error)}; nothing was written") from error
    names = [each.name for each in session.get_inputs()]
    outputs = []
    for batch in batches:
        try:
            outputs.append(tuple(session.run(None, dict(zip(names, batch, strict=True)))))
        except Exception as error:
            raise ExportError(
                f"the file fails on {len(batch[0])} rows: {_first_line(error)}; nothing was written"
            ) from error
    probabilities = [each.name for each in session.get_outputs()] == ["probabilities"]
    providers = tuple(session.get_providers())
    return Ran(tuple(outputs), f"onnxruntime {onnxruntime.__version__}", providers, probabilities)


def _run_keras(path: Path, batches: Batches, ends: Ends) -> Ran:
    import keras

    from kerasdl.export.samples import keras_outputs
    from kerasdl.safety import load_model

    model = load_model(path)
    outputs = tuple(keras_outputs(model, batch) for batch in batches)
    return Ran(outputs, f"keras {keras.version()} on {keras.backend.backend()}", (), ends.probabilities)


def _run_elsewhere(name: str, path: Path, batches: Batches, ends: Ends) -> Ran:
    with tempfile.TemporaryDirectory(prefix="kerasdl-read-") as folder:
        rows, answers = Path(folder) / "rows.npz", Path(folder) / "answers.npz"
        given: dict[str, Any] = {
            f"{number}/{place}": array for number, batch in enumerate(batches) for place, array in enumerate(batch)
        }
        np.savez(rows, **given)
        # -P: the folder of the script holds modules of the same names as the runtimes.
        command = [sys.executable, "-P", str(Path(__file__).with_name("reader.py")), name, str(path.absolute())]
        command += [str(rows), str(answers), json.dumps([ends.inputs, ends.outputs])]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=PATIENCE, check=False, env={**os.environ}
            )
        except subprocess.TimeoutExpired as error:
            raise ExportError(f"reading the file did not end within {PATIENCE} s; nothing was written") from error
        if done.returncode != 0:
            last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
            raise ExportError(f"the file cannot be run without Keras: {last[:300]}; nothing was written")
        with np.load(answers, allow_pickle=False) as content:
            outputs = tuple(
                tuple(content[f"{number}/{place}"] for place in range(len(ends.outputs)))
                for number in range(len(batches))
            )
    return Ran(outputs, done.stdout.strip().splitlines()[-1], (), ends.probabilities)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
