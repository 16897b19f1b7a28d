"""The few numbers of a run that other programs read: `summary.json`."""

import json
from typing import TYPE_CHECKING, Any

from kerasdl.runs.database import finite
from kerasdl.runs.sharing import Sharing, shared_by, ways
from kerasdl.runs.writer import write_atomically

if TYPE_CHECKING:
    from kerasdl.runs.run import Run

FILE_NAME = "summary.json"


def summarize(run: "Run") -> dict[str, Any]:
    """Sums a run up.

    Args:
        run: The run.

    Returns:
        `study`, `backend`, `configurations`, `trials`, `completed`, `diverged`, `failed`, `seconds`, `objective`,
        `best` (`settings`, `mean`, `std`, `repeats`, `test`), `onnx` (`path`, `max_abs_diff`, `providers`), `sharing`
        (`programs`, `epochs_asked`, `epochs_done`, `epochs_trained`, `passes`) and `ways`, a list of how trials ran
        (`how`, `trials`, `seconds`, `sharing`). `best`, `onnx` and `sharing` are `None` where there is none.
    """
    trials, places = run.trials(), run.places()
    counts: dict[Any, int] = trials["status"].value_counts().to_dict()
    best = run.best
    return {
        "study": run.study.get("name") or run.study.get("title"),
        "backend": run.environment.get("backend"),
        "configurations": len(run.configurations()),
        "trials": len(trials),
        **{status: int(counts.get(status, 0)) for status in ("completed", "diverged", "failed")},
        "seconds": round(run.seconds, 3),
        "objective": run.objective[0],
        "best": best
        and finite(
            {
                "settings": best.settings,
                "mean": best.scores["mean"],
                "std": best.scores["std"],
                "repeats": int((trials["configuration"] == best.configuration).sum()),
                "test": best.scores["test"],
            }
        ),
        "onnx": _export(run),
        "sharing": _sharing(shared_by(trials, places)),
        "ways": [
            {
                "how": way.how,
                "trials": way.trials,
                "seconds": round(way.seconds, 3),
                "sharing": _sharing(way.sharing),
            }
            for way in ways(trials, places)
        ],
    }


def _sharing(found: Sharing | None) -> dict[str, int] | None:
    if found is None:
        return None
    return {
        "programs": found.programs,
        "epochs_asked": found.asked,
        "epochs_done": found.done,
        "epochs_trained": found.trained,
        "passes": found.passes,
    }


def _export(run: "Run") -> dict[str, Any] | None:
    export = run.exported
    if not export:
        return None
    path = str((run.path / export["path"]).absolute())
    return {"path": path, "max_abs_diff": export["max_abs_diff"], "providers": export["providers"]}


def write_summary(run: "Run") -> dict[str, Any]:
    """Writes `summary.json` into the run's directory and returns what it holds."""
    summary = summarize(run)
    text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(run.path / FILE_NAME, text.encode())
    return summary
