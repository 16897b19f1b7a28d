"""The run database of a tuner: each execution of each trial, with its score and its curve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.tune.environment import describe

NAME = "run"

# No trial has as many executions, those of its retries included.
EXECUTIONS = 1000


@dataclass
class Finished:
    """An execution that Keras' `fit` trained.

    Attributes:
        seed: What settled its random states.
        status: `"completed"`, `"diverged"` or `"failed"`.
        score: The objective at its best epoch.
        curves: The value of each metric, epoch by epoch.
        seconds: How long it took.
        message: Why it did not complete.
    """

    seed: int
    status: str
    score: float | None = None
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float = 0.0
    message: str | None = None


def row_number(configuration: int, offset: int) -> int:
    """Returns the number that the run calls an execution by.

    Args:
        configuration: Where its trial stands in the order of their beginning.
        offset: Its seed less that of the first execution.
    """
    return configuration * EXECUTIONS + offset


class Record:
    """Writes a tuner's run. Use it as a context manager.

    Args:
        directory: The tuner's project directory.
        objective: What its trials are compared by.
        seed: That of each trial's first execution.
    """

    def __init__(self, directory: Path, objective: keras_tuner.Objective, seed: int) -> None:
        self.writer = RunWriter(directory / NAME, 'kind = "tuner"\n')
        self.objective = objective
        self.seed = seed
        with Run.open(directory / NAME) as run:
            self._known = set(run.configurations())
            self._round = max(run.rounds(), default=-1) + 1
        self._written: set[int] = set()
        self._pending: dict[int, list[Finished]] = {}

    def __enter__(self) -> "Record":
        self.writer.__enter__()
        self.writer.record_fact("objective", {"name": self.objective.name, "direction": self.objective.direction})
        self.writer.record_fact("environment", describe())
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.__exit__(*exception)

    def add(self, configurations: Mapping[int, Mapping[str, Any]]) -> None:
        """Writes the hyperparameters of trials that were asked from the oracle together."""
        new = {number: values for number, values in configurations.items() if number not in self._known}
        if new:
            self.writer.add_configurations(self._round, new)
            self._known.update(new)
            self._round += 1

    def start(self, rows: Sequence[tuple[int, int, int, str]]) -> None:
        """Marks executions as running: number, trial, seed and how, of each."""
        self.writer.start_trials(rows)
        self._written.update(configuration for _, configuration, _, _ in rows)

    def keep(self, configuration: int, execution: Finished) -> None:
        """Takes an execution that `fit` trained, to be written when its trial ends and all that it varies is known."""
        self._pending.setdefault(configuration, []).append(execution)

    def pending(self, configuration: int) -> int:
        """Returns how many executions of a trial wait to be written."""
        return len(self._pending.get(configuration, ()))

    def end(self, configuration: int, values: Mapping[str, Any], how: str, ended: Finished) -> None:
        """Writes what is not yet written of a trial.

        Args:
            configuration: Its number.
            values: Its hyperparameters.
            how: How it ran.
            ended: The trial itself as one execution, for one whose executions nobody saw.
        """
        pending = self._pending.pop(configuration, [])
        if configuration not in self._written and not pending:
            pending = [ended]
        self._written.discard(configuration)
        if not pending:
            return
        self.add({configuration: values})
        numbers = [row_number(configuration, one.seed - self.seed) for one in pending]
        rows = zip(numbers, pending, strict=True)
        self.writer.start_trials([(number, configuration, one.seed, how) for number, one in rows])
        for number, one in zip(numbers, pending, strict=True):
            self._write(number, one)

    def _write(self, number: int, one: Finished) -> None:
        epochs = max((len(values) for values in one.curves.values()), default=0)
        for epoch in range(epochs):
            metrics = {name: float(values[epoch]) for name, values in one.curves.items() if epoch < len(values)}
            self.writer.record_epoch(epoch + 1, {number: metrics}, one.seconds / epochs)
        result = TrialResult(one.status, score=one.score, seconds=one.seconds, message=one.message)
        self.writer.finish_trial(number, result)


def best_epoch(values: Sequence[float], direction: str) -> int:
    """Returns the first epoch, 0 at the start, whose objective no other beats; NaN is worst."""
    curve = np.asarray(values, dtype="float64") * (1 if direction == "min" else -1)
    return int(np.argmin(np.where(np.isnan(curve), np.inf, curve))) if len(curve) else 0
