"""Runs a study: asks for configurations, trains them, writes what happens, ends with a report and a model."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdl.data import Dataset
from kerasdl.errors import UserError, nearest
from kerasdl.runs import Run, RunWriter, TrialResult
from kerasdl.runs.writer import load_weights
from kerasdl.train import Trial
from kerasdl.train.alone import train_alone
from kerasdl.train.checkpoint import Checkpoints
from kerasdl.train.pack import Member, PackTrainer, build
from kerasdl.train.trial import first_line
from kerasdl.tune.ahead import made_ahead
from kerasdl.tune.environment import describe
from kerasdl.tune.planner import Pack, plan
from kerasdl.tune.progress import Progress
from kerasdl.tune.recorder import RunRecorder
from kerasdl.tune.study import Study
from kerasdl.tune.trials import TrialMaker


def run_study(
    study: Study,
    directory: Path,
    *,
    progress: bool,
    fresh: bool,
    export: bool,
    memory: int | None = None,
    checkpoint: float = 30.0,
) -> Run:
    """Runs a study on the backend that Keras runs on; see `Study.run`."""
    with Progress(study, enabled=progress) as shown:
        shown.say("loading data")
        dataset = study.load_data()
        identity = {"backend": keras.backend.backend(), "data": dataset.fingerprint}
        with RunWriter(directory, study.frozen(identity), fresh=fresh) as writer, Run.open(directory) as read:
            if writer.moved is not None:
                shown.note(f"the run that was there is now in {writer.moved}")
            search = Search(study, dataset, writer, read, shown, memory, checkpoint)
            search.run()
            search.conclude(export=export)
    return Run.open(directory)


class Search:
    """One sitting of a run.

    Args:
        study: What to answer.
        dataset: What to learn from.
        writer: Who writes the run.
        read: The same run, to read.
        progress: Who shows how far it is.
        memory: Bytes that a pack may use; half of what is free where absent.
        checkpoint: The least time between two checkpoints of a pack, in seconds.
    """

    def __init__(
        self,
        study: Study,
        dataset: Dataset,
        writer: RunWriter,
        read: Run,
        progress: Progress,
        memory: int | None = None,
        checkpoint: float = 30.0,
    ) -> None:
        self._memory = memory
        self._study = study
        self._dataset = dataset
        self._writer = writer
        self._progress = progress
        self._maker = TrialMaker(study, dataset)
        self._proposals = self._maker.proposals()
        self._read = read
        self._before = self._read.seconds
        self._started = time.perf_counter()
        self._winner: keras.Model | None = None
        self._checkpoints = Checkpoints(writer.directory / "checkpoints", checkpoint)

    def run(self) -> None:
        """Tries every configuration that the oracle proposes, going on where an earlier sitting stopped."""
        self._record_facts()
        if self._read.finished:
            return
        self._writer.record_event("start", f"on {self._read.environment['device']} with {keras.backend.backend()}")
        recorded = self._read.rounds()
        number = 0
        while True:
            proposed = self._proposals.ask()
            if not proposed:
                break
            settings = {key: self._study.settings(varied) for key, varied in proposed.items()}
            if number in recorded:
                self._check_same_round(number, settings)
            else:
                self._writer.add_configurations(number, settings)
            if number == 0:
                self._check_objective(next(iter(settings.values())))
            self._train_round(settings)
            self._proposals.tell(self._scores(settings))
            number += 1
        if number == 0:
            raise UserError("space: the search found no configuration to try; widen the space or its conditions")

    def _record_facts(self) -> None:
        writer, goal = self._writer, self._study.goal
        writer.record_fact("objective", {"name": goal.name, "direction": goal.direction})
        writer.record_fact("data", self._dataset.facts())
        writer.record_fact("environment", describe())
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

    def _check_objective(self, settings: Mapping[str, Any]) -> None:
        trial = self._maker.trial(0, 0, self._study.seed, settings)
        try:
            names = _metric_names(build(trial), self._dataset)
        except UserError:
            raise
        except Exception:  # noqa: BLE001 - it fails again as a trial, where it is recorded
            return
        for key, name in (("objective", self._study.goal.name), ("early_stopping.monitor", self._monitored())):
            if name is not None and name not in names:
                raise UserError(f"{key}: {name!r} is not computed; {nearest(name, names)}")

    def _monitored(self) -> str | None:
        return self._study.early_stopping.monitor if self._study.early_stopping else None

    def _train_round(self, settings: Mapping[int, Mapping[str, Any]]) -> None:
        done = set(self._ended())
        trials = self._maker.trials(settings)
        self._progress.round(trials, done, self._planned(len(settings)))
        todo = [trial for trial in trials if trial.number not in done]
        recorder = RunRecorder(self._writer, self._study.goal.name, self._progress)
        for pack, trainer in made_ahead(self._planned_packs(todo), functools.partial(self._trainer, recorder)):
            self._train(pack, trainer, recorder)
            self._keep_weights()
            self._record_seconds()

    def _planned(self, configurations: int) -> int | None:
        planned = self._proposals.planned if self._proposals.adaptive else configurations
        trials = None if planned is None else planned * self._study.repeats
        self._writer.record_fact("planned", {"trials": trials})
        return trials

    def _ended(self) -> list[int]:
        trials = self._read.trials()
        return [int(number) for number in trials.loc[trials["status"] != "running", "trial"]] if len(trials) else []

    def _planned_packs(self, trials: Sequence[Trial]) -> list[Pack]:
        self._progress.say("planning")
        blueprints, errors = self._maker.blueprints(trials)
        for trial in trials:
            if trial.configuration in errors:
                self._fail([trial], errors[trial.configuration], "not trained: its model could not be built")
        return plan([trial for trial in trials if trial.configuration in blueprints], blueprints, self._memory)

    def _train(self, pack: Pack, trainer: Callable[[], PackTrainer], recorder: RunRecorder) -> None:
        if pack.fused:
            error = _error_in(lambda: trainer().run(pack.how))
            if error is None:
                return
            how = f"alone, by Keras' fit on {keras.backend.backend()}: as one program it failed with {error}"
        else:
            how = pack.how
        for member in pack.members:
            left = [trial for trial in member.trials if trial.number not in recorder.ended]
            if not left:
                continue
            member = Member(tuple(left))
            error = _error_in(functools.partial(train_alone, member, self._dataset, recorder, how, self._checkpoints))
            if error is not None:
                self._fail([trial for trial in left if trial.number not in recorder.ended], error, how)

    def _trainer(self, recorder: RunRecorder, pack: Pack) -> PackTrainer:
        return PackTrainer(pack.members, self._dataset, recorder, pack.timed, self._checkpoints)

    def _fail(self, trials: Sequence[Trial], error: str, how: str) -> None:
        self._writer.start_trials([(trial.number, trial.configuration, trial.seed, how) for trial in trials])
        for trial in trials:
            self._writer.finish_trial(trial.number, TrialResult("failed", message=error))
            self._progress.ended(trial.number, "failed", None)

    def _scores(self, settings: Mapping[int, Any]) -> dict[int, float | None]:
        table = self._read.table()
        means = dict(zip(table["configuration"], table["mean"], strict=True))
        return {number: float(means[number]) if math.isfinite(means[number]) else None for number in settings}

    def _record_seconds(self) -> None:
        seconds = self._before + time.perf_counter() - self._started
        self._writer.record_fact("seconds", {"search": seconds})

    def _keep_weights(self) -> None:
        """Keeps the weights of what may still win: configurations with repeats to come, and the best so far."""
        table = self._read.table()
        whole = table[table["completed"] + table["diverged"] + table["failed"] >= self._study.repeats]
        beaten = set(whole["configuration"].iloc[1:]) if len(whole) else set()
        trials = self._read.trials()
        kept = trials[(trials["status"] == "completed") & ~trials["configuration"].isin(beaten)]
        best = self._read.best
        if best is not None and best.configuration not in beaten and best.configuration in set(whole["configuration"]):
            kept = kept[(kept["configuration"] != best.configuration) | (kept["trial"] == best.trial)]
        self._writer.keep_weights([int(number) for number in kept["trial"]])

    def conclude(self, *, export: bool) -> None:
        """Saves the winner, exports it, and writes summary and report."""
        from kerasdl.runs.summary import write_summary

        best = self._read.best
        if not self._read.finished:
            if best is None:
                self._refuse_empty()
            else:
                self._save_best(best.trial, best.settings)
            self._record_seconds()
            self._writer.record_fact("finished", {"trials": len(self._ended())})
            self._writer.record_event("end", "the search came to its end")
        self._writer.keep_weights([])
        if export and best is not None:
            self._export()
        self._progress.say("writing the report")
        self._read.report()
        write_summary(self._read)

    def _refuse_empty(self) -> None:
        trials = self._read.trials()
        failed = trials[trials["status"] == "failed"]
        if len(failed) == len(trials):
            raise UserError(f"every trial failed; the first with {failed['message'].iloc[0]}")
        self._writer.record_event("no winner", "no trial completed: all diverged or failed")

    def _save_best(self, trial: int, settings: Mapping[str, Any]) -> None:
        self._progress.say("saving the winner")
        model = self._maker.model(settings)
        model.set_weights(load_weights(self._writer.directory, trial))
        # Keras warns, when it loads the file, of an optimizer that was saved before it was built.
        model.optimizer.build(model.trainable_variables)
        path = self._writer.directory / "best.keras"
        partial = path.with_name(".best.partial.keras")
        model.save(partial)
        partial.replace(path)
        self._winner = model

    def _export(self) -> None:
        from kerasdl.export import export_run

        self._progress.say("exporting the winner")
        try:
            result = export_run(self._writer.directory, model=self._winner)
        except UserError as error:
            self._writer.record_event("export", f"not exported: {error}")
            self._progress.note(f"not exported: {error}")
            return
        self._writer.record_fact("export", {**result.as_dict(), "path": result.path.name})


def _error_in(action: Callable[[], Any]) -> str | None:
    """Runs an action; returns its error as a line, unless it is the user's to mend or the whole run's."""
    try:
        action()
    except (UserError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever a user's model raises is a result of the trial
        return first_line(error)
    return None


def _metric_names(model: keras.Model, dataset: Dataset) -> list[str]:
    x, y = dataset.train.x[:2], dataset.train.y[:2]
    names = ["loss", *model.compute_metrics(x, keras.ops.convert_to_tensor(y), model(x), None)]
    return [*dict.fromkeys(names), *(f"val_{name}" for name in dict.fromkeys(names) if len(dataset.validation))]
