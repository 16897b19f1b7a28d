"""Trains one trial by Keras' own `fit`."""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.train.backends import current_backend
from kerasdl.train.batches import FetchedBatches, OrderedBatches, SequentialBatches
from kerasdl.train.building import build
from kerasdl.train.checkpoint import Checkpoint, Checkpoints
from kerasdl.train.data_parallel import divided
from kerasdl.train.fit_checkpoint import KIND, Standing, WithinEpoch, checkpoint_of, restore
from kerasdl.train.frozen import dataset_of, whole_weights
from kerasdl.train.measuring import FitProbe
from kerasdl.train.scoring import test_scores
from kerasdl.train.seats import Member
from kerasdl.train.trial import BatchTeller, Logs, Outcome, Progress, Recorder, Trial
from kerasdl.train.watching import Names, Watch

# Keras' own size of the batches that it scores.
VALIDATION_BATCH = 32


class _Follow(keras.callbacks.Callback):
    """Tells the recorder of each epoch, keeps checkpoints, and ends training where a trial's rule says so.

    Args:
        member: The trials.
        batches: What they learn from.
        recorder: Who is told.
        finish: Ends a trial.
        checkpoints: Who keeps what a killed trial needs to go on.
        within: Whether checkpoints may lie between two batches.
        probe: Measures the model after each epoch.
    """

    def __init__(
        self,
        member: Member,
        batches: OrderedBatches,
        recorder: Recorder,
        finish: Callable[[Trial, "_Follow", Logs], None],
        checkpoints: Checkpoints | None,
        *,
        within: bool,
        probe: FitProbe,
    ) -> None:
        super().__init__()
        self._probe = probe
        self._member, self._batches, self._recorder, self._finish = member, batches, recorder, finish
        self._checkpoints, self._within = checkpoints, within
        self._number = member.longest.number
        self.progress = Progress(member.longest.early_stopping)
        self.standing = Standing()
        self.stopped = False
        self._resumed: WithinEpoch | None = None
        self._tell = BatchTeller(recorder)
        self._started = 0.0
        # What of the epoch was trained before this process.
        self._before = Standing()

    def resume(self, found: Checkpoint, model: keras.Model) -> None:
        """Goes on after a checkpoint."""
        self.standing, within = restore(found, model, self._batches[0], self.progress)
        if self.standing.batch:
            self._before, self._resumed = self.standing, within
        self._batches.begin(self.standing.epoch + 1, self.standing.batch)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self._resumed is None:
            self._before = Standing(epoch, seconds=self.standing.seconds)
        else:
            self._resumed.restore_metrics(self.model)
        # Keras calls the data set's own hooks at times of its own, such as while it builds a model.
        self._batches.begin(epoch + 1, self._before.batch)
        self._started = time.perf_counter()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        # Only now: Keras' own loaders draw from the same generator when an epoch begins.
        if batch == 0 and self._resumed is None:
            current_backend().begin_epoch(self._member.longest.seed, self._before.epoch + 1)
        elif batch == 0 and self._resumed is not None:
            self._resumed.restore_drawn()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        done = self._before.batch + batch + 1
        self._tell(done, self._batches.count)
        within = self._within and done < self._batches.count
        if within and self._checkpoints is not None and self._checkpoints.due(self._number):
            current_backend().settle(self.model)
            self._keep(self._stands(done), self._checkpoints)

    def _stands(self, batch: int) -> Standing:
        """Returns how far training is after so many batches of the epoch that runs."""
        before = self._before
        elapsed = before.elapsed + time.perf_counter() - self._started
        return Standing(before.epoch, batch, before.seconds, elapsed, before.waited + self._batches.waited)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        own = {name: float(value) for name, value in (logs or {}).items()}
        stands = self._stands(0)
        self.standing = Standing(epoch + 1, seconds=stands.seconds + stands.elapsed)
        self._resumed = None
        running = [trial for trial in self._member.trials if trial.epochs > epoch]
        self.stopped = self.progress.update(epoch + 1, own, self.model.get_weights)
        self._recorder.epoch(epoch + 1, {trial.number: own for trial in running}, stands.elapsed, stands.waited)
        self._probe(self.model, epoch + 1)
        for trial in running:
            if self.stopped or trial.epochs == epoch + 1:
                self._finish(trial, self, own)
        self.model.stop_training = self.stopped
        goes_on = not self.stopped and epoch + 1 < self._member.longest.epochs
        if goes_on and self._checkpoints is not None and self._checkpoints.due_after(epoch + 1, self._number):
            self._keep(self.standing, self._checkpoints)

    def _keep(self, standing: Standing, checkpoints: Checkpoints) -> None:
        checkpoints.save(self._number, checkpoint_of(self._number, standing, self.model, self.progress))


