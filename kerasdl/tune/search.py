"""Runs a study: asks for configurations, trains them, writes what happens, ends with a report and a model."""

import functools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdl.data import Dataset
from kerasdl.errors import UserError
from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.best import best_trial
from kerasdl.train import Outcome, Trial
from kerasdl.train.alone import train_alone
from kerasdl.train.backends import current_backend
from kerasdl.train.pack import PackTrainer
from kerasdl.train.seats import Member
from kerasdl.train.trial import first_line
from kerasdl.tune.baselines import train_baselines
from kerasdl.tune.computed import check_computed
from kerasdl.tune.conclude import conclude
from kerasdl.tune.environment import describe
from kerasdl.tune.interruption import Interruption
from kerasdl.tune.keeping import checkpoints
from kerasdl.tune.looking import drop_answers, keep_truth
from kerasdl.tune.planner import Pack
from kerasdl.tune.progress import Progress
from kerasdl.tune.proposals import Proposals
from kerasdl.tune.recorder import RunRecorder
from kerasdl.tune.refine import narrowed, varied
from kerasdl.tune.regions import Regions
from kerasdl.tune.retrain import lengths, retrain
from kerasdl.tune.side_by_side import SideBySide, Turn
from kerasdl.tune.space import Dimension, Range
from kerasdl.tune.study import Study
from kerasdl.tune.tracking import Tracking
from kerasdl.tune.trials import TrialMaker
from kerasdl.tune.watching import trial_watch

# Epochs of a program, where seconds are compared, before the next is compiled beside it. The first may compile.
UNDISTURBED = 4


def run_study(
    study: Study,
    directory: Path,
    trackers: Sequence[str],
    *,
    progress: bool,
    fresh: bool,
    export: bool,
    memory: int | None = None,
    checkpoint: float | None = None,
) -> Run:
    """Runs a study on the backend that Keras runs on; see `Study.run`."""
    with Progress(study, enabled=progress) as shown, Interruption() as interruption:
        shown.say("loading data")
        dataset = study.load_data()
        identity = {"backend": keras.backend.backend(), "data": dataset.fingerprint}
        with RunWriter(directory, study.frozen(identity), fresh=fresh) as writer, Run.open(directory) as read:
            if writer.moved is not None:
                shown.note(f"the run that was there is now in {writer.moved}")
            with Tracking(trackers, study.name, writer, read, shown) as tracking:
                search = Search(study, dataset, writer, read, shown, interruption, tracking, memory, checkpoint)
                search.run()
            conclude(writer, read, search.maker, dataset, shown, export=export)
    return Run.open(directory)


