"""Asks KerasTuner's oracles for configurations, and tells them how those did."""

from collections.abc import Callable, Mapping
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from kerasdl.tune.space import Encoding
from kerasdl.tune.study import Study

# An oracle of this many configurations at once learns from all of them before it is asked again.
ADAPTIVE_ROUND = 8


class Proposals:
    """The configurations of a study, round by round.

    The same study gives the same rounds as long as it is told the same scores, so a run is gone on with by asking and
    telling again what it holds already.

    Args:
        study: The study.
        register: Declares a builder's own hyperparameters in those given to it, by calling it; `None` where the space
            is the study's alone.
        first: The number of the first configuration.
    """

    def __init__(
        self,
        study: Study,
        register: Callable[[keras_tuner.HyperParameters], None] | None = None,
        first: int = 0,
    ) -> None:
        self._study = study
        self._encoding = Encoding(study.space)
        self._register = register
        hyperparameters = self._encoding.hyperparameters()
        if register is not None:
            register(hyperparameters)
        self._oracle = _oracle(study, hyperparameters)
        self.adaptive = study.search in ("bayesian", "hyperband")
        self._first = self._number = first
        self._open: dict[int, Trial] = {}

    @property
    def planned(self) -> int | None:
        """How many configurations there will be at most, where that is known before the end."""
        return None if self._study.search == "hyperband" else self._study.trials

    def ask(self) -> dict[int, dict[str, Any]]:
        """Returns the next round: the varying settings of each configuration by its number; empty at the end."""
        found: dict[int, dict[str, Any]] = {}
        while not self.adaptive or len(found) < ADAPTIVE_ROUND:
            if self._study.trials is not None and self._number - self._first >= self._study.trials:
                break
            trial = self._oracle.create_trial(f"tuner{self._number}")
            if trial.status != "RUNNING":
                break
            if self._register is not None:
                self._register(trial.hyperparameters)
                self._oracle.update_space(trial.hyperparameters)
            found[self._number] = self._settings(trial.hyperparameters.values)
            self._open[self._number] = trial
            if not self.adaptive:
                # Grid and random search learn nothing from scores, but the grid waits for each trial's end.
                self.tell({self._number: 0.0})
            self._number += 1
        return found

    def _settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        settings = self._encoding.decode({name: value for name, value in values.items() if "/" not in name})
        if "tuner/epochs" in values:
            settings["epochs"] = int(values["tuner/epochs"])
        return settings

    def tell(self, scores: Mapping[int, float | None]) -> None:
        """Tells how the configurations of a round did.

        Args:
            scores: The mean objective of each configuration by its number; `None` where it has none.
        """
        for number, score in scores.items():
            trial = self._open.pop(number, None)
            if trial is None:
                continue
            if score is None:
                trial.status = "FAILED"
            else:
                self._oracle.update_trial(trial.trial_id, {self._study.goal.name: score})
                trial.status = "COMPLETED"
            self._oracle.end_trial(trial)


def _oracle(study: Study, hyperparameters: keras_tuner.HyperParameters) -> keras_tuner.Oracle:
    goal = study.goal
    common: dict[str, Any] = {
        "objective": keras_tuner.Objective(goal.name, goal.direction),
        "hyperparameters": hyperparameters,
        # KerasTuner takes 0 for "no seed".
        "seed": study.seed + 1,
        # A diverged configuration is a result: no number of them ends a search.
        "max_consecutive_failed_trials": 2**31,
    }
    kinds: dict[str, type[keras_tuner.Oracle]] = {
        "grid": keras_tuner.oracles.GridSearchOracle,
        "random": keras_tuner.oracles.RandomSearchOracle,
        "bayesian": keras_tuner.oracles.BayesianOptimizationOracle,
        "hyperband": keras_tuner.oracles.HyperbandOracle,
    }
    if study.search == "hyperband":
        common["max_epochs"] = study.settings({})["epochs"]
    else:
        common["max_trials"] = study.trials or (10 if study.search != "grid" else None)
    oracle = kinds[study.search](**common)
    oracle.verbose = 0
    # The run's own database keeps what happened; the oracle needs no files beside it.
    oracle.save = lambda: None
    oracle._save_trial = lambda trial: None
    return oracle
