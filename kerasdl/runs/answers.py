"""What models answered for each test row: which rows two configurations disagree on, and how well masks overlap."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.runs.run import Run

# Names of a run's arrays: those of a trial, and the true class of each test row.
PREFIX = "answers/"
TRUTH = f"{PREFIX}truth"
KINDS = ("predicted", "probability", "overlap")

# Beyond the best and the worst configuration and those with repeats to come, the best others up to so many bytes.
MOST_BYTES = 16 * 2**20


def name(trial: int, kind: str) -> str:
    """Returns the name of an array of a trial: `predicted`, `probability` or `overlap`."""
    return f"{PREFIX}{trial}/{kind}"


def baseline(name: str) -> str:
    """Returns the name of the array of what a baseline predicts for each test row."""
    return f"{PREFIX}baseline-{name}"


def extremes(table: "pd.DataFrame") -> tuple[int, int] | None:
    """Returns the first and the last of the configurations that completed all that they began.

    Where fewer than two did, those that completed a trial count too.

    Args:
        table: The ranking, as `Run.table()` gives it.

    Returns:
        Their numbers, or `None` where there are not two.
    """
    scored = table[table["mean"].notna()]
    whole = scored[(scored["diverged"] == 0) & (scored["failed"] == 0)]
    pool = whole if len(whole) > 1 else scored
    return (int(pool["configuration"].iloc[0]), int(pool["configuration"].iloc[-1])) if len(pool) > 1 else None


def to_drop(run: "Run", repeats: int, sizes: Mapping[int, int], most: int = MOST_BYTES) -> list[int]:
    """Returns the trials whose answers are not worth keeping.

    Args:
        run: The run.
        repeats: How many trials a configuration has at its end.
        sizes: Bytes of the answers of each trial that has some.
        most: Bytes to keep beyond the best, the worst and the configurations with repeats to come.
    """
    table, trials = run.table(), run.trials()
    ended = table["completed"] + table["diverged"] + table["failed"]
    whole = [int(number) for number in table.loc[ended >= repeats, "configuration"]]
    kept = extremes(table[table["configuration"].isin(whole)]) or tuple(whole[:1])
    dropped, left = [], most
    for number in whole:
        own = [int(one) for one in trials.loc[trials["configuration"] == number, "trial"] if int(one) in sizes]
        if number in kept:
            continue
        left -= sum(sizes[one] for one in own)
        if left < 0:
            dropped += own
    return dropped


def disagreements(run: "Run", best: int | None, worst: int | None, n: int | None) -> "pd.DataFrame":
    """See `Run.disagreements`."""
    import pandas as pd

    if best is None or worst is None:
        ends = extremes(run.table())
        if ends is None:
            raise UserError(f"{run.path}: fewer than two configurations completed a trial; there is nothing to compare")
        best, worst = ends[0] if best is None else best, ends[1] if worst is None else worst
    truth = run.truth
    sides = {"best": _side(run, best), "worst": _side(run, worst)}
    (right, sure), (wrong, unsure) = ((own[0]["predicted"], own[0]["probability"]) for own in sides.values())
    rows = np.flatnonzero((right == truth) & (wrong != truth))
    classes = np.asarray([str(one) for one in run.data["classes"]], dtype=object)
    found = pd.DataFrame(
        {
            "row": rows,
            "truth": classes[truth[rows]],
            "best": classes[right[rows]],
            "best_probability": sure[rows].astype("float64"),
            "worst": classes[wrong[rows]],
            "worst_probability": unsure[rows].astype("float64"),
            "best_right": _share([one["predicted"][rows] == truth[rows] for one in sides["best"]]),
            "worst_wrong": _share([one["predicted"][rows] != truth[rows] for one in sides["worst"]]),
        }
    )
    confidence = -(found["best_probability"] + found["worst_probability"]).to_numpy()
    found = found.iloc[np.argsort(confidence, kind="stable")].reset_index(drop=True)
    return found if n is None else found.head(n)


def _share(flags: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(flags, axis=0), dtype="float64")


def _side(run: "Run", configuration: int) -> list[dict[str, np.ndarray]]:
    """Returns the answers of a configuration's completed trials, those of the best trial first."""
    trials = ordered_trials(run, configuration)
    found = [own for own in map(run.answers, trials) if "predicted" in own]
    if not found:
        raise UserError(f"{run.path}: {_why(run, configuration, trials)}")
    return found


