"""Trains the trials that an oracle gave together, as packs."""

import statistics
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial as TunerTrial

from kerasdl.runs import TrialResult
from kerasdl.train import EarlyStopping, Outcome, Trial
from kerasdl.train.alone import train_alone
from kerasdl.train.pack import Member, PackTrainer, build
from kerasdl.train.trial import first_line
from kerasdl.tune.executions import Executions, Follower
from kerasdl.tune.fit_arguments import FitArguments
from kerasdl.tune.oracles import DIVERGED, save_state
from kerasdl.tune.planner import Blueprint, Pack, blueprint, plan
from kerasdl.tune.record import Record, best_epoch, row_number

if TYPE_CHECKING:
    from kerasdl.tune.packed import PackedTuner

_NEVER = 2**31


class Sitting:
    """Trains trials that were asked from the oracle together.

    Args:
        tuner: Whose trials they are.
        record: The tuner's run.
        request: What `search` was given.
    """

    def __init__(self, tuner: "PackedTuner", record: Record, request: FitArguments) -> None:
        self._tuner, self._record, self._request = tuner, record, request

    def run(self, trials: Sequence[TunerTrial]) -> list[tuple[TunerTrial, str]]:
        """Trains trials and ends each.

        Args:
            trials: KerasTuner's trials.

        Returns:
            The trials that cannot run in a pack, not yet begun, and why.
        """
        executions: list[Executions] = []
        blueprints: dict[int, Blueprint] = {}
        alone: list[tuple[TunerTrial, str]] = []
        for trial in trials:
            own = self._executions(trial)
            try:
                built = blueprint(own.trainings[0], self._request.dataset)
            except Exception as error:  # noqa: BLE001 - whatever a hypermodel raises is its trial's end
                self._fail(own, error)
                continue
            if built.obstacle:
                alone.append((trial, built.obstacle))
            else:
                executions.append(own)
                blueprints[own.trainings[0].configuration] = built
        self._record.add({own.trainings[0].configuration: own.trial.hyperparameters.values for own in executions})
        follower = Follower(self._record, executions, self._complete)
        for pack in plan([training for own in executions for training in own.trainings], blueprints):
            self._train(pack, follower)
        return alone

    def _executions(self, trial: TunerTrial) -> Executions:
        tuner, request, goal = self._tuner, self._request, self._record.objective
        configuration, values = tuner.number_of(trial), trial.hyperparameters.values
        # Hyperband's own: how far a trial goes, and from where it goes on.
        epochs = values.get("tuner/epochs", request.epochs) - values.get("tuner/initial_epoch", 0)
        # Trials that start from the weights of another share no epochs with any: a rule of their own keeps them apart.
        patience = _NEVER + (configuration + 1 if "tuner/trial_id" in values else 0)
        rule = EarlyStopping(goal.name, goal.direction, patience=patience)
        trainings = []
        for execution in range(tuner.executions_per_trial):
            seed = tuner.seed_of(trial, execution)
            number = row_number(configuration, seed - self._record.seed)
            make = self._builder(trial)
            trainings.append(Trial(number, configuration, seed, make, epochs, request.batch_size, rule))
        return Executions(trial, trainings)

    def _builder(self, trial: TunerTrial) -> Callable[[], keras.Model]:
        return lambda: self._tuner.build_for_pack(trial)

    def _train(self, pack: Pack, follower: Follower) -> None:
        dataset, how = self._request.dataset, pack.how
        if pack.fused:
            error = _error_in(lambda: PackTrainer(pack.members, dataset, follower, pack.timed).run(how), follower)
            if error is None:
                return
            how = (
                f"alone, by Keras' fit on {keras.backend.backend()}: as one program it failed with {first_line(error)}"
            )
            if isinstance(error, KeyError) and error.args == (self._record.objective.name,):
                self._fail_executions(pack.trials, error, follower)
                return
        for member in pack.members:
            left = [one for one in member.trials if one.number not in follower.ended and not follower.of(one).over]
            if not left:
                continue
            error = _error_in(partial(train_alone, Member(tuple(left)), dataset, follower, how), follower)
            if error is not None:
                self._fail_executions(left, error, follower)

    def _complete(self, own: Executions) -> None:
        """Reports a trial to the oracle as KerasTuner does: metrics of the best epochs, averaged over executions."""
        trial, goal = own.trial, self._record.objective
        outcomes = [own.outcomes[training.number] for training in own.trainings]
        diverged = next((outcome for outcome in outcomes if outcome.status != "completed"), None)
        if diverged is not None:
            trial.status, trial.message = "INVALID", f"{DIVERGED}{diverged.message}"
        else:
            scores = [outcome.logs[goal.name] for outcome in outcomes]
            if np.isfinite(scores).any():
                best = best_epoch(scores, goal.direction)
                self._save(own.trainings[best], outcomes[best], trial)
            means: dict[str, Any] = {
                name: float(np.mean([outcome.logs[name] for outcome in outcomes])) for name in outcomes[0].logs
            }
            epochs = [best_epoch(own.curves[training.number], goal.direction) for training in own.trainings]
            self._tuner.oracle.update_trial(trial.trial_id, means, step=int(statistics.mean(epochs)))
            trial.status = "COMPLETED"
        self._tuner.on_trial_end(trial)

    def _save(self, training: Trial, outcome: Outcome, trial: TunerTrial) -> None:
        """Saves the weights of a trial's best epoch where `get_best_models` looks for them."""
        model = build(training)
        model.set_weights(outcome.weights)
        save_state(Path(self._tuner._get_build_config_fname(trial.trial_id)), model.get_build_config())
        model.save_weights(self._tuner._get_checkpoint_fname(trial.trial_id))

    def _fail_executions(self, trainings: Sequence[Trial], error: Exception, follower: Follower) -> None:
        for training in trainings:
            if training.number not in follower.ended:
                result = TrialResult("failed", message=first_line(error))
                self._record.writer.finish_trial(training.number, result)
        for training in trainings:
            self._fail(follower.of(training), error)

    def _fail(self, own: Executions, error: Exception) -> None:
        """Ends a trial by an error as KerasTuner does."""
        if isinstance(error, keras_tuner.errors.FatalError):
            raise error
        if own.over:
            return
        own.over = True
        own.trial.status = "FAILED" if isinstance(error, keras_tuner.errors.FailedTrialError) else "INVALID"
        own.trial.message = "".join(traceback.format_exception(error))
        self._tuner.on_trial_end(own.trial)


def _error_in(action: Callable[[], Any], follower: Follower) -> Exception | None:
    try:
        action()
    except Exception as error:
        if error is follower.raised:
            raise
        return error
    return None
