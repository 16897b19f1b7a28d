"""Keeps what training needs to go on after it was killed."""

import json
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
    """A state of training between two epochs.

    Attributes:
        epoch: How many epochs were trained.
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
        seconds: The least time between two of the same pack.
    """

    def __init__(self, directory: Path, seconds: float = 30.0) -> None:
        self._directory = directory
        self._seconds = seconds
        self._next = time.monotonic() + seconds

    @property
    def due(self) -> bool:
        """Whether it is time for another."""
        return time.monotonic() >= self._next

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
        Path(file.name).replace(self._path(key))
        now = time.monotonic()
        self._next = now + max(self._seconds, LEAST_RATIO * (now - started))

    def find(self, trials: Sequence[int]) -> Checkpoint | None:
        """Finds the checkpoint that holds some trials.

        Args:
            trials: Numbers of trials; a checkpoint lists the numbers that it holds as its fact `"trials"`.

        Returns:
            The checkpoint, or `None` where none holds all of them.
        """
        for path in sorted(self._directory.glob("*.npz")):
            # A checkpoint that cannot be read is none: its trials start anew.
            with suppress(OSError, ValueError, KeyError, BadZipFile), path.open("rb") as file:
                content = np.load(file, allow_pickle=False)
                facts = json.loads(content[_FACTS].tobytes())
                if set(trials) <= set(facts["trials"]):
                    arrays = {name: content[name] for name in content.files if name != _FACTS}
                    return Checkpoint(facts.pop("epoch"), facts, arrays)
        return None

    def discard(self, key: int) -> None:
        """Deletes a checkpoint, if it is there."""
        self._path(key).unlink(missing_ok=True)
        for partial in self._directory.glob("*.partial"):
            partial.unlink()
        if self._directory.is_dir() and not any(self._directory.iterdir()):
            self._directory.rmdir()

    def _path(self, key: int) -> Path:
        return self._directory / f"{key:06d}.npz"
