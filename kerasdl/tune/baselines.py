"""Scikit-learn's classifiers on the flattened features: what a network has to beat."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kerasdl.data import Dataset, Split
from kerasdl.errors import UserError
from kerasdl.runs import answers

if TYPE_CHECKING:
    from kerasdl.runs import Run, RunWriter
    from kerasdl.tune.progress import Progress

Baseline = Literal["majority", "logistic_regression", "gradient_boosting"]


def train_baselines(
    names: list[Baseline], dataset: Dataset, seed: int, writer: "RunWriter", read: "Run", progress: "Progress"
) -> None:
    """Trains the baselines of a study that its run does not hold yet, once each, and keeps what they score.

    Args:
        names: Which.
        dataset: What they learn from.
        seed: For those that draw.
        writer: Who writes the run.
        read: The same run, to read.
        progress: Who shows what is done.

    Raises:
        UserError: The data set has a class for each pixel.
    """
    if names and dataset.task == "segmentation":
        raise UserError(
            f"baselines: {dataset.name} has a class for each pixel, and {names[0]} gives one for each row; leave it out"
        )
    for name in names:
        if name in read.baselines:
            continue
        progress.say(f"training the baseline {name.replace('_', ' ')}")
        started = time.perf_counter()
        model, settings = _MAKERS[name](seed)
        train = dataset.train
        model.fit(_flat(train), train.y, sample_weight=train.weights)
        facts: dict[str, Any] = {"model": settings, "seconds": time.perf_counter() - started}
        splits = {"": train, "val_": dataset.validation, "test_": dataset.test}
        predicted = {key: model.predict(_flat(split)) for key, split in splits.items() if len(split)}
        facts |= {f"{key}accuracy": float((predicted[key] == splits[key].y).mean()) for key in predicted}
        if "test_" in predicted:
            kind = np.min_scalar_type(len(dataset.classes))
            writer.record_array(answers.baseline(name), predicted["test_"].astype(kind))
        writer.record_fact("baselines", {**read.baselines, name: facts})


def _flat(split: Split) -> np.ndarray:
    return split.x.reshape(len(split), -1)


def _majority(seed: int) -> tuple[Any, str]:
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="most_frequent"), "the most frequent class of the training rows"


def _logistic_regression(seed: int) -> tuple[Any, str]:
    from sklearn.linear_model import LogisticRegression

    # Scikit-learn's own limit of 100 steps ends before pixels have converged.
    return LogisticRegression(max_iter=1000), "LogisticRegression(max_iter=1000), L2 with C = 1"


def _gradient_boosting(seed: int) -> tuple[Any, str]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(random_state=seed), "HistGradientBoostingClassifier()"


_MAKERS: dict[str, Callable[[int], tuple[Any, str]]] = {
    "majority": _majority,
    "logistic_regression": _logistic_regression,
    "gradient_boosting": _gradient_boosting,
}
