"""Follows the executions of KerasTuner's trials while packs train them, and says when a trial has all of them."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial as TunerTrial

from kerasdl.runs import TrialResult
from kerasdl.train import Outcome, Trial
from kerasdl.train.seats import Member
from kerasdl.train.trial import Logs
from kerasdl.tune.record import Record, is_spoilt

Weights = list[np.ndarray]


@dataclass
class Course:
    """How one execution goes.

    Attributes:
        training: What is trained.
        before: How many epochs the weights have behind them that it starts from.
        epochs: How many epochs have ended.
        best: The first epoch whose objective no other beats, 1 at the start; 0 while none has a finite score.
        logs: The metrics of that epoch, those of the last where there is none.
        weights: The weights after it, where they were seen.
        ended: Whether it has ended.
        diverged: Why it did not complete.
        seconds: Its share of the time.
    """

    training: Trial
    before: int = 0
    epochs: int = 0
    best: int = 0
    logs: Logs = field(default_factory=dict)
    weights: Weights | None = None
    ended: bool = False
    diverged: str | None = None
    seconds: float = 0.0

    def begin(self) -> None:
        """Forgets what an attempt left that did not come to its end."""
        self.epochs, self.best, self.logs, self.weights, self.seconds = 0, 0, {}, None, 0.0

    def take(self, epoch: int, logs: Logs, objective: keras_tuner.Objective) -> None:
        """Takes the metrics of an epoch.

        Raises:
            KeyError: The objective is not among them.
        """
        self.epochs, value = epoch, objective.get_value(logs)
        finite = np.isfinite(value) and not is_spoilt(logs)
        if finite and (not self.best or objective.better_than(value, objective.get_value(self.logs))):
            self.best, self.logs, self.weights = epoch, logs, None
        elif not self.best:
            self.logs = logs

    def see(self, weights: Weights | None, epoch: int) -> None:
        """Keeps the weights after an epoch if it is the best one."""
        if weights is not None and epoch == self.best:
            self.weights = weights


@dataclass(eq=False)
class Executions:
    """A trial of KerasTuner and the trainings that it takes.

    Attributes:
        trial: KerasTuner's trial.
        courses: One for each execution, in order.
        over: Whether the trial has ended.
    """

    trial: TunerTrial
    courses: list[Course]
    over: bool = False

    @property
    def trainings(self) -> list[Trial]:
        """What is trained."""
        return [course.training for course in self.courses]


class Follower:
    """The recorder of packs.

    Args:
        record: The tuner's run.
        executions: What may be trained.
        complete: Ends a trial all of whose executions have ended.
    """

    def __init__(
        self, record: Record, executions: Sequence[Executions], complete: Callable[[Executions], None]
    ) -> None:
        self._record = record
        self._of = {training.number: own for own in executions for training in own.trainings}
        self._courses = {course.training.number: course for own in executions for course in own.courses}
        self._complete = complete
        self._stops: dict[int, Member] = {}
        self._numbers = itertools.count(-1, -1)
        self.raised: Exception | None = None

    def of(self, training: Trial) -> Executions:
        """Returns what a training is one execution of."""
        return self._of[training.number]

    def is_left(self, training: Trial) -> bool:
        """Tells whether a training is still to be trained."""
        return not (self._courses[training.number].ended or self._of[training.number].over)

    def with_stops(self, member: Member) -> Member:
        """Lets a member show its weights after each epoch, whatever its rule keeps.

        What ends on the way of a longer training shows the weights that it ends with; so something ends after each
        epoch, and is nobody's trial.
        """
        rule = member.longest.early_stopping
        if rule is None or rule.restore_best_weights:
            return member
        stops = [
            replace(member.longest, number=next(self._numbers), epochs=epoch)
            for epoch in range(1, member.longest.epochs)
        ]
        self._stops |= {stop.number: member for stop in stops}
        return Member(tuple(sorted([*stops, *member.trials], key=lambda trial: trial.epochs)))

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None:
        """Marks executions as running."""
        own = [one for one in trials if one.number in self._courses]
        for one in own:
            self._courses[one.number].begin()
        self._guard(self._record.start, [(one.number, one.configuration, one.seed, how) for one in own])

    def batch(self, done: int, batches: int) -> None:
        """Nobody looks."""

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float, waited: float = 0.0) -> None:
        """Writes an epoch."""
        own = {number: metrics for number, metrics in logs.items() if number in self._courses}
        later: dict[int, dict[int, Logs]] = {}
        for number, metrics in own.items():
            course = self._courses[number]
            course.take(epoch, metrics, self._record.objective)
            later.setdefault(course.before, {})[number] = metrics
        for before, rows in later.items():
            self._guard(self._record.writer.record_epoch, before + epoch, rows, seconds, waited)

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """Writes an execution's end, and ends its trial where it was the last."""
        if trial.number not in self._stops:
            self._guard(self._finish, self._courses[trial.number], outcome)
            return
        member = self._stops[trial.number]
        self._courses[member.longest.number].seconds += outcome.seconds
        for one in member.trials:
            self._courses[one.number].see(outcome.weights, trial.epochs)

    def _finish(self, course: Course, outcome: Outcome) -> None:
        rule = course.training.early_stopping
        # A rule that restores the best weights watches the objective.
        restored = rule is not None and rule.restore_best_weights
        course.see(outcome.weights, course.best if restored else course.epochs)
        course.ended = True
        course.seconds += outcome.seconds
        course.diverged = None if outcome.status == "completed" else outcome.message
        result = TrialResult(
            outcome.status,
            score=self._record.objective.get_value(course.logs) if course.best else None,
            parameters=outcome.parameters,
            seconds=course.seconds,
            message=outcome.message,
        )
        self._record.writer.finish_trial(course.training.number, result)
        own = self._of[course.training.number]
        if not own.over and all(one.ended for one in own.courses):
            own.over = True
            self._complete(own)

    def _guard(self, action: Callable[..., None], *arguments: Any) -> None:
        # What goes wrong here is no fault of the pack that is training: it must not be trained again for it.
        try:
            action(*arguments)
        except Exception as error:
            self.raised = error
            raise
