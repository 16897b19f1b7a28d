"""An array in a file, of which no more is in memory than is being looked at."""

from pathlib import Path
from typing import Any

import numpy as np


class Stored:
    """Reads rows of an array in a file.

    A memory map keeps in memory what was looked at; this one is opened for each look and closed after it.

    Args:
        path: The file.
        dtype: The array's type.
        shape: Its shape, no side of it 0.
        offset: The bytes before it.
    """

    def __init__(self, path: Path, dtype: np.dtype, shape: tuple[int, ...], offset: int = 0) -> None:
        self._path, self._offset = path, offset
        self.dtype, self.shape = np.dtype(dtype), shape

    @classmethod
    def of(cls, path: Path) -> "Stored":
        """Returns the array of an `.npy` file."""
        mapped: Any = np.load(path, mmap_mode="r", allow_pickle=False)
        return cls(path, mapped.dtype, mapped.shape, mapped.offset)

    @property
    def ndim(self) -> int:
        """The number of the array's dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        return np.array(np.memmap(self._path, self.dtype, "r", self._offset, self.shape)[rows])
