"""Measures between epochs what `fit` trains, as packs measure their members."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.train.backends import current_backend
from kerasdl.train.building import build
from kerasdl.train.member import MemberProgram, State
from kerasdl.train.trial import Trial, first_line
from kerasdl.train.watching import Watch

# On how many batches of training rows is measured.
PROBED_BATCHES = 4


def probed_rows(rows: int, batch_size: int) -> list[slice]:
    """Returns which training rows are measured on, a slice for each batch."""
    size = min(batch_size, rows)
    count = max(1, min(PROBED_BATCHES, rows // size))
    return [slice(number * size, (number + 1) * size) for number in range(count)]


class FitProbe:
    """Measures a model that `fit` trains; where it cannot, it says so once and stays quiet.

    Args:
        trials: Whose model it is; all of them share their epochs.
        model: The model.
        dataset: What they learn from.
        watch: Who measures, and who is told.
    """

    def __init__(self, trials: Sequence[Trial], model: keras.Model, dataset: Dataset, watch: Watch | None) -> None:
        self._trials, self._dataset, self._watch = trials, dataset, watch
        self._backend = current_backend()
        self._measure: Callable[..., Any] | None = None
        if watch is not None:
            self._tried(lambda: self._make(model))

    def __call__(self, model: keras.Model, epoch: int) -> None:
        """Measures after an epoch; 0 is before training."""
        if self._measure is not None:
            self._tried(lambda: self._tell(model, epoch))

    def _make(self, model: keras.Model) -> None:
        assert self._watch is not None
        probe = self._watch.probe(model)
        if probe is None:
            return
        # A model of its own: the one that trains is in the middle of its metrics and random numbers.
        longest = max(self._trials, key=lambda trial: trial.epochs)
        model = build(longest)
        probe = self._watch.probe(model)
        assert probe is not None
        if type(model).train_step is not keras.Model.train_step:
            raise ValueError(f"{type(model).__name__} has a train_step of its own, whose loss may be another")
        if not model.built:
            raise ValueError(f"{type(model).__name__} is built by its first batch")
        split = self._dataset.train
        program = MemberProgram(model, np.asarray(split.x[:2]), np.asarray(split.y[:2]), self._backend)
        self._program, self._probe, self._longest = program, probe, longest
        self._measure = self._backend.compiled(lambda state, batch: probe(program, State(*state), batch), brief=True)

    def _tell(self, model: keras.Model, epoch: int) -> None:
        assert self._watch is not None and self._measure is not None
        self._backend.settle(model)
        found = self._program.initial_state(model)
        found = found._replace(random=self._backend.random_state(self._longest.seed, epoch + 1))
        state = keras.tree.map_structure(keras.ops.convert_to_tensor, tuple(found))
        measured = []
        for rows in probed_rows(len(self._dataset.train), self._longest.batch_size):
            batch = tuple(np.asarray(part[rows]) for part in self._dataset.train.arrays)
            measured.append(self._measure(state, tuple(map(keras.ops.convert_to_tensor, batch))))
        own = np.stack([keras.ops.convert_to_numpy(one) for one in measured])
        lasting = {trial.number: own for trial in self._trials if trial.epochs >= epoch}
        self._watch.tell_measures(epoch, self._probe.names, lasting)

    def _tried(self, action: Callable[[], None]) -> None:
        assert self._watch is not None
        try:
            action()
        except Exception as error:  # noqa: BLE001 - what cannot be measured can still be trained
            self._measure = None
            self._watch.tell_unmeasured([trial.number for trial in self._trials], first_line(error))
