"""Collects what a run knows and a bundle needs, as values for the metadata of the ONNX file."""

from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.runs.database import finite
from kerasdl.runs.ranking import interval

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.runs import Run
    from kerasdl.runs.best import Best


def known_facts(run: "Run", best: "Best") -> dict[str, Any]:
    """Returns what the winner's file has to say beside its classes and settings.

    Args:
        run: The run.
        best: Its winner, or the trial that is exported in its place.

    Returns:
        `study`, its name; `question`; `task`; `evaluation`, the scores of the configuration with their intervals over
        repeats and those of the trial whose weights the file holds; `preprocessing`, what features or images look like
        before the model.
    """
    data = run.data
    return finite(
        {
            "study": run.study.get("name") or "",
            "question": run.study.get("question") or "",
            "task": data.get("task", "classification"),
            "evaluation": _evaluation(run, best),
            "preprocessing": _preprocessing(run),
        }
    )


def _evaluation(run: "Run", best: "Best") -> dict[str, Any]:
    trials = run.trials()
    own = trials[(trials["configuration"] == best.configuration) & (trials["status"] == "completed")]
    tests = [name for name in own.columns if name.startswith("test_") and own[name].notna().any()]
    name, direction = run.objective
    single = own[own["trial"] == best.trial].iloc[0]
    environment = run.environment
    return {
        "objective": {"name": name, "direction": direction, **_mean(own["score"], run.overlap)},
        "test": {test.removeprefix("test_"): _mean(own[test], run.overlap) for test in tests},
        "repeats": len(own),
        "folds": run.study.get("folds"),
        "rows": run.data.get("rows", {}),
        "trial": {
            "score": single["score"],
            "test": {test.removeprefix("test_"): single[test] for test in tests},
            "accuracy_interval": _of_rows(run, single),
        },
        "classes": _classes(run, best.configuration),
        "baselines": {key: facts.get("test_accuracy") for key, facts in run.baselines.items()},
        "parameters": single["parameters"],
        "notes": run.data.get("notes", []),
        "measured": {key: environment.get(key) for key in ("backend", "device", "platform", "versions")},
    }


def _mean(scores: "pd.Series", overlap: float) -> dict[str, float]:
    values = scores.astype("float64").dropna().to_list()
    low, high = interval(values, overlap=overlap)
    return {"mean": float(np.mean(values)) if values else float("nan"), "low": low, "high": high}


def _of_rows(run: "Run", trial: "pd.Series") -> tuple[float, float] | None:
    """Returns how far a single trial's accuracy on the test rows may be from that on all rows of their kind."""
    from kerasdl.report.statistics import wilson

    rows = run.data.get("rows", {}).get("test")
    if run.data.get("task") != "classification" or not rows or not np.isfinite(trial.get("test_accuracy", np.nan)):
        return None
    return wilson(float(trial["test_accuracy"]) * rows, rows)


def _classes(run: "Run", configuration: int) -> list[dict[str, float]]:
    """Returns recall and precision of each class, over the test rows of all repeats; of pixels nothing."""
    matrix = run.confusion(configuration).astype("float64")
    if not matrix.any():
        return []
    right = matrix.diagonal()
    with np.errstate(invalid="ignore"):
        recall, precision = right / matrix.sum(axis=1), right / matrix.sum(axis=0)
    return [{"recall": float(one), "precision": float(two)} for one, two in zip(recall, precision, strict=True)]


def _preprocessing(run: "Run") -> dict[str, Any]:
    data = run.data
    offset, scale = (np.asarray(data["scaling"][key], "float64") for key in ("offset", "scale"))
    shape = data.get("input_shape", [])
    if len(shape) == 3:
        return {"image": _image(data["name"], shape, offset, scale)}
    rows = run.sample
    if len(shape) != 1 or offset.size != shape[0]:
        return {}
    return {
        "columns": {
            "mean": offset.ravel().tolist(),
            "spread": scale.ravel().tolist(),
            "low": rows.min(axis=0).tolist(),
            "high": rows.max(axis=0).tolist(),
        }
    }


def _image(name: str, shape: list[int], offset: np.ndarray, scale: np.ndarray) -> dict[str, Any]:
    from kerasdl.data.spec import parse
    from kerasdl.errors import UserError

    try:
        resize = parse(name).parameters.get("resize", "stretch")
    except UserError:
        # Data of a program's own have a name that is no specification.
        resize = "stretch"
    # Pixels are scaled by their type's range, other numbers by mean and deviation, of which the range is not known.
    by_range = not offset.any() and np.ptp(scale) == 0
    return {
        "height": shape[0],
        "width": shape[1],
        "channels": shape[2],
        "resize": resize,
        "range": [0.0, float(scale.ravel()[0])] if by_range else None,
    }