def train_alone(
    member: Member,
    dataset: Dataset,
    recorder: Recorder,
    how: str,
    checkpoints: Checkpoints | None = None,
    watch: Watch | None = None,
) -> None:
    """Trains the trials of one member by `fit`, with the batches a pack would take.

    Args:
        member: The trials; the longest is trained, the others end on its way.
        dataset: What to learn from.
        recorder: Who is told of each epoch and each end.
        how: A sentence on why they run alone.
        checkpoints: Who keeps what a killed trial needs to go on.
        watch: What is to be seen of each step.
    """
    with divided(member.longest.data_parallel):
        _train(member, dataset, recorder, how, checkpoints, watch)


def _train(
    member: Member,
    dataset: Dataset,
    recorder: Recorder,
    how: str,
    checkpoints: Checkpoints | None,
    watch: Watch | None,
) -> None:
    longest = member.longest
    model = build(longest)
    dataset = dataset_of(model, dataset)
    ordered = OrderedBatches(dataset.train, longest.seed, longest.batch_size)
    held = SequentialBatches(dataset.validation, VALIDATION_BATCH) if dataset.mapped else None
    # What is watched is told an epoch at a time, and a fit of one's own is called once.
    within = watch is None and type(model).fit is keras.Model.fit

    def finish(trial: Trial, follow: _Follow, logs: Logs) -> None:
        recorder.finished(trial, _outcome(follow.model, dataset, follow, logs))

    def tell(epoch: int, names: Names, rows: np.ndarray) -> None:
        assert watch is not None
        watch.tell(epoch, names, {trial.number: rows for trial in member.trials if trial.epochs >= epoch})

    with ordered, held or nullcontext(), current_backend().quick_layers():
        probe = FitProbe(member.trials, model, dataset, watch)
        make = functools.partial(_Follow, member, ordered, recorder, finish, checkpoints, within=within, probe=probe)
        follow = make()
        found = None
        if checkpoints is not None:
            checkpoints.begin(longest.number)
            found = checkpoints.find([longest.number], KIND)
        if found is not None:
            try:
                follow.resume(found, model)
            except ValueError:
                # A checkpoint of what the builder gives no longer: its trials start anew.
                model, follow = build(longest), make()
        recorder.started(member.trials, how, follow.standing.epoch)
        if not follow.standing.epoch:
            probe(model, 0)
        watching = [] if watch is None else watch.callbacks(tell)
        _fit(model, ordered, _validation(dataset, held), longest.epochs, follow, [*watching, follow])
    if checkpoints is not None:
        checkpoints.discard(longest.number)


def _validation(dataset: Dataset, held: FetchedBatches | None) -> Any:
    if not len(dataset.validation):
        return None
    # Some backends copy arrays as a whole.
    return dataset.validation.arrays if held is None else held


def _fit(
    model: keras.Model,
    ordered: OrderedBatches,
    validation: Any,
    epochs: int,
    follow: _Follow,
    callbacks: Sequence[keras.callbacks.Callback],
) -> None:
    def fit(last: int) -> None:
        model.fit(
            ordered,
            initial_epoch=follow.standing.epoch,
            epochs=last,
            validation_data=validation,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )

    if follow.standing.batch:
        # `fit` counts on every epoch having as many batches as the first.
        with _unfinished(model.optimizer):
            fit(follow.standing.epoch + 1)
        ordered.begin(follow.standing.epoch + 1)
    if not follow.stopped and follow.standing.epoch < epochs:
        fit(epochs)


@contextmanager
def _unfinished(optimizer: keras.Optimizer) -> Iterator[None]:
    """Keeps `fit` from putting averages in the place of weights at its end: it is not the end of training."""
    name = "finalize_variable_values"
    vars(optimizer)[name] = lambda variables: None
    try:
        yield
    finally:
        del vars(optimizer)[name]


def _outcome(model: keras.Model, dataset: Dataset, follow: _Follow, logs: Logs) -> Outcome:
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    logs, weights = follow.progress.ending(logs, model.get_weights)
    parts: dict[str, Any] = {"logs": logs, "parameters": parameters, "seconds": follow.standing.seconds}
    if follow.progress.diverged:
        return Outcome("diverged", **parts, message=follow.progress.diverged)
    now = model.get_weights()
    scores = test_scores(model, weights, dataset.test)
    model.set_weights(now)
    return Outcome("completed", **parts, weights=whole_weights(model, weights), **scores)
