"""Writes what trials tell while they train into the run, and shows it."""

from collections.abc import Mapping, Sequence

from kerasdl.runs import RunWriter, TrialResult
from kerasdl.train import Outcome, Trial
from kerasdl.train.trial import Logs
from kerasdl.tune.interruption import Interruption
from kerasdl.tune.progress import Progress
from kerasdl.tune.tracking import Tracking


class RunRecorder:
    """Writes what trials tell while they train into the run, and shows it.

    Args:
        writer: Who writes the run.
        objective: The metric that is a trial's score.
        progress: Who shows how far it is.
        interruption: Tells whether Ctrl-C was pressed.
        tracking: Tells trackers.
    """

    def __init__(
        self, writer: RunWriter, objective: str, progress: Progress, interruption: Interruption, tracking: Tracking
    ) -> None:
        self._writer = writer
        self._objective = objective
        self._progress = progress
        self._interruption = interruption
        self._tracking = tracking
        self.ended: set[int] = set()

    def started(self, trials: Sequence[Trial], how: str, after_epoch: int = 0) -> None:
        """Marks trials as running."""
        rows = [(trial.number, trial.configuration, trial.seed, how) for trial in trials]
        self._writer.start_trials(rows, after_epoch)
        self._tracking.started(trials)

    def batch(self, done: int, batches: int) -> None:
        """Shows how far an epoch is."""
        self._progress.batch(done, batches)
        self._interruption.check()

    def epoch(self, epoch: int, logs: Mapping[int, Logs], seconds: float, waited: float = 0.0) -> None:
        """Writes an epoch of trials that run together."""
        self._writer.record_epoch(epoch, logs, seconds, waited)
        self._progress.epoch(list(logs))
        self._tracking.epoch(epoch, logs)
        self._interruption.check()

    def finished(self, trial: Trial, outcome: Outcome) -> None:
        """Writes a trial's end."""
        score = outcome.logs.get(self._objective)
        kept = score if outcome.status == "completed" else None
        self._writer.finish_trial(
            trial.number,
            TrialResult(
                outcome.status,
                score=kept,
                test=outcome.test,
                parameters=outcome.parameters,
                seconds=outcome.seconds,
                message=outcome.message,
                confusion=outcome.confusion,
                answers=outcome.answers,
                weights=outcome.weights,
            ),
        )
        self.ended.add(trial.number)
        self._tracking.finished(trial, outcome, kept)
        self._progress.ended(trial.number, outcome.status, score)
