"""KerasTuner's oracles, with a state that survives a kill and diverged trials that end nothing."""

import json
import warnings
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial

from kerasdl.runs.writer import write_atomically

# How the message of a trial begins that ran to its end without a score.
DIVERGED = "diverged: "

_OVER = ("COMPLETED", "FAILED")


class Resumable(keras_tuner.Oracle):
    """What every oracle of kerasdl adds to KerasTuner's: state that is whole at any moment, and NaN as a result."""

    trials: dict[str, Trial]

    @keras_tuner.synchronized
    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Takes the metrics of a trial; see `keras_tuner.Oracle.update_trial`."""
        with warnings.catch_warnings():
            # NumPy's, of a metric that was NaN throughout: a result here.
            warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
            return super().update_trial(trial_id, metrics, step=step)

    @keras_tuner.synchronized
    def end_trial(self, trial: Trial) -> None:
        """Ends a trial; one whose score is not finite is invalid without counting as an error."""
        if trial.status == "COMPLETED" and self._has_no_score(trial.trial_id):
            trial.status = "INVALID"
            trial.message = f"{DIVERGED}{self.objective.name} was not finite"
        super().end_trial(trial)
        if trial.trial_id in self._retry_queue:
            _forget_metrics(self.trials[trial.trial_id])

    def _has_no_score(self, trial_id: str) -> bool:
        metrics = self.trials[trial_id].metrics
        if not metrics.exists(self.objective.name):
            return False
        return not any(np.isfinite(one.mean()) for one in metrics.get_history(self.objective.name))

    def _check_consecutive_failures(self) -> None:
        # In the order of their beginning: trials that run together end in any order.
        failures = 0
        for trial_id in self.start_order:
            trial = self.trials[trial_id]
            raised = trial.status == "FAILED" and not (trial.message or "").startswith(DIVERGED)
            failures = failures + 1 if raised else 0
            if failures == self.max_consecutive_failed_trials:
                limit = self.max_consecutive_failed_trials
                raise RuntimeError(
                    f"Number of consecutive failures exceeded the limit of {limit}.\n{trial.message or ''}"
                )

    def discover(self, trial: Trial) -> None:
        """Takes the hyperparameters that a trial's model turned out to have, before others are asked for.

        KerasTuner takes them when the trial ends, and asks for one trial after another.
        """
        self.update_space(trial.hyperparameters)
        self._record_values(trial)
        self._save_trial(trial)

    def save(self) -> None:
        """Saves the oracle so that a kill leaves the old state or the new one."""
        if is_remote(self._project_dir):
            super().save()
        else:
            save_state(Path(self._get_oracle_fname()), self.get_state())

    def _save_trial(self, trial: Trial) -> None:
        if is_remote(self._project_dir):
            super()._save_trial(trial)
        else:
            save_state(Path(self._get_trial_dir(trial.trial_id)) / "trial.json", trial.get_state())

    def reload(self) -> None:
        """Reloads the oracle; trials that were running are queued to run again, those that had ended are not."""
        super().reload()
        # A trial whose file was written but not the oracle's state never began; its number is given anew.
        self.trials = {trial_id: self.trials[trial_id] for trial_id in self.start_order}
        unfinished = []
        for trial_id, trial in self.trials.items():
            if trial.status not in _OVER:
                _forget_metrics(trial)
                unfinished.append(trial_id)
            elif trial_id not in self.end_order:
                self.end_order.append(trial_id)
        # KerasTuner takes the last of this queue first.
        self._retry_queue = unfinished[::-1]


class GridSearchOracle(Resumable, keras_tuner.oracles.GridSearchOracle):
    """KerasTuner's grid, whose place in the grid is saved too, and which gives the next trial before one has ended."""

    _ordered_ids: Any

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Gives the next combination; see `keras_tuner.oracles.GridSearchOracle`."""
        found: dict[str, Any] = super().populate_space(trial_id)
        # KerasTuner does the same for its first trial. What its end may add to the space is found when it ends.
        if found["status"] == "RUNNING" and trial_id not in self._populate_next:
            self._populate_next.append(trial_id)
        return found

    def _get_next_combination(self, values: dict[str, Any]) -> dict[str, Any] | None:
        # A trial that ended before a hyperparameter was found does not use it: it is as if all values were tried.
        found: dict[str, Any] | None = super()._get_next_combination(self._completed(values, -1))
        return found

    def _compare(self, a: dict[str, Any], b: dict[str, Any]) -> int:
        return int(super()._compare(a, self._completed(b, 0)))

    def _completed(self, values: dict[str, Any], place: int) -> dict[str, Any]:
        """Fills hyperparameters in that were found later, by the value at a place in the order of the grid."""
        space = self.get_space()
        space.values = {**values}
        for one in space.space:
            if one.name not in space.values and space.is_active(one):
                others = [value for value in one.values if value != one.default]
                space.values[one.name] = [one.default, *others][place]
        return dict(space.values)

    def get_state(self) -> dict[str, Any]:
        """Returns KerasTuner's state and the trials in the order of the grid."""
        return {**super().get_state(), "ordered_ids": self._ordered()}

    def _ordered(self) -> list[str]:
        chain = self._ordered_ids
        found: list[str] = []
        index = chain._next_index[None]
        while index is not None:
            found.append(chain._memory[index])
            index = chain._next_index[index]
        return found

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes up a state, that of KerasTuner's own grid included."""
        super().set_state(state)
        self._ordered_ids = type(self._ordered_ids)()
        for trial_id in state["ordered_ids"] if "ordered_ids" in state else state["start_order"]:
            self._ordered_ids.insert(trial_id)
        # Trials whose next combination has been tried are passed over when their turn comes.
        self._populate_next = list(self.start_order)


class RandomSearchOracle(Resumable, keras_tuner.oracles.RandomSearchOracle):
    """KerasTuner's random search."""


class BayesianOptimizationOracle(Resumable, keras_tuner.oracles.BayesianOptimizationOracle):
    """KerasTuner's Bayesian optimization."""


class HyperbandOracle(Resumable, keras_tuner.oracles.HyperbandOracle):
    """KerasTuner's Hyperband."""


_OWN = {
    kind.__mro__[2]: kind
    for kind in (GridSearchOracle, RandomSearchOracle, BayesianOptimizationOracle, HyperbandOracle)
}


def resumable(oracle: keras_tuner.Oracle) -> keras_tuner.Oracle:
    """Makes one of KerasTuner's own oracles one of kerasdl's, in place; others are left as they are.

    KerasTuner's tuners make their oracles themselves, from arguments that need not be known here.
    """
    oracle.__class__ = _OWN.get(type(oracle), type(oracle))
    return oracle


def is_remote(directory: str) -> bool:
    """Tells whether a project lies in a store that only KerasTuner's own files reach, such as `gs://`."""
    return "://" in directory


def save_state(path: Path, state: Any) -> None:
    """Writes a state as JSON where KerasTuner keeps it, the whole of it or nothing."""
    write_atomically(path, json.dumps(state).encode())


def _forget_metrics(trial: Trial) -> None:
    trial.metrics = type(trial.metrics)()
