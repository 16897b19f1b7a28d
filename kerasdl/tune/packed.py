"""A tuner of KerasTuner whose trials run as packs."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial as TunerTrial

from kerasdl.errors import UserError
from kerasdl.runs import Run
from kerasdl.runs.ranking import rank
from kerasdl.train.backends import set_seed
from kerasdl.train.trial import first_line
from kerasdl.tune.fit_arguments import FitArguments, NotPackable, read_arguments
from kerasdl.tune.obstacles import in_parallel, obstacle
from kerasdl.tune.oracles import DIVERGED, is_remote, resumable, save_state
from kerasdl.tune.record import NAME, Finished, Record, finished
from kerasdl.tune.sitting import Sitting

if TYPE_CHECKING:
    import pandas as pd


class PackedTuner(keras_tuner.Tuner):
    """Runs trials as packs where it can, and as KerasTuner does where it cannot.

    Args:
        oracle: What proposes hyperparameters.
        hypermodel: See `keras_tuner.Tuner`.
        pack: How many trials are asked from the oracle at once: 32 for grid and random search, which learn nothing from
            scores, 8 for others.
        **kwargs: Those of `keras_tuner.Tuner`.
    """

    def __init__(
        self, oracle: keras_tuner.Oracle, hypermodel: Any = None, *, pack: int | None = None, **kwargs: Any
    ) -> None:
        if pack is not None and pack < 1:
            raise ValueError(f"`pack` must be at least 1; received {pack}")
        adaptive = not isinstance(oracle, keras_tuner.oracles.GridSearchOracle | keras_tuner.oracles.RandomSearchOracle)
        self.pack = pack or (8 if adaptive else 32)
        self._record: Record | None = None
        # Of the model that was built last; Keras counts them once it knows the shapes.
        self._parameters: int | None = None
        # Why trials run alone: all of them, and single ones by their id.
        self._reason = ""
        self._reasons: dict[str, str] = {}
        super().__init__(resumable(oracle), hypermodel, **kwargs)

    def search(self, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Searches for the best hyperparameters; see `keras_tuner.Tuner.search`.

        Args:
            *fit_args: Positional arguments of `keras.Model.fit`.
            **fit_kwargs: Its keyword arguments. With arrays as `x`, `y` and `validation_data`, and none that need
                Keras' own `fit` (`shuffle`, `steps_per_epoch`, callbacks but for `EarlyStopping` and
                `TerminateOnNaN`, ...), trials run as packs.
        """
        if in_parallel() or is_remote(self.project_dir):
            super().search(*fit_args, **fit_kwargs)
            return
        facts = {"name": self.project_name, "search": type(self).__name__, "repeats": self.executions_per_trial}
        with Record(Path(self.project_dir), facts, self.oracle.objective, self.oracle.seed) as self._record:
            self.save()
            try:
                request = self._request(fit_args, fit_kwargs)
                if request is None:
                    super().search(*fit_args, **fit_kwargs)
                else:
                    self._search_in_packs(request, fit_args, fit_kwargs)
                self._record.finish(len(self.oracle.end_order))
            finally:
                self._record = None

    def _request(self, fit_args: Sequence[Any], fit_kwargs: dict[str, Any]) -> FitArguments | None:
        assert self._record is not None
        try:
            reason = obstacle(self)
            if reason is not None:
                raise NotPackable(reason)
            request = read_arguments(fit_args, fit_kwargs)
        except NotPackable as why:
            self._reason = f"alone, by KerasTuner on {keras.backend.backend()}: {why}"
            self._record.writer.record_event("alone", f"trials run one by one: {why}")
            return None
        self._reason = "not trained: its model could not be built"
        self._record.writer.record_fact("data", request.dataset.facts())
        return request

    def _search_in_packs(self, request: FitArguments, fit_args: Sequence[Any], fit_kwargs: dict[str, Any]) -> None:
        assert self._record is not None
        if "verbose" in fit_kwargs:
            self.oracle.verbose = fit_kwargs["verbose"]
        self.on_search_begin()
        while True:
            sitting = Sitting(self, self._record, request)
            asked = False
            for trial in self._ask():
                asked = True
                self.on_trial_begin(trial)
                sitting.take(trial)
            if not asked:
                break
            for trial, reason in sitting.run():
                self._reasons[trial.trial_id] = f"alone, by KerasTuner on {keras.backend.backend()}: {reason}"
                self._try_run_and_update_trial(trial, *fit_args, **fit_kwargs)
                self.on_trial_end(trial)
        self.on_search_end()

    def _ask(self) -> Iterator[TunerTrial]:
        """Asks the oracle for trials one by one, as that many workers of KerasTuner's parallel mode would."""
        given = 0
        while given < self.pack:
            self.pre_create_trial()
            trial = self.oracle.create_trial(f"{self.tuner_id}-{given}")
            if trial.status == "RUNNING":
                given += 1
                yield trial
            elif trial.status == "STOPPED" or given:
                return

    def build_for_pack(self, trial: TunerTrial) -> keras.Model:
        """Builds a trial's model as KerasTuner does, without a garbage collection for each.

        Raises:
            FailedTrialError: The model is larger than `max_model_size`.
            FatalTypeError: The hypermodel gave no model.
        """
        keras.utils.clear_session(free_memory=False)
        model = self._build_hypermodel(trial.hyperparameters)
        if not isinstance(model, keras.Model):
            kind = type(model).__name__
            raise keras_tuner.errors.FatalTypeError(f"the hypermodel's build gave {kind}, not a keras.Model")
        size = _parameters(model)
        if self.max_model_size and size and size > self.max_model_size:
            raise keras_tuner.errors.FailedTrialError(f"Oversized model: {size} parameters. Skip model.")
        return model

    def _try_build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = super()._try_build(hp)
        self._parameters = _parameters(model)
        return model

    def _build_and_fit_model(self, trial: TunerTrial, *args: Any, **kwargs: Any) -> Any:
        if self._record is None:
            return super()._build_and_fit_model(trial, *args, **kwargs)
        number = self.number_of(trial)
        seed = self.seed_of(trial, self._record.pending(number))
        set_seed(seed)
        started = time.perf_counter()
        try:
            results = super()._build_and_fit_model(trial, *args, **kwargs)
            ended = finished(seed, results, self.oracle.objective)
        except Exception as error:
            seconds = time.perf_counter() - started
            self._record.keep(number, Finished(seed, "failed", seconds=seconds, message=first_line(error)))
            raise
        seconds = time.perf_counter() - started
        self._record.keep(number, replace(ended, seconds=seconds, parameters=self._parameters))
        return results

    def on_trial_end(self, trial: TunerTrial) -> None:
        """Ends a trial; see `keras_tuner.Tuner.on_trial_end`."""
        if self._record is not None:
            number = self.number_of(trial)
            unscored = self._record.unscored(number)
            if trial.status == "COMPLETED" and unscored is not None:
                trial.status, trial.message = "INVALID", f"{DIVERGED}{unscored}"
            how = self._reasons.pop(trial.trial_id, self._reason)
            self._record.end(number, trial.hyperparameters.values, how, self._as_finished(trial))
        super().on_trial_end(trial)

    def _as_finished(self, trial: TunerTrial) -> Finished:
        metrics, name = self.oracle.get_trial(trial.trial_id).metrics, self.oracle.objective.name
        seed = self.seed_of(trial, 0)
        if trial.status != "COMPLETED" or not metrics.exists(name):
            lines = (trial.message or "no message").strip().splitlines()
            status = "diverged" if lines[0].startswith(DIVERGED) else "failed"
            return Finished(seed, status, message=lines[-1])
        score = metrics.get_last_value(name)
        return Finished(seed, "completed" if np.isfinite(score) else "diverged", score)

    def number_of(self, trial: TunerTrial) -> int:
        """Returns where a trial stands in the order of their beginning, the number of its configuration in the run."""
        return int(self.oracle.start_order.index(trial.trial_id))

    def seed_of(self, trial: TunerTrial, execution: int) -> int:
        """Returns the seed of an execution: trials share it, a retry of a trial takes another."""
        return int(self.oracle.seed + execution + self.executions_per_trial * self.oracle._run_times[trial.trial_id])

    def save(self) -> None:
        """Saves the tuner; see `keras_tuner.Tuner.save`."""
        if is_remote(str(self.directory)):
            super().save()
            return
        if not self._is_worker():
            self.oracle.save()
        save_state(Path(self._get_tuner_fname()), self.get_state())

    @property
    def run(self) -> Run:
        """What happened: each execution of each trial, to read; close it or use it as a context manager.

        Raises:
            UserError: Nothing was recorded.
        """
        path = Path(self.project_dir) / NAME
        if not path.is_dir():
            raise UserError(
                f"{self.project_dir}: no execution is recorded: search has not begun, or it ran with KerasTuner's "
                f"chief and workers, which record trials alone; results_summary() shows them"
            )
        return Run.open(path)

    def results(self) -> "pd.DataFrame":
        """Sums the executions of each trial up.

        As in KerasTuner, an execution that diverged counts with the score that it had before; so the ranking is that of
        the oracle. A trial that was tried again counts with its last try.

        Returns:
            One row a trial, the best first: `trial_id`, the columns of `kerasdl.runs.Run.table` (what varies, `mean`,
            `std`, `low` and `high` of the scores, how many executions completed, ...) and `scores`, those of its
            executions in order.
        """
        with self.run as run:
            rows, varying, direction = run.trials(), run.varying, run.objective[1]
        tries = (rows["seed"] - self.oracle.seed) // self.executions_per_trial
        rows = rows[tries == tries.groupby(rows["configuration"]).transform("max")]
        scored = rows.assign(status=rows["status"].where(rows["score"].isna(), "completed"))
        table = rank(scored, varying, direction)
        groups = dict(iter(rows.groupby("configuration")))
        for status in ("completed", "diverged", "failed"):
            table[status] = [int((groups[number]["status"] == status).sum()) for number in table["configuration"]]
        table["scores"] = [groups[number]["score"].to_list() for number in table["configuration"]]
        table.insert(1, "trial_id", [self.oracle.start_order[number] for number in table["configuration"]])
        return table


def _parameters(model: keras.Model) -> int | None:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) if model.built else None
