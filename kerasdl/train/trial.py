"""What is trained, and what comes of it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from kerasdl.train.answers import Answers

if TYPE_CHECKING:
    import keras

Status = Literal["completed", "diverged", "failed"]
Logs = Mapping[str, float]

# Seconds between two words on how far an epoch is.
TOLD_EVERY = 0.1


@dataclass(frozen=True)
class EarlyStopping:
    """When a trial ends before its last epoch, as in `keras.callbacks.EarlyStopping`.

    Attributes:
        monitor: The metric to watch, such as `"val_loss"`.
        direction: `"min"` or `"max"`: which values are better.
        patience: Epochs without improvement after which training stops.
        min_delta: The least change that counts as an improvement.
        restore_best_weights: Whether the trial ends with the weights of its best epoch.
    """

    monitor: str
    direction: Literal["min", "max"]
    patience: int = 5
    min_delta: float = 0.0
    restore_best_weights: bool = True


@dataclass(frozen=True)
class Trial:
    """One configuration with one seed.

    Attributes:
        number: The trial's identity for whoever asked for it.
        configuration: Trials with equal numbers build the same model from different seeds.
        seed: Settles initial weights and the order of the data.
        build: Gives a compiled Keras model; called with every random state set by `seed`.
        epochs: How many epochs to train.
        batch_size: Rows in a batch.
        early_stopping: When to stop before, if at all.
        data_parallel: Whether each batch is divided among all devices.
        origin: What its model is before it is compiled: with equal origins and equal seeds they are equal. Empty where
            that is not known.
        recompile: Makes of a model of the same origin and seed, which has not trained, what `build` gives, and returns
            it; `None` where that cannot be done.
    """

    number: int
    configuration: int
    seed: int
    build: Callable[[], "keras.Model"]
    epochs: int
    batch_size: int
    early_stopping: EarlyStopping | None = None
    data_parallel: bool = False
    origin: str = ""
    recompile: Callable[["keras.Model"], "keras.Model | None"] | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        status: `"diverged"` where a loss was not finite, `"failed"` where an error was raised.
        logs: The metrics of the epoch whose weights the trial ended with.
        test: Metrics on the test rows.
        weights: The weights at the end, in the order of `keras.Model.weights`.
        confusion: int64, `(classes, classes)`, test rows by true and predicted class; `None` without classes.
        answers: What the model answers for each test row, see `kerasdl.train.answers`; none without classes.
        parameters: Number of trainable parameters.
        seconds: The trial's share of the time.
        message: Why it did not complete.
    """

    status: Status
    logs: Logs = field(default_factory=dict)
    test: Logs = field(default_factory=dict)
    weights: list[np.ndarray] | None = None
    confusion: np.ndarray | None = None
    answers: Answers = field(default_factory=dict)
    parameters: int | None = None
    seconds: float = 0.0
    message: str | None = None


class Recorder(Protocol):
    """Who is told what happens while trials train."""

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None:
        """Trials begin to run.

        Args:
            trials: Which.
            how: A sentence on whether they run together, and why.
            after_epoch: How many of their epochs were trained before, and told.
        """

    def batch(self, done: int, batches: int) -> None:
        """So many batches of the epoch are trained; told a few times a second, where Keras or Python calls each."""

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float, waited: float = 0.0) -> None:
        """An epoch ended.

        Args:
            epoch: 1 is the first.
            logs: The metrics of each trial by its number.
            seconds: Each one's share of the time.
            waited: Seconds of these for which training waited for data; none where data lie on the device.
        """

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """A trial ended."""


class BatchTeller:
    """Tells a recorder how far an epoch is, a few times a second.

    Args:
        recorder: Who is told.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._told = 0.0

    def __call__(self, done: int, batches: int) -> None:
        """Passes on that so many batches of the epoch are trained, unless it did so just now."""
        now = time.perf_counter()
        if now - self._told > TOLD_EVERY:
            self._told = now
            self._recorder.batch(done, batches)


class Progress:
    """Follows the metrics of one model in training and says when it must end.

    Args:
        early_stopping: The rule, if there is one.
    """

    def __init__(self, early_stopping: EarlyStopping | None) -> None:
        self.rule = early_stopping
        self.best_logs: Logs = {}
        self.best_weights: list[np.ndarray] | None = None
        self.diverged: str | None = None
        self._best = np.inf
        self._wait = 0

    def facts(self) -> dict[str, Any]:
        """Returns what JSON can hold of where it stands; the best weights are apart."""
        return {"best_logs": dict(self.best_logs), "best": self._best, "wait": self._wait}

    def restore(self, facts: Mapping[str, Any], best_weights: list[np.ndarray] | None) -> None:
        """Goes on where `facts` were taken."""
        self.best_logs, self._best, self._wait = facts["best_logs"], facts["best"], facts["wait"]
        self.best_weights = best_weights

    def update(self, epoch: int, logs: Logs, weights: Callable[[], list[np.ndarray]]) -> bool:
        """Takes the metrics of an epoch.

        Args:
            epoch: 1 is the first.
            logs: The metrics.
            weights: Gives the weights after this epoch; called only where they are worth keeping.

        Returns:
            Whether training ends here.

        Raises:
            KeyError: The monitored metric is not among the metrics.
        """
        spoilt = [name for name in ("loss", "val_loss") if name in logs and not np.isfinite(logs[name])]
        if spoilt:
            self.diverged = f"{spoilt[0]} was not finite in epoch {epoch}"
            return True
        if self.rule is None:
            return False
        value = logs[self.rule.monitor] * (1 if self.rule.direction == "min" else -1)
        if value < self._best - self.rule.min_delta:
            self._best, self._wait = value, 0
            if self.rule.restore_best_weights:
                self.best_logs, self.best_weights = dict(logs), weights()
        else:
            self._wait += 1
        return self._wait >= max(self.rule.patience, 1)

    def ending(self, logs: Logs, weights: Callable[[], list[np.ndarray]]) -> tuple[Logs, list[np.ndarray]]:
        """Returns the metrics and the weights that a trial ends with when its training ends now."""
        if self.best_weights is not None:
            return self.best_logs, self.best_weights
        return logs, weights()


def first_line(error: BaseException) -> str:
    """Returns an error as one line: its kind and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
