"""Exports the winner of a run, with everything that the run knows about it inside the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.export import export_model
from kerasdl.export.result import Export
from kerasdl.export.target import Target

if TYPE_CHECKING:
    import keras

    from kerasdl.data.dataset import Scaling

FILE_NAME = "best.onnx"


def export_run(
    run_directory: str | Path,
    target: str | Target = "onnx",
    out: str | Path | None = None,
    *,
    model: "keras.Model | None" = None,
) -> Export:
    """Exports the best model of a run; its outputs are compared on the run's own test rows.

    Args:
        run_directory: The run.
        target: The name of a shipped target, the path of a TOML file, or a `Target`.
        out: Where the file goes, by default `best.onnx` in the run.
        model: The run's best model, where it is at hand; else it is loaded.

    Returns:
        What was written.

    Raises:
        ExportError: The outputs differ by more than the target's tolerance; nothing was written.
        UserError: There is no run, it has no winner yet, or the target or path cannot be used.
    """
    from kerasdl.export.bundle.known import known_facts
    from kerasdl.runs import Run

    directory = Path(run_directory)
    with Run.open(directory) as run:
        best = run.best
        if best is None:
            raise UserError(f"{directory}: no trial of this run has completed; run the study again to go on with it")
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
        return export_model(
            model,
            Path(out) if out is not None else directory / FILE_NAME,
            target,
            scaling=scaling_of(data),
            classes=tuple(data["classes"]),
            features=tuple(data["features"]),
            metadata=metadata,
            rows=run.sample,
        )


def scaling_of(data: Mapping[str, Any]) -> "Scaling":
    """Reads the scaling out of the facts about a data set."""
    from kerasdl.data.dataset import Scaling

    return Scaling(*(np.asarray(data["scaling"][key], "float32") for key in ("offset", "scale")))
