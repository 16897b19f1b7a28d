"""Tells trackers what a study's trials tell while they train."""

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kerasdl.runs import Run, RunWriter
from kerasdl.track.finding import study_tracker
from kerasdl.train import Outcome, Trial
from kerasdl.train.trial import Logs
from kerasdl.tune.progress import Progress

if TYPE_CHECKING:
    from kerasdl.track.tracker import Tracker


class Tracking:
    """Tells the trackers of a sitting. Use it as a context manager: leaving it ends what is open as interrupted.

    Args:
        names: Which trackers.
        study: The study's name.
        writer: Who writes the run, and what is wrong with a tracker.
        read: The same run, to read.
        progress: Who shows what is wrong with a tracker.
    """

    def __init__(self, names: Sequence[str], study: str, writer: RunWriter, read: Run, progress: Progress) -> None:
        self._writer, self._read, self._progress = writer, read, progress
        self._settings: dict[int, dict[str, Any]] = {}
        self._trackers: list[Tracker] = []
        self._before: dict[int, dict[int, Logs]] = {}
        # A run that came to its end has nothing to tell.
        if not names or read.finished:
            return
        for name in dict.fromkeys(names):
            tracker = study_tracker(name, writer.directory, study, self._key())
            tracker.tell = self._note
            self._trackers.append(tracker)
        self._before = _broken_off(read)

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(self, *exception: object) -> None:
        for tracker in self._trackers:
            tracker.close()

    def _key(self) -> str:
        """Returns what tells the run from all others, also from one that was moved out of its directory."""
        if not self._read.tracked_as:
            self._writer.record_fact("tracked", {"as": uuid.uuid4().hex[:8]})
        return self._read.tracked_as

    def _note(self, message: str) -> None:
        self._writer.record_event("tracker", message)
        self._progress.note(message)

    def configurations(self, settings: Mapping[int, Mapping[str, Any]]) -> None:
        """Takes the settings that vary, of each configuration by its number."""
        self._settings.update({number: dict(values) for number, values in settings.items()})

    def started(self, trials: Sequence[Trial]) -> None:
        """Trials begin to run, or go on."""
        for tracker in self._trackers:
            for trial in trials:
                settings = {**self._settings.get(trial.configuration, {}), "seed": trial.seed}
                tracker.begin(_name(trial.number), settings, self._before.get(trial.number))

    def epoch(self, epoch: int, logs: Mapping[int, Logs]) -> None:
        """An epoch of trials ended."""
        for tracker in self._trackers:
            for number, metrics in logs.items():
                tracker.epoch(_name(number), epoch, metrics)

    def finished(self, trial: Trial, outcome: Outcome, score: float | None) -> None:
        """A trial ended."""
        scored = {} if score is None else {"score": score}
        metrics = {**scored, **{f"test_{name}": value for name, value in outcome.test.items()}}
        for tracker in self._trackers:
            tracker.end(_name(trial.number), outcome.status, metrics)

    def conclude(self) -> None:
        """The search came to its end."""
        best = self._read.best if self._trackers else None
        if best is None:
            return
        settings = {**self._settings.get(best.configuration, {}), "configuration": best.configuration}
        tests = {f"test_{name}": value for name, value in best.scores["test"].items()}
        for tracker in self._trackers:
            tracker.conclude(settings, {"score": best.scores["mean"], **tests})


def _name(trial: int) -> str:
    return f"trial-{trial:04d}"


def _broken_off(read: Run) -> dict[int, dict[int, Logs]]:
    """Returns the metrics of each epoch of the trials that an earlier sitting did not end."""
    trials = read.trials()
    curves = read.curves()
    if trials.empty or curves.empty:
        return {}
    found: dict[int, dict[int, Logs]] = {}
    for number in trials.loc[trials["status"] == "running", "trial"]:
        own = curves[curves["trial"] == number].set_index("epoch").drop(columns=["trial", "configuration", "seed"])
        # What other trials alone compute is missing in all epochs.
        metrics = own.drop(columns="seconds").dropna(axis="columns", how="all")
        found[int(number)] = {int(epoch): row.to_dict() for epoch, row in metrics.iterrows()}
    return found
