"""Keeps what training needs to go on after it was killed."""

import json
import math
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

# A checkpoint is written when this many times the seconds that the last one took have passed, at the earliest.
LEAST_RATIO = 20

_FACTS = "facts"


@dataclass(frozen=True)
class Checkpoint:
    """A state of training.

    Attributes:
        epoch: How many epochs were trained to their end.
        facts: What JSON can hold.
        arrays: The tensors.
    """

    epoch: int
    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]


class Checkpoints:
    """The checkpoints of a run, one file for each pack in training.

    Args:
        directory: Where they are kept.
        seconds: The least time between two of the same pack; `None` where time alone is no reason for one.
        epochs: After each so many epochs one is written whatever the time, if given.
    """

    def __init__(self, directory: Path, seconds: float | None = 30.0, epochs: int | None = None) -> None:
        self._directory = directory
        self._seconds = math.inf if seconds is None else seconds
        self._epochs = epochs
        self._next: dict[int, float] = {}

    def begin(self, key: int) -> None:
        """Counts the time until the first one of a pack from now."""
        self._next[key] = time.monotonic() + self._seconds

    def due(self, key: int) -> bool:
        """Whether it is time for another, within an epoch too."""
        return time.monotonic() >= self._next[key]

    def due_after(self, epoch: int, key: int) -> bool:
        """Whether one is to be written at the end of an epoch, of which 1 is the first."""
        return self.due(key) or (self._epochs is not None and epoch % self._epochs == 0)

    def save(self, key: int, checkpoint: Checkpoint) -> None:
        """Writes a checkpoint in the place of the one before; a kill at any moment leaves one of the two.

        Args:
            key: Names it among those of the run.
            checkpoint: What to keep.
        """
        started = time.monotonic()
        self._directory.mkdir(exist_ok=True)
        facts = json.dumps({"epoch": checkpoint.epoch, **checkpoint.facts}).encode()
        named: dict[str, Any] = {**checkpoint.arrays, _FACTS: np.frombuffer(facts, dtype="uint8")}
        with tempfile.NamedTemporaryFile(dir=self._directory, suffix=".partial", delete=False) as file:
            np.savez(file, **named)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(self._path(key))
        now = time.monotonic()
        self._next[key] = now + max(self._seconds, LEAST_RATIO * (now - started))

    def find(self, trials: Sequence[int], kind: str) -> Checkpoint | None:
        """Finds the checkpoint that holds some trials.

        Args:
            trials: Numbers of trials; a checkpoint lists the numbers that it holds as its fact `"trials"`.
            kind: Its fact `"kind"`, which says how they were trained.

        Returns:
            The checkpoint, or `None` where none holds all of them.
        """
        for path in sorted(self._directory.glob("*.npz")):
            # A checkpoint that cannot be read is none: its trials start anew.
            with suppress(OSError, ValueError, KeyError, BadZipFile), path.open("rb") as file:
                content = np.load(file, allow_pickle=False)
                facts = json.loads(content[_FACTS].tobytes())
                if facts["kind"] == kind and set(trials) <= set(facts["trials"]):
                    arrays = {name: content[name] for name in content.files if name != _FACTS}
                    return Checkpoint(facts.pop("epoch"), facts, arrays)
        return None

    def discard(self, key: int) -> None:
        """Deletes a checkpoint, if it is there."""
        self._path(key).unlink(missing_ok=True)
        self._next.pop(key, None)
        self._tidy("*.partial")

    def clear(self) -> None:
        """Deletes all of them: nothing is left to be trained."""
        self._tidy("*")

    def _tidy(self, pattern: str) -> None:
        for path in self._directory.glob(pattern):
            path.unlink()
        if self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _path(self, key: int) -> Path:
        return self._directory / f"{key:06d}.npz"