class Search:
    """One sitting of a run.

    Args:
        study: What to answer.
        dataset: What to learn from.
        writer: Who writes the run.
        read: The same run, to read.
        progress: Who shows how far it is.
        interruption: Tells whether Ctrl-C was pressed.
        tracking: Tells trackers.
        memory: Bytes that a pack may use; half of what is free where absent.
        checkpoint: The least time between two checkpoints of a pack, in seconds; what the study says where absent.
    """

    def __init__(
        self,
        study: Study,
        dataset: Dataset,
        writer: RunWriter,
        read: Run,
        progress: Progress,
        interruption: Interruption,
        tracking: Tracking,
        memory: int | None = None,
        checkpoint: float | None = None,
    ) -> None:
        self._interruption = interruption
        self._tracking = tracking
        self._memory = memory
        self._study = study
        self._dataset = dataset
        self._writer = writer
        self._progress = progress
        self._watch = trial_watch(study.watch, writer)
        self.maker = TrialMaker(study, dataset, self._watch)
        self._read = read
        self._regions = Regions(writer, read, self.maker, dataset)
        self._before = self._read.seconds
        self._started = time.perf_counter()
        self._asked: set[int] = set()
        self._checkpoints = checkpoints(study.checkpoint, checkpoint, writer.directory)

    def run(self) -> None:
        """Tries every configuration that the oracle proposes, going on where an earlier sitting stopped."""
        self._record_facts()
        if self._read.finished:
            return
        self._writer.record_event("start", f"on {self._read.environment['device']} with {keras.backend.backend()}")
        self._train_baselines()
        recorded = self._read.rounds()
        number = 0
        for proposals in self._searches():
            while proposed := proposals.ask():
                settings = {key: self._study.settings(values) for key, values in proposed.items()}
                self._asked.update(settings)
                self._tracking.configurations(proposed)
                if number in recorded:
                    self._check_same_round(number, settings)
                else:
                    self._writer.add_configurations(number, settings)
                if number == 0:
                    first = self.maker.trial(0, 0, self._study.seed, next(iter(settings.values())))
                    check_computed(self._study, first, self.maker.dataset_of(first))
                self._train_round(settings, proposals)
                proposals.tell(self._scores(settings))
                number += 1
        if number == 0:
            raise UserError("space: the search found no configuration to try; widen the space or its conditions")
        self._tracking.conclude()
        self._checkpoints.clear()
        self._retrain()
        self._record_seconds()

    def _train_baselines(self) -> None:
        dataset = self.maker.first_dataset
        study = self._study
        train_baselines(study.baselines, dataset, study.seed, self._writer, self._read, self._progress)

    def _searches(self) -> Iterator[Proposals]:
        """Gives the study's search, and then those that look closer to the best."""
        yield self.maker.proposals()
        space: Mapping[str, Dimension] = self._study.space
        refine = self._study.refine
        if refine is None:
            return
        for _ in range(refine.rounds):
            best = self._best(1)
            if not best:
                return
            space = narrowed(space, varied(next(iter(best.values())), space), refine.share, refine.settings)
            if not any(isinstance(one, Range) for one in space.values()):
                return
            yield self.maker.closer_proposals({**space}, refine.trials, first=len(self._asked))

    def _best(self, count: int) -> dict[int, dict[str, Any]]:
        """Returns every setting of the best configurations asked for so far by their number, the best first."""
        table = self._read.standing()
        ranked = table[table["mean"].notna() & table["configuration"].isin(self._asked)]["configuration"].head(count)
        settings = self._read.configurations()
        return {int(number): settings[int(number)] for number in ranked}

    def _retrain(self) -> None:
        """Trains the best once more on all rows that may be learned from."""
        if self._study.refine is None or not self._study.refine.retrain:
            return
        best = self._best(self._study.refine.retrain)
        self._progress.say(f"training the best {len(best)} on training and validation rows")
        results = retrain(self._study, self._dataset, best, lengths(self._read, best), self._memory)
        self._writer.record_fact("retrained", {"configurations": results})

    def _record_facts(self) -> None:
        writer, goal = self._writer, self._study.goal
        writer.record_fact("objective", {"name": goal.name, "direction": goal.direction})
        writer.record_fact("data", self.maker.first_dataset.facts())
        writer.record_fact("environment", describe())
        keep_truth(writer, self._dataset)
        if len(self._dataset.test):
            writer.record_array("sample", self._dataset.scaling.invert(self._dataset.test.x[:64]))

    def _check_same_round(self, number: int, settings: Mapping[int, Mapping[str, Any]]) -> None:
        held = self._read.configurations()
        for key, values in settings.items():
            if held.get(key) != dict(values):
                raise UserError(
                    f"{self._writer.directory}: round {number} of the search holds other configurations than the "
                    f"oracle proposes now (another version of KerasTuner?); choose another directory with --out, "
                    f"or --fresh"
                )

    def _train_round(self, settings: Mapping[int, Mapping[str, Any]], proposals: Proposals) -> None:
        done = set(self._ended())
        trials = self.maker.trials(settings)
        self._progress.round(trials, done, self._planned(len(settings), proposals))
        todo = [trial for trial in trials if trial.number not in done]
        recorder = RunRecorder(self._writer, self._study.goal.name, self._progress, self._interruption, self._tracking)
        make = functools.partial(self._trainer, recorder)
        packs = self._planned_packs(todo)
        width, undisturbed = current_backend().packs_at_once(), 0
        if self._compares_seconds:
            width, undisturbed = 1, UNDISTURBED
        for turn in SideBySide(packs, make, self._record_programs, width, undisturbed).turns():
            if not turn.trained:
                self._train_alone(turn, recorder)
            self._regions.keep(trial.number for trial in turn.pack.trials)
            self._keep_weights()
            drop_answers(self._writer, self._read, self._study.repeats)
            self._record_seconds()

    def _planned(self, configurations: int, proposals: Proposals) -> int | None:
        planned = proposals.planned if proposals.adaptive else configurations
        refine = self._study.refine
        if planned is not None and refine is not None:
            planned = max(planned, len(self._asked))
        trials = None if planned is None else planned * self._study.repeats
        self._writer.record_fact("planned", {"trials": trials})
        return trials

    def _ended(self) -> list[int]:
        trials = self._read.scores()
        return [int(number) for number in trials.loc[trials["status"] != "running", "trial"]]

    def _planned_packs(self, trials: Sequence[Trial]) -> list[Pack]:
        self._progress.say("planning")
        blueprints, errors = self.maker.blueprints(trials)
        for trial in trials:
            if trial.configuration in errors:
                self._fail([trial], errors[trial.configuration], "not trained: its model could not be built")
        return self.maker.packs(trials, blueprints, self._memory)

    def _train_alone(self, turn: Turn, recorder: RunRecorder) -> None:
        """Lets Keras' `fit` train what is left of a pack."""
        pack, how = turn.pack, turn.pack.how
        if turn.error is not None:
            error = _error_line(turn.error)
            how = f"alone, by Keras' fit on {keras.backend.backend()}: as one program it failed with {error}"
        dataset = self.maker.dataset_of(pack.trials[0])
        for member in pack.members:
            left = [trial for trial in member.trials if trial.number not in recorder.ended]
            if not left:
                continue
            self._writer.record_programs([[{trial.number: trial.epochs for trial in left}]])
            try:
                train_alone(Member(tuple(left)), dataset, recorder, how, self._checkpoints, self._watch)
            except Exception as error:  # noqa: BLE001 - whatever a user's model raises is a result of the trial
                line = _error_line(error)
                self._fail([trial for trial in left if trial.number not in recorder.ended], line, how)

    def _record_programs(self, pack: Pack, trainer: PackTrainer) -> None:
        self._writer.record_programs(pack.programs(together=trainer.choice.together), trainer.trained)

    @property
    def _compares_seconds(self) -> bool:
        """Whether what an epoch costs is of interest: then nothing else runs in the first ones of a program."""
        return "batch_size" in self._study.space

    def _trainer(self, recorder: RunRecorder, pack: Pack) -> PackTrainer:
        dataset = self.maker.dataset_of(pack.trials[0])
        thorough = self._compares_seconds
        return PackTrainer(
            pack.members, dataset, recorder, pack.timed, self._checkpoints, self._watch, thorough=thorough
        )

    def _fail(self, trials: Sequence[Trial], error: str, how: str) -> None:
        self._writer.start_trials([(trial.number, trial.configuration, trial.seed, how) for trial in trials])
        self._tracking.started(trials)
        for trial in trials:
            self._writer.finish_trial(trial.number, TrialResult("failed", message=error))
            self._progress.ended(trial.number, "failed", None)
            self._tracking.finished(trial, Outcome("failed", message=error), None)

    def _scores(self, settings: Mapping[int, Any]) -> dict[int, float | None]:
        table = self._read.standing()
        means = dict(zip(table["configuration"], table["mean"], strict=True))
        return {number: float(means[number]) if math.isfinite(means[number]) else None for number in settings}

    def _record_seconds(self) -> None:
        seconds = self._before + time.perf_counter() - self._started
        self._writer.record_fact("seconds", {"search": seconds})

    def _keep_weights(self) -> None:
        """Keeps the weights of what may still win: configurations with repeats to come, and the best so far."""
        table, trials = self._read.standing(), self._read.scores()
        whole = table[table["completed"] + table["diverged"] + table["failed"] >= self._study.repeats]
        beaten = trials["configuration"].isin(whole["configuration"].iloc[1:])
        kept = trials[(trials["status"] == "completed") & ~beaten]
        if 0 in whole.index and math.isfinite(whole["mean"].iloc[0]):
            first = int(whole["configuration"].iloc[0])
            best = best_trial(trials, first, self._study.goal.direction)
            kept = kept[(kept["configuration"] != first) | (kept["trial"] == best)]
        self._writer.keep_weights([int(number) for number in kept["trial"]])


def _error_line(error: Exception) -> str:
    """Returns an error as a line, or raises it where it is the user's to mend or the whole run's."""
    if isinstance(error, UserError | MemoryError):
        raise error
    return first_line(error)
