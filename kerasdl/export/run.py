"""Exports the winner of a run, with everything that the run knows about it inside the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.result import Export
from kerasdl.export.subject import Subject
from kerasdl.export.target import Target, load_target

if TYPE_CHECKING:
    import keras

    from kerasdl.data.dataset import Dataset, Scaling
    from kerasdl.runs import Run
    from kerasdl.runs.best import Best

FILE_NAME = "best.onnx"

# Rows of the data on which the loss of reduced precision is measured, and which 8-bit numbers are fitted to.
MOST_ROWS = 10_000


def export_run(
    run_directory: str | Path,
    target: str | Target = "onnx",
    out: str | Path | None = None,
    *,
    model: "keras.Model | None" = None,
    trial: int | None = None,
) -> Export:
    """Exports the best model of a run; its outputs are compared on the run's own test rows.

    Args:
        run_directory: The run.
        target: The name of a shipped target, the path of a TOML file, or a `Target`.
        out: Where the file goes, by default `best` with the format's suffix in the run.
        model: The run's best model, where it is at hand; else it is loaded.
        trial: The trial to export, by default the winner's best.

    Returns:
        What was written.

    Raises:
        ExportError: The outputs differ by more than the target's tolerance; nothing was written.
        UserError: There is no run, it has no winner yet, the trial's weights were not kept, or the target or path
            cannot be used.
    """
    directory = Path(run_directory)
    chosen = target if isinstance(target, Target) else load_target(target)
    subject = subject_of_run(directory, trial=trial, tested=chosen.reduced, model=model)
    path = Path(out) if out is not None else (directory / FILE_NAME).with_suffix(f".{chosen.suffix}")
    return subject.export(path, chosen)


def subject_of_run(
    directory: Path, *, trial: int | None = None, tested: bool = False, model: "keras.Model | None" = None
) -> Subject:
    """Collects what a run knows about its winner.

    Args:
        directory: The run.
        trial: The trial to export; a run keeps the weights of one, its winner's best.
        tested: Whether its data are loaded again, for targets that need test and training rows.
        model: The run's best model, where it is at hand; else it is loaded.

    Raises:
        UserError: There is no run, it has no winner yet, the trial's weights were not kept, or its data cannot be
            loaded again.
    """
    from kerasdl.export.bundle.known import known_facts
    from kerasdl.runs import Run

    with Run.open(directory) as run:
        best = run.best
        if best is None:
            raise UserError(f"{directory}: no trial of this run has completed; run the study again to go on with it")
        _check_trial(run, best, trial)
        try:
            model = model or best.load()
        except FileNotFoundError as error:
            raise UserError(str(error)) from error
        data = run.data
        metadata = {
            "title": run.study.get("title", directory.name),
            "data": data["name"],
            "source": data["source"],
            "licence": data["licence"],
            "fingerprint": data["fingerprint"],
            "settings": best.settings,
            "scores": best.scores,
            **known_facts(run, best),
        }
        scaling = scaling_of(data)
        dataset = _load_again(run) if tested else None
        return Subject(
            model=model,
            scaling=scaling,
            classes=tuple(data["classes"]),
            features=tuple(data["features"]),
            metadata=metadata,
            rows=run.sample,
            tested=None if dataset is None else scaling.invert(np.asarray(dataset.test.x[:MOST_ROWS])),
            labels=None if dataset is None else np.asarray(dataset.test.y[:MOST_ROWS]),
            calibration=None if dataset is None else scaling.invert(np.asarray(dataset.train.x[:MOST_ROWS])),
        )


def _check_trial(run: "Run", best: "Best", trial: int | None) -> None:
    if trial is None or trial == best.trial:
        return
    numbers = set(run.trials()["trial"])
    if trial not in numbers:
        raise UserError(
            f"--trial {trial}: {run.path} has no such trial; its trials are {min(numbers)} to {max(numbers)}"
        )
    raise UserError(
        f"--trial {trial}: its weights were not kept; a run keeps those of one trial, its winner's best: {best.trial}"
    )


def _load_again(run: "Run") -> "Dataset":
    """Loads a run's data by their name, and checks that they are the same."""
    from kerasdl import data

    name = str(run.study.get("data", run.data["name"]))
    why = f"{run.path}: the loss of reduced precision is measured on the test rows of {name!r}"
    try:
        dataset = data.load(name, seed=run.study.get("seed", 0))
    except UserError as error:
        raise UserError(f"{why}, which cannot be loaded again: {error}") from error
    if dataset.fingerprint != run.data["fingerprint"]:
        raise UserError(f"{why}, which are not those of the run any more (another fingerprint); export float32 targets")
    return dataset


def scaling_of(data: Mapping[str, Any]) -> "Scaling":
    """Reads the scaling out of the facts about a data set."""
    from kerasdl.data.dataset import Scaling

    return Scaling(*(np.asarray(data["scaling"][key], "float32") for key in ("offset", "scale")))
