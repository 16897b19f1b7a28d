"""Trains the best configurations once more, on all rows that may be learned from, and tests them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.data import Dataset, Split, cache
from kerasdl.data.folds import joined_weights
from kerasdl.runs import Run
from kerasdl.train import Outcome, Trial
from kerasdl.train.alone import train_alone
from kerasdl.train.backends import current_backend
from kerasdl.train.pack import PackTrainer
from kerasdl.train.trial import Logs
from kerasdl.tune.planner import Pack
from kerasdl.tune.side_by_side import SideBySide
from kerasdl.tune.study import Study
from kerasdl.tune.trials import TrialMaker

# Rows that are copied in one go from disk to disk.
BLOCK = 64


class _Outcomes:
    """Keeps how trials end."""

    def __init__(self) -> None:
        self.of: dict[int, Outcome] = {}

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None:
        pass

    def batch(self, done: int, batches: int) -> None:
        pass

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float, waited: float = 0.0) -> None:
        pass

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        self.of[trial.number] = outcome


def retrain(
    study: Study,
    dataset: Dataset,
    settings: Mapping[int, Mapping[str, Any]],
    epochs: Mapping[int, int],
    memory: int | None = None,
) -> list[dict[str, Any]]:
    """Trains configurations on training and validation rows together, every repeat of each, and tests them once.

    Args:
        study: Whose configurations they are.
        dataset: The data.
        settings: Every setting of each configuration by its number, the best first.
        epochs: How many epochs each is trained: those after which it was best, where training stopped early.
        memory: Bytes that a pack may use; half of what is free where absent.

    Returns:
        For each configuration its number, its epochs, and for each test metric the value of each repeat that did not
        diverge.
    """
    with _whole(dataset) as whole:
        return _retrained(study, whole, settings, epochs, memory)


def _retrained(
    study: Study,
    whole: Dataset,
    settings: Mapping[int, Mapping[str, Any]],
    epochs: Mapping[int, int],
    memory: int | None,
) -> list[dict[str, Any]]:
    maker = TrialMaker(study.model_copy(update={"folds": None}), whole)
    trials = [
        replace(trial, epochs=epochs[trial.configuration], early_stopping=None)
        for trial in maker.trials({number: {**values} for number, values in settings.items()})
    ]
    blueprints, _ = maker.blueprints(trials)
    outcomes = _Outcomes()

    def trainer(pack: Pack) -> PackTrainer:
        return PackTrainer(pack.members, whole, outcomes, pack.timed)

    packs, width = maker.packs(trials, blueprints, memory), current_backend().packs_at_once()
    for turn in SideBySide(packs, trainer, lambda pack, trainer: None, width).turns():
        if turn.error is not None:
            raise turn.error
        if not turn.trained:
            for member in turn.pack.members:
                train_alone(member, whole, outcomes, turn.pack.how)
    return [
        {
            "configuration": number,
            "epochs": epochs[number],
            "test": _columns([outcomes.of[one.number] for one in trials if one.configuration == number]),
        }
        for number in settings
    ]


def _columns(outcomes: Sequence[Outcome]) -> dict[str, list[float]]:
    completed = [outcome.test for outcome in outcomes if outcome.status == "completed"]
    return {name: [float(test[name]) for test in completed] for name in (completed[0] if completed else ())}


@contextmanager
def _whole(dataset: Dataset) -> Iterator[Dataset]:
    """Gives the data with all validation rows among the training rows; what memory would not hold lies on disk."""
    one, other = dataset.train, dataset.validation
    needed = sum(array.nbytes for split in (one, other) for array in split.arrays)
    with cache.partial(needed) if dataset.mapped else nullcontext() as folder:
        yield replace(dataset, train=_joined(one, other, folder), validation=_none_of(other))


def _joined(one: Split, other: Split, folder: Path | None) -> Split:
    weights = joined_weights(one, other)
    return Split(_one_array(one.x, other.x, folder, "x"), _one_array(one.y, other.y, folder, "y"), weights)


def _one_array(one: np.ndarray, other: np.ndarray, folder: Path | None, name: str) -> np.ndarray:
    if folder is None or not isinstance(one, np.memmap):
        return np.concatenate([one, other])
    path, shape = folder / f"{name}.npy", (len(one) + len(other), *one.shape[1:])
    cache.write_array(path, shape, one.dtype.str, (part[i : i + BLOCK] for part in (one, other) for i in _steps(part)))
    mapped: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    return mapped


def _steps(part: np.ndarray) -> range:
    return range(0, len(part), BLOCK)


def _none_of(split: Split) -> Split:
    return Split(split.x[:0], split.y[:0])


def lengths(run: Run, settings: Mapping[int, Mapping[str, Any]]) -> dict[int, int]:
    """Returns how many epochs are worth training: all, or, where training stopped early, those to the best on average.

    Args:
        run: The run that trained the configurations.
        settings: Every setting of each by its number.
    """
    curves = run.curves()
    rule = run.study.get("early_stopping")
    found = {}
    for number, values in settings.items():
        own = curves[curves["configuration"] == number]
        if rule is None:
            found[number] = values["epochs"]
            continue
        sign = 1 if rule["direction"] == "min" else -1
        best = own.assign(rank=sign * own[rule["monitor"]]).sort_values(["rank", "epoch"]).groupby("trial").first()
        found[number] = max(1, round(float(best["epoch"].mean())))
    return found
