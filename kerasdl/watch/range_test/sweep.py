"""Raises the learning rate batch by batch while `fit` trains, and keeps the losses."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.errors import UserError


class Rising(keras.optimizers.schedules.LearningRateSchedule):
    """Stands in for an optimizer's own schedule while a test runs.

    Args:
        rates: The learning rates, rising by the same factor.
        begin: The optimizer's iteration at the test's first batch.
    """

    def __init__(self, rates: np.ndarray, begin: int) -> None:
        super().__init__()
        self._first, self._growth, self._begin = float(rates[0]), math.log(rates[1] / rates[0]), begin

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of an iteration."""
        return self._first * ops.exp(ops.cast(step - self._begin, "float32") * self._growth)


class Sweep(keras.callbacks.Callback):
    """Trains each batch with its own learning rate.

    Args:
        rates: The learning rate of each batch, rising by the same factor.
        smoothing: How much of the moving average each loss leaves as it is.
        stop_factor: The test ends when the smoothed loss is this many times its least value.
    """

    def __init__(self, rates: np.ndarray, smoothing: float, stop_factor: float) -> None:
        super().__init__()
        self._planned, self._smoothing, self._stop_factor = rates, smoothing, stop_factor
        self.rates: list[float] = []
        self.losses: list[float] = []
        self.smoothed: list[float] = []
        self.ending = ""
        self._average = 0.0
        self._least = math.inf
        self._seen_before = 0

    def prepare(self, model: keras.Model) -> None:
        """Makes the learning rate settable and the batches single, before `fit`."""
        optimizer = model.optimizer
        own_schedule = not isinstance(optimizer.learning_rate, keras.Variable)
        if own_schedule:
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            begin = int(ops.convert_to_numpy(inner._iterations.value))
            optimizer.learning_rate = Rising(self._planned, begin)
        if own_schedule or model.steps_per_execution != 1:
            model.steps_per_execution = 1
            # The compiled step has the schedule and the number of steps inside.
            model.train_function = None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Sets the learning rate, and has the loss that comes be that of this batch alone."""
        # Asking for the model is what makes JAX' trainer put its state there and take it from there again.
        model = self.model
        if isinstance(model.optimizer.learning_rate, keras.Variable):
            model.optimizer.learning_rate = float(self._planned[len(self.losses)])
        self._rate = float(ops.convert_to_numpy(model.optimizer.learning_rate))
        model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keeps the loss, and ends training where the test ends."""
        if not logs or "loss" not in logs:
            raise UserError("the model's train_step returns no 'loss'; the range test needs one for each batch")
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            self._end(f"ended at {self._rate:.2e}: the loss was not finite")
            return
        self._average = self._smoothing * self._average + (1 - self._smoothing) * loss
        smoothed = self._average / (1 - self._smoothing ** (len(self.losses) + 1))
        self.rates.append(self._rate)
        self.losses.append(loss)
        self.smoothed.append(smoothed)
        self._least = min(self._least, smoothed)
        # Four times a loss; for one below zero as far above it as that would be.
        if smoothed > self._least + (self._stop_factor - 1) * abs(self._least):
            self._end(f"ended at {self._rate:.2e}: the loss diverged")
        elif len(self.losses) == len(self._planned):
            self._end(f"reached the highest learning rate, {self._rate:.2e}")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Ends training where the data give no more batches."""
        if len(self.losses) == self._seen_before:
            self.model.stop_training = True
        self._seen_before = len(self.losses)

    def _end(self, why: str) -> None:
        self.ending = why
        self.model.stop_training = True