def _why(run: "Run", configuration: int, trials: Sequence[int]) -> str:
    """Says why there are no answers by class of a configuration."""
    if run.data.get("task") == "segmentation":
        return "its data give a class for each pixel, not for each row; see Run.image_scores()"
    if configuration not in run.configurations():
        return f"there is no configuration {configuration}; choose from 0 to {max(run.configurations(), default=0)}"
    if not trials:
        return f"configuration {configuration} has no completed trial; choose another"
    return (
        f"keeps no answers of configuration {configuration} for each test row; those of the best and of the worst are "
        f"always kept, of others as far as {MOST_BYTES // 2**20} MiB reach, and runs of earlier versions have none"
    )


def ordered_trials(run: "Run", configuration: int) -> list[int]:
    """Returns a configuration's completed trials, the best score first."""
    trials = run.trials()
    own = trials[(trials["configuration"] == configuration) & (trials["status"] == "completed")]
    own = own[own["score"].notna()]
    ranked = own.sort_values(["score", "trial"], ascending=[run.objective[1] == "min", True])
    return [int(number) for number in ranked["trial"]]


def confused(run: "Run", n: int) -> "pd.DataFrame":
    """See `Run.confused`."""
    import pandas as pd

    best = run.best
    columns = ["truth", "predicted", "count", "share", "rows"]
    if best is None:
        return pd.DataFrame(columns=columns)
    own, *others = _side(run, best.configuration)
    truth, classes = run.truth, [str(one) for one in run.data["classes"]]
    matrix = run.confusion(best.configuration)
    of_class, wrong = matrix.sum(axis=1), matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows: list[dict[str, Any]] = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:n]:
        a, b = divmod(int(place), len(classes))
        if wrong[a, b] == 0:
            break
        taken = np.flatnonzero((truth == a) & (own["predicted"] == b))
        taken = taken[np.argsort(-own["probability"][taken], kind="stable")]
        count = float(wrong[a, b]) / (1 + len(others))
        share = float(wrong[a, b] / of_class[a])
        rows.append(dict(zip(columns, (classes[a], classes[b], count, share, taken.tolist()), strict=True)))
    return pd.DataFrame(rows, columns=columns)


def image_scores(run: "Run", configuration: int | None) -> "pd.DataFrame":
    """See `Run.image_scores`."""
    import pandas as pd

    frames = []
    for trial, seed, overlap in _overlaps(run, configuration):
        dice, iou = overlap_scores(overlap)
        frame = pd.DataFrame({"trial": trial, "seed": seed, "row": np.arange(len(overlap))})
        present = np.maximum(np.isfinite(dice).sum(axis=1), 1)
        frame["dice"], frame["iou"] = (np.nansum(one, axis=1) / present for one in (dice, iou))
        for kind, scores in (("dice", dice), ("iou", iou)):
            for position, label in enumerate(run.data["classes"]):
                frame[f"{kind}_{label}"] = scores[:, position]
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def class_scores(run: "Run", configuration: int | None) -> "pd.DataFrame":
    """See `Run.class_scores`."""
    import pandas as pd

    frames = []
    for trial, seed, overlap in _overlaps(run, configuration):
        dice, iou = overlap_scores(overlap.sum(axis=0, dtype="int64"))
        own = {"class": [str(one) for one in run.data["classes"]], "dice": dice, "iou": iou}
        frames.append(pd.DataFrame({"trial": trial, "seed": seed, **own}))
    return pd.concat(frames, ignore_index=True)


def _overlaps(run: "Run", configuration: int | None) -> list[tuple[int, int, np.ndarray]]:
    best = run.best
    if configuration is None:
        if best is None:
            raise UserError(f"{run.path}: no trial completed yet, so there is nothing to show")
        configuration = best.configuration
    trials = ordered_trials(run, configuration)
    seeds = run.trials().set_index("trial")["seed"]
    found = [(trial, run.answers(trial).get("overlap")) for trial in trials]
    known = [(trial, int(seeds[trial]), overlap) for trial, overlap in found if overlap is not None]
    if not known:
        classified = run.data.get("task") != "segmentation"
        why = "its data give a class for each row, not for each pixel" if classified else _why_not(configuration)
        raise UserError(f"{run.path}: {why}")
    return known


def _why_not(configuration: int) -> str:
    return f"keeps no Dice and IoU of configuration {configuration} for each test image; see Run.table() for its means"


def overlap_scores(overlap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes Dice (L. R. Dice, Ecology 26, 1945) and intersection over union (P. Jaccard, 1912).

    Args:
        overlap: Whole numbers, `(..., 2)`: pixels both in the mask and in the prediction, and the sum of those in
            either.

    Returns:
        Both as float64, `(...)`: `2 * both / sum` and `both / (sum - both)`, NaN where neither holds a pixel.
    """
    both, total = overlap[..., 0].astype("float64"), overlap[..., 1].astype("float64")
    with np.errstate(invalid="ignore"):
        return 2 * both / total, both / (total - both)
