"""The run database of a tuner: each execution of each trial, with its score and its curve."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.writer import STUDY_NAME
from kerasdl.tune import toml
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
        score: The objective at its best epoch, the best before it diverged if it did.
        curves: The value of each metric, epoch by epoch.
        seconds: How long it took.
        message: Why it did not complete.
        before: How many epochs it had behind it where it began.
        parameters: Number of trainable parameters.
    """

    seed: int
    status: str
    score: float | None = None
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seconds: float = 0.0
    message: str | None = None
    before: int = 0
    parameters: int | None = None

    @property
    def epochs(self) -> int:
        """How many epochs were seen."""
        return max((len(values) for values in self.curves.values()), default=0)


def finished(seed: int, results: Any, objective: keras_tuner.Objective) -> Finished:
    """Turns what KerasTuner's `HyperModel.fit` may return into an execution.

    Args:
        seed: Its seed.
        results: A `keras.callbacks.History`, a dictionary of metrics or the score.
        objective: What trials are compared by.

    Raises:
        KeyError: The objective is not among the metrics.
    """
    if not isinstance(results, keras.callbacks.History):
        score = float(objective.get_value(results) if isinstance(results, dict) else results)
        return Finished(seed, "completed" if np.isfinite(score) else "diverged", score)
    names = results.history
    epochs = [dict(zip(names, values, strict=True)) for values in zip(*names.values(), strict=False)]
    values = [float(objective.get_value(logs)) for logs in epochs]
    finite = [value for value, logs in zip(values, epochs, strict=True) if not is_spoilt(logs)]
    score = finite[best_epoch(finite, objective.direction)] if finite else float("nan")
    one = Finished(seed, "completed", score, {objective.name: values, **names}, before=min(results.epoch, default=0))
    spoilt = [number for number, logs in enumerate(epochs, one.before + 1) if is_spoilt(logs)]
    if spoilt or not np.isfinite(score):
        one.status = "diverged"
        one.message = f"loss was not finite in epoch {spoilt[0]}" if spoilt else f"{objective.name} was not finite"
    return one


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
        facts: What is known of the search, to be kept where a run keeps its study.
        objective: What its trials are compared by.
        seed: That of each trial's first execution.
    """

    def __init__(self, directory: Path, facts: Mapping[str, Any], objective: keras_tuner.Objective, seed: int) -> None:
        frozen = directory / NAME / STUDY_NAME
        # What a project goes on with is KerasTuner's to check.
        text = frozen.read_text(encoding="utf-8") if frozen.exists() else toml.write({"kind": "tuner", **facts})
        self.writer = RunWriter(directory / NAME, text)
        self.objective = objective
        self.seed = seed
        with Run.open(directory / NAME) as run:
            self._known = set(run.configurations())
            self._round = max(run.rounds(), default=-1) + 1
            self._seconds = run.seconds
        self._started = time.perf_counter()
        self._written: set[int] = set()
        self._pending: dict[int, list[Finished]] = {}

    def __enter__(self) -> "Record":
        self.writer.__enter__()
        self.writer.record_fact("objective", {"name": self.objective.name, "direction": self.objective.direction})
        self.writer.record_fact("environment", describe())
        self.writer.record_fact("finished", {})
        return self

    def __exit__(self, *exception: object) -> None:
        self.writer.record_fact("seconds", {"search": self._seconds + time.perf_counter() - self._started})
        self.writer.__exit__(*exception)

    def finish(self, trials: int) -> None:
        """Writes that the search came to its end, after so many trials."""
        self.writer.record_fact("finished", {"trials": trials})

    def add(self, configurations: Mapping[int, Mapping[str, Any]]) -> None:
        """Writes the hyperparameters of trials that were asked from the oracle together."""
        new = {number: _settings(values) for number, values in configurations.items() if number not in self._known}
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

    def unscored(self, configuration: int) -> str | None:
        """Returns why an execution that waits to be written has no score, `None` where all have one."""
        pending = self._pending.get(configuration, ())
        without = [one for one in pending if one.score is None or not np.isfinite(one.score)]
        return without[0].message or "no finite score" if without else None

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
        self.writer.record_programs([{number: one.epochs}] for number, one in zip(numbers, pending, strict=True))
        for number, one in zip(numbers, pending, strict=True):
            self._write(number, one)

    def _write(self, number: int, one: Finished) -> None:
        for epoch in range(one.epochs):
            metrics = {name: float(values[epoch]) for name, values in one.curves.items() if epoch < len(values)}
            self.writer.record_epoch(one.before + epoch + 1, {number: metrics}, one.seconds / one.epochs)
        result = TrialResult(
            one.status, score=one.score, parameters=one.parameters, seconds=one.seconds, message=one.message
        )
        self.writer.finish_trial(number, result)


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out what Hyperband counts for itself; how many epochs a trial is trained in all is a setting."""
    return {name: value for name, value in values.items() if not name.startswith("tuner/") or name == "tuner/epochs"}


def is_spoilt(logs: Mapping[str, float]) -> bool:
    """Tells whether the loss of an epoch was no finite number."""
    return any(name in logs and not np.isfinite(logs[name]) for name in ("loss", "val_loss"))


def best_epoch(values: Sequence[float], direction: str) -> int:
    """Returns the first epoch, 0 at the start, whose objective no other beats; NaN is worst."""
    curve = np.asarray(values, dtype="float64") * (1 if direction == "min" else -1)
    return int(np.argmin(np.where(np.isnan(curve), np.inf, curve))) if len(curve) else 0
