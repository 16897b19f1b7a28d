"""Trains the trials that an oracle gave together, as packs."""

import statistics
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
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
from kerasdl.train.backends import current_backend
from kerasdl.train.building import build
from kerasdl.train.pack import PackTrainer
from kerasdl.train.seats import Member
from kerasdl.train.trial import Logs, first_line
from kerasdl.tune.executions import Course, Executions, Follower, Weights
from kerasdl.tune.fit_arguments import FitArguments
from kerasdl.tune.in_order import InOrder
from kerasdl.tune.oracles import DIVERGED, Resumable, save_state
from kerasdl.tune.planner import Blueprint, Pack, blueprint, plan
from kerasdl.tune.record import Record, best_epoch, row_number
from kerasdl.tune.side_by_side import SideBySide, Turn

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
        x = request.dataset.train.x
        self._rows = keras.KerasTensor((None, *x.shape[1:]), dtype=x.dtype.name)
        self._taken: list[Executions] = []
        self._blueprints: dict[int, Blueprint] = {}
        self._alone: list[tuple[TunerTrial, str]] = []
        # The model that was built last to save weights of its architecture.
        self._models: dict[str, keras.Model] = {}

    def take(self, trial: TunerTrial) -> None:
        """Takes a trial: builds its model, so that what it is made of is known before another is asked for.

        Args:
            trial: KerasTuner's trial; it ends here if its model cannot be built.
        """
        own = self._executions(trial)
        try:
            built = self._blueprint(own)
        except Exception as error:  # noqa: BLE001 - whatever a hypermodel raises is its trial's end
            self._fail(own, error)
            return
        if isinstance(self._tuner.oracle, Resumable):
            self._tuner.oracle.discover(trial)
        if built.obstacle:
            self._alone.append((trial, built.obstacle))
        else:
            self._taken.append(own)
            self._blueprints[own.trainings[0].configuration] = built

    def run(self) -> list[tuple[TunerTrial, str]]:
        """Trains the trials and ends each.

        Returns:
            The trials that cannot run in a pack, not yet begun, and why.
        """
        taken = self._taken
        self._record.add({own.trainings[0].configuration: own.trial.hyperparameters.values for own in taken})
        packs = plan([training for own in taken for training in own.trainings], self._blueprints)
        in_order = InOrder(packs, taken, self._has_weights, self._end)
        follower = Follower(self._record, taken, in_order.complete)
        make, width = partial(self._trainer, follower), current_backend().packs_at_once()
        for turn in SideBySide(packs, make, self._record_programs, width).turns():
            if not turn.trained:
                self._train_alone(turn, follower)
            in_order.trained(turn.pack)
        return self._alone

    def _executions(self, trial: TunerTrial) -> Executions:
        tuner, request = self._tuner, self._request
        configuration, values = tuner.number_of(trial), trial.hyperparameters.values
        # Hyperband's own: how far a trial goes, and from where it goes on.
        before = values.get("tuner/initial_epoch", 0)
        epochs = values.get("tuner/epochs", request.epochs) - before
        courses = []
        for execution in range(tuner.executions_per_trial):
            seed = tuner.seed_of(trial, execution)
            number = row_number(configuration, seed - self._record.seed)
            make = partial(self._make, trial)
            training = Trial(number, configuration, seed, make, epochs, request.batch_size, self._rule())
            courses.append(Course(training, before))
        return Executions(trial, courses)

    def _rule(self) -> EarlyStopping:
        """Says when a training ends, and that the weights of its best epoch are kept where the same rule can tell."""
        goal, asked = self._record.objective, self._request.stopping
        best = EarlyStopping(goal.name, goal.direction, patience=_NEVER)
        if asked is None:
            return best
        if asked == replace(best, patience=asked.patience, restore_best_weights=False):
            return replace(best, patience=asked.patience)
        return asked

    def _blueprint(self, own: Executions) -> Blueprint:
        built = blueprint(own.trainings[0], self._request.dataset)
        if "tuner/trial_id" not in own.trial.hyperparameters.values:
            return built
        # It starts from the weights of another trial, so it shares no epochs with any that builds the same.
        return replace(built, start=f"{built.start}, after another trial, as trial {own.trainings[0].configuration}")

    def _make(self, trial: TunerTrial) -> keras.Model:
        model = self._tuner.build_for_pack(trial)
        if model.built:
            return model
        try:
            # As `fit` does with its first batch.
            model(self._rows)
        except Exception:  # noqa: BLE001 - what it needs to be built is beyond a pack; `fit` takes it as it was
            return self._tuner.build_for_pack(trial)
        return model

    def _trainer(self, follower: Follower, pack: Pack) -> PackTrainer:
        members = [follower.with_stops(member) for member in pack.members]
        return PackTrainer(members, self._request.dataset, follower, pack.timed)

    def _record_programs(self, pack: Pack, trainer: PackTrainer) -> None:
        self._record.writer.record_programs(pack.programs(together=trainer.choice.together))

    def _train_alone(self, turn: Turn, follower: Follower) -> None:
        """Lets Keras' `fit` train what is left of a pack."""
        pack, how, error = turn.pack, turn.pack.how, turn.error
        if error is not None:
            if error is follower.raised:
                raise error
            how = (
                f"alone, by Keras' fit on {keras.backend.backend()}: as one program it failed with {first_line(error)}"
            )
            if self._is_missing(error, self._record.objective.name):
                self._fail_executions(pack.trials, error, follower)
                return
            if self._request.stopping and self._is_missing(error, self._request.stopping.monitor):
                self._leave_to_fit(pack, follower)
                return
        for member in pack.members:
            left = [one for one in member.trials if follower.is_left(one)]
            if not left:
                continue
            self._record.writer.record_programs([[{trial.number: trial.epochs for trial in left}]])
            own = follower.with_stops(Member(tuple(left)))
            error = _error_in(partial(train_alone, own, self._request.dataset, follower, how), follower)
            if error is not None:
                self._fail_executions(left, error, follower)

    def _is_missing(self, error: Exception, metric: str) -> bool:
        return isinstance(error, KeyError) and error.args == (metric,)

    def _leave_to_fit(self, pack: Pack, follower: Follower) -> None:
        """Leaves trials to KerasTuner that watch a metric which their model does not compute: Keras warns of it."""
        monitor = self._request.stopping.monitor if self._request.stopping else None
        for own in dict.fromkeys(map(follower.of, pack.trials)):
            if not own.over:
                own.over = True
                self._alone.append((own.trial, f"EarlyStopping watches {monitor}, which the model does not compute"))

    def _has_weights(self, own: Executions) -> bool:
        """Tells whether a trial's best weights are there, if it has any; a pack may no longer have them."""
        best = self._best(own)
        return best is None or not best.best or best.weights is not None

    def _end(self, own: Executions) -> None:
        best = self._best(own)
        if best is not None and not self._has_weights(own):
            self._train_again(best)
        self._report(own, best)

    def _best(self, own: Executions) -> Course | None:
        """Returns the best execution of a trial, `None` where one diverged before it had any score."""
        if any(course.diverged and not course.best for course in own.courses):
            return None
        goal = self._record.objective
        return own.courses[best_epoch([goal.get_value(course.logs) for course in own.courses], goal.direction)]

    def _report(self, own: Executions, best: Course | None) -> None:
        """Reports a trial to the oracle as KerasTuner does: metrics of the best epochs, averaged over executions."""
        trial, courses = own.trial, own.courses
        if best is None:
            reasons = [course.diverged for course in courses if course.diverged]
            trial.status, trial.message = "INVALID", f"{DIVERGED}{reasons[0]}"
        elif error := self._error_of_saving(best, trial):
            own.over = False
            self._fail(own, error)
            return
        else:
            means: dict[str, Any] = {
                name: float(np.mean([course.logs[name] for course in courses])) for name in best.logs
            }
            step = int(statistics.mean(max(course.best - 1, 0) for course in courses))
            self._tuner.oracle.update_trial(trial.trial_id, means, step=step)
            trial.status = "COMPLETED"
        self._tuner.on_trial_end(trial)

    def _train_again(self, course: Course) -> None:
        """Trains up to the best epoch: a pack no longer has its weights when a later epoch diverges."""
        again = replace(course.training, epochs=course.best, early_stopping=None)
        last = _Last()
        PackTrainer([Member((again,))], self._request.dataset, last).run("to the best epoch once more")
        course.weights = last.weights

    def _error_of_saving(self, best: Course, trial: TunerTrial) -> Exception | None:
        """Saves the best weights of a trial; what its hypermodel raises meanwhile is its end."""
        if best.weights is None:
            return None
        architecture = self._blueprints[best.training.configuration].architecture
        if architecture not in self._models:
            try:
                self._models = {architecture: build(best.training)}
            except Exception as error:  # noqa: BLE001 - as when it was built to be trained
                return error
        self._save(self._models[architecture], best.weights, trial)
        best.weights = None
        return None

    def _save(self, model: keras.Model, weights: Weights, trial: TunerTrial) -> None:
        """Saves weights where `get_best_models` looks for them."""
        model.set_weights(weights)
        save_state(Path(self._tuner._get_build_config_fname(trial.trial_id)), model.get_build_config())
        model.save_weights(self._tuner._get_checkpoint_fname(trial.trial_id))

    def _fail_executions(self, trainings: Sequence[Trial], error: Exception, follower: Follower) -> None:
        for training in trainings:
            if follower.is_left(training):
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


class _Last:
    """The recorder of a training whose weights alone are wanted."""

    weights: Weights | None = None

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None: ...

    def batch(self, done: int, batches: int) -> None: ...

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float, waited: float = 0.0) -> None: ...

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        self.weights = outcome.weights


def _error_in(action: Callable[[], Any], follower: Follower) -> Exception | None:
    try:
        action()
    except Exception as error:
        if error is follower.raised:
            raise
        return error
    return None
