"""Compares each row's outputs with those of the float32 file on the same rows: a fast wrong model is no winner."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasdl.export.benchmark.candidates import Missing
from kerasdl.export.benchmark.opening import Runner
from kerasdl.export.benchmark.process import WorkerError
from kerasdl.export.benchmark.rows import COMPARED, compare
from kerasdl.export.benchmark.settings import Settings


def compare_with_float32(runners: list[Runner], settings: Settings, folder: Path, missing: list[Missing]) -> None:
    """Writes each row's agreement into it.

    Args:
        runners: The rows; those whose outputs cannot be had are taken out.
        settings: Tells the batch sizes.
        folder: Where outputs are kept for the while.
        missing: Takes what was taken out.
    """
    outputs: dict[int, list[np.ndarray]] = {}
    for number, runner in enumerate(list(runners)):
        # A size that was warmed up: another one might be compiled anew.
        sizes = list(runner.row.cells)
        size = max([each for each in sizes if each <= COMPARED], default=min(sizes))
        path = folder / f"outputs-{number}.npz"
        try:
            runner.process.ask("outputs", batch_size=size, rows=max(COMPARED, size), path=str(path))
        except WorkerError as error:
            runner.process.close()
            runners.remove(runner)
            missing.append(Missing(runner.row.label, str(error)))
            continue
        with np.load(path, allow_pickle=False) as file:
            # Rows that are there again say nothing new.
            outputs[id(runner)] = [file[f"arr_{index}"][: runner.distinct] for index in range(len(file.files))]
        path.unlink()
    for runner in runners:
        reference = find_reference(runner, runners)
        if reference is not None and reference.source != runner.source:
            name = reference.row.file
            runner.row.agreement = compare(name, outputs[id(reference)], outputs[id(runner)])


def find_reference(runner: Runner, runners: Sequence[Runner]) -> Runner | None:
    """Finds the float32 file that a row is compared with.

    Args:
        runner: The row.
        runners: All rows.

    Returns:
        The row of the float32 ONNX file of the same folder, else of its `.keras` file, else of the only float32 file
        there is; `None` where none was called with the same rows.
    """
    plain = [each for each in runners if each.row.precision == "float32" and each.kind == runner.kind]
    beside = [each for each in plain if each.source.path.parent == runner.source.path.parent]
    for runtime in ("onnxruntime", "keras"):
        found = [each for each in beside if each.source.runtime == runtime]
        if found:
            # The last is the CPU's, which computes in full precision.
            return found[-1]
    files = {each.source.path for each in plain}
    return plain[-1] if len(files) == 1 else None
