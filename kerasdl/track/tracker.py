"""What every tracker does: it hears of runs, of their epochs and their ends, from a study or from `fit`."""

import uuid
import warnings
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import keras
import numpy as np

from kerasdl.errors import UserError
from kerasdl.train.trial import Logs, first_line

COMPLETED, DIVERGED, FAILED, INTERRUPTED = "completed", "diverged", "failed", "interrupted"


class Tracker(keras.callbacks.Callback):
    """Tells a tracker of runs, each by its name, as many at a time as train together; one for each `fit` as a callback.

    A tracker that raises is switched off with one line, and training goes on.

    A class for a tracker has `_begin`, `_log`, `_end` and `_conclude`.

    Args:
        name: What `fit` calls its run: one that is there already goes on, and epochs that it holds are not written
            again. Absent, each `fit` is a run of its own.
        hyperparameters: The settings of what `fit` trains, by name.
    """

    def __init__(self, name: str | None, hyperparameters: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.name = name
        self.hyperparameters = dict(hyperparameters or {})
        self.tell: Callable[[str], None] = _warn
        self._off = False
        self._last: dict[str, int] = {}
        self._of_fit = ""

    def begin(self, name: str, hyperparameters: Mapping[str, Any], before: Mapping[int, Logs] | None = None) -> None:
        """Opens a run, or goes on with it.

        Args:
            name: Its name.
            hyperparameters: Its settings.
            before: The metrics of epochs that were trained before, by their number; those that are missing in the run
                are written.
        """
        if name not in self._last:
            self._guarded(self._open, name, hyperparameters, before or {})

    def _open(self, name: str, hyperparameters: Mapping[str, Any], before: Mapping[int, Logs]) -> None:
        self._last[name] = self._begin(name, hyperparameters, max(before, default=0))
        for epoch in sorted(before):
            self._write(name, epoch, before[epoch])

    def epoch(self, name: str, epoch: int, metrics: Logs) -> None:
        """Writes the metrics of an epoch, 1 the first, unless the run holds them."""
        self._guarded(self._write, name, epoch, metrics)

    def _write(self, name: str, epoch: int, metrics: Logs) -> None:
        if epoch > self._last[name]:
            self._log(name, epoch, metrics)
            self._last[name] = epoch

    def end(self, name: str, status: str, metrics: Logs) -> None:
        """Ends a run.

        Args:
            name: Its name.
            status: `"completed"`, `"diverged"`, `"failed"` or `"interrupted"`.
            metrics: What is known at its end alone, such as metrics on test rows.
        """
        if name in self._last:
            self._guarded(self._end, name, status, self._last.pop(name), metrics)

    def conclude(self, hyperparameters: Mapping[str, Any], metrics: Logs) -> None:
        """Writes which settings a search found best, and how they did."""
        self._guarded(self._conclude, hyperparameters, metrics)

    def close(self) -> None:
        """Ends the runs that are open as interrupted."""
        for name in list(self._last):
            self.end(name, INTERRUPTED, {})

    def _guarded(self, action: Callable[..., None], *arguments: Any) -> None:
        if self._off:
            return
        try:
            action(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, training is worth more
            self._off = True
            line = str(error) if isinstance(error, UserError) else first_line(error)
            self.tell(f"{type(self).__name__} is switched off, and training goes on: {line}")

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Opens the run of a `fit`."""
        self._of_fit = self.name or f"{datetime.now():%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:4]}"
        self.begin(self._of_fit, self.hyperparameters)
        held = self._last.get(self._of_fit, 0)
        if held:
            self.tell(f"{type(self).__name__}: run {self.name!r} holds epochs up to {held}; it goes on after them")

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Writes an epoch of a `fit`."""
        numbers = {name: float(value) for name, value in (logs or {}).items() if np.size(value) == 1}
        self.epoch(self._of_fit, epoch + 1, numbers)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Ends the run of a `fit`."""
        loss = (logs or {}).get("loss", 0.0)
        self.end(self._of_fit, COMPLETED if np.isfinite(float(loss)) else DIVERGED, {})

    def _begin(self, name: str, hyperparameters: Mapping[str, Any], told: int) -> int:
        """Opens a run, or goes on with it, and returns the last epoch that it holds, 0 where there is none.

        Args:
            name: Its name.
            hyperparameters: Its settings.
            told: The last epoch that was trained before, and told to a tracker if one was there.
        """
        raise NotImplementedError

    def _log(self, name: str, epoch: int, metrics: Logs) -> None:
        """Writes the metrics of an epoch."""
        raise NotImplementedError

    def _end(self, name: str, status: str, epoch: int, metrics: Logs) -> None:
        """Ends a run after its last epoch."""
        raise NotImplementedError

    def _conclude(self, hyperparameters: Mapping[str, Any], metrics: Logs) -> None:
        """Writes the best of a search."""
        raise NotImplementedError


def plain(value: Any) -> bool | int | float | str:
    """Returns a setting as trackers take it."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
