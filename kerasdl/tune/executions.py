"""Follows the executions of KerasTuner's trials while packs train them, and says when a trial has all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras_tuner.engine.trial import Trial as TunerTrial

from kerasdl.runs import TrialResult
from kerasdl.train import Outcome, Trial
from kerasdl.train.trial import Logs
from kerasdl.tune.record import Record


@dataclass
class Executions:
    """A trial of KerasTuner and the trainings that it takes.

    Attributes:
        trial: KerasTuner's trial.
        trainings: One for each execution, in order.
        curves: The objective of each training, epoch by epoch.
        outcomes: What came of those that have ended, by their number.
        over: Whether the trial has ended.
    """

    trial: TunerTrial
    trainings: list[Trial]
    curves: dict[int, list[float]] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    over: bool = False


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
        self._complete = complete
        self.ended: set[int] = set()
        self.raised: Exception | None = None

    def of(self, training: Trial) -> Executions:
        """Returns what a training is one execution of."""
        return self._of[training.number]

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None:
        """Marks executions as running."""
        self._guard(self._record.start, [(one.number, one.configuration, one.seed, how) for one in trials])

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float) -> None:
        """Writes an epoch."""
        name = self._record.objective.name
        for number, own in logs.items():
            curve = self._of[number].curves.setdefault(number, [])
            del curve[epoch - 1 :]
            curve.append(own.get(name, float("nan")))
        self._guard(self._record.writer.record_epoch, epoch, logs, seconds)

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """Writes an execution's end, and ends its trial where it was the last."""
        self._guard(self._finish, trial, outcome)

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        score = outcome.logs.get(self._record.objective.name) if outcome.status == "completed" else None
        result = TrialResult(
            outcome.status,
            score=score,
            parameters=outcome.parameters,
            seconds=outcome.seconds,
            message=outcome.message,
        )
        self._record.writer.finish_trial(trial.number, result)
        self.ended.add(trial.number)
        own = self._of[trial.number]
        own.outcomes[trial.number] = outcome
        if not own.over and len(own.outcomes) == len(own.trainings):
            own.over = True
            self._complete(own)

    def _guard(self, action: Callable[..., None], *arguments: Any) -> None:
        # What goes wrong here is no fault of the pack that is training: it must not be trained again for it.
        try:
            action(*arguments)
        except Exception as error:
            self.raised = error
            raise
