"""Trains one trial by Keras' own `fit`."""

import time
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.train.backends import current_backend
from kerasdl.train.batches import OrderedBatches, SequentialBatches
from kerasdl.train.building import build
from kerasdl.train.checkpoint import Checkpoint, Checkpoints
from kerasdl.train.frozen import dataset_of, whole_weights
from kerasdl.train.member import values
from kerasdl.train.scoring import test_scores
from kerasdl.train.seats import Member
from kerasdl.train.trial import Logs, Outcome, Progress, Recorder, Trial
from kerasdl.train.watching import Names, Watch

# Keras' own size of the batches that it scores.
VALIDATION_BATCH = 32


class _Follow(keras.callbacks.Callback):
    """Tells the recorder of each epoch, and ends training where a trial's rule says so."""

    def __init__(
        self, member: Member, batches: OrderedBatches, recorder: Recorder, finish: Any, checkpoints: Checkpoints | None
    ) -> None:
        super().__init__()
        self._member, self._batches, self._recorder, self._finish = member, batches, recorder, finish
        self._checkpoints = checkpoints
        self.progress = Progress(member.longest.early_stopping)
        self.seconds = 0.0
        self._started = 0.0
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._started = time.perf_counter()
        # Keras calls the data set's own hooks at times of its own, such as while it builds a model.
        self._batches.begin(epoch + 1)
        self._epoch = epoch + 1

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        # Only now: Keras' own loaders draw from the same generator when an epoch begins.
        if batch == 0:
            current_backend().begin_epoch(self._member.longest.seed, self._epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        own = {name: float(value) for name, value in (logs or {}).items()}
        seconds = time.perf_counter() - self._started
        self.seconds += seconds
        running = [trial for trial in self._member.trials if trial.epochs > epoch]
        stop = self.progress.update(epoch + 1, own, self.model.get_weights)
        self._recorder.epoch(epoch + 1, {trial.number: own for trial in running}, seconds)
        for trial in running:
            if stop or trial.epochs == epoch + 1:
                self._finish(trial, self, own)
        self.model.stop_training = stop
        if self._checkpoints is not None and self._checkpoints.due and not stop and len(running) > 0:
            self._keep(epoch + 1, self._checkpoints)

    def _keep(self, epoch: int, checkpoints: Checkpoints) -> None:
        number = self._member.longest.number
        arrays = {f"state.{i:05d}": value for i, value in enumerate(values(_changing(self.model)))}
        arrays |= {f"best.{i:05d}": one for i, one in enumerate(self.progress.best_weights or [])}
        facts = {"trials": [number], "seconds": self.seconds, "progress": self.progress.facts()}
        checkpoints.save(number, Checkpoint(epoch, facts, arrays))

    def restore(self, found: Checkpoint, model: keras.Model) -> None:
        """Goes on after a checkpoint."""
        model.optimizer.build(model.trainable_variables)
        state, best = (
            [found.arrays[name] for name in sorted(found.arrays) if name.startswith(prefix)]
            for prefix in ("state.", "best.")
        )
        for variable, value in zip(_changing(model), state, strict=True):
            variable.assign(value)
        self.progress.restore(found.facts["progress"], best or None)
        self.seconds = found.facts["seconds"]


def _changing(model: keras.Model) -> list[keras.Variable]:
    """All variables that change from epoch to epoch, the states of random layers among them; metrics start anew."""
    return [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]


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
    longest = member.longest
    model = build(longest)
    dataset = dataset_of(model, dataset)
    validation = dataset.validation

    def finish(trial: Trial, follow: _Follow, logs: Logs) -> None:
        recorder.finished(trial, _outcome(model, dataset, follow, logs))

    ordered = OrderedBatches(dataset.train, longest.seed, longest.batch_size)
    held = SequentialBatches(validation, VALIDATION_BATCH) if dataset.mapped and len(validation) else None
    follow = _Follow(member, ordered, recorder, finish, checkpoints)
    found = checkpoints.find([longest.number]) if checkpoints else None
    if found is not None:
        follow.restore(found, model)
    trained = found.epoch if found else 0

    def tell(epoch: int, names: Names, rows: np.ndarray) -> None:
        assert watch is not None
        watch.tell(epoch, names, {trial.number: rows for trial in member.trials if trial.epochs >= epoch})

    watching = [] if watch is None else watch.callbacks(tell)
    recorder.started(member.trials, how, trained)
    with ordered, held or nullcontext():
        model.fit(
            ordered,
            initial_epoch=trained,
            epochs=longest.epochs,
            # Some backends copy arrays as a whole.
            validation_data=held or (validation.arrays if len(validation) else None),
            shuffle=False,
            verbose=0,
            callbacks=[*watching, follow],
        )
    if checkpoints is not None:
        checkpoints.discard(longest.number)


def _outcome(model: keras.Model, dataset: Dataset, follow: _Follow, logs: Logs) -> Outcome:
    parameters = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    logs, weights = follow.progress.ending(logs, model.get_weights)
    parts: dict[str, Any] = {"logs": logs, "parameters": parameters, "seconds": follow.seconds}
    if follow.progress.diverged:
        return Outcome("diverged", **parts, message=follow.progress.diverged)
    now = model.get_weights()
    scores = test_scores(model, weights, dataset.test)
    model.set_weights(now)
    return Outcome("completed", **parts, weights=whole_weights(model, weights), **scores)
