"""Rows as batches for Keras' `fit`, fetched ahead so that the device need not wait for them."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np

from kerasdl.data import Split
from kerasdl.train.order import batches, row_order

# Batches that are fetched ahead at most, and the bytes that they may take.
AHEAD = 8
BYTES_AHEAD = 256 * 2**20
# Threads that fetch; where rows lie on disk, each waits for other rows.
THREADS = 2

Batch = tuple[np.ndarray, ...]


class FetchedBatches(keras.utils.PyDataset):
    """Batches of given rows. Use it as a context manager: leaving it ends its threads.

    Attributes:
        waited: Seconds for which whoever asked for batches waited for them, since `take`.

    Args:
        split: The rows.
    """

    def __init__(self, split: Split) -> None:
        super().__init__()
        self._split = split
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
        self._coming: dict[int, Future[Batch]] = {}
        self.take([])

    def __enter__(self) -> "FetchedBatches":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def take(self, rows: Sequence[np.ndarray]) -> None:
        """Settles the rows of each batch."""
        with self._lock:
            self._drop()
            self._rows = list(rows)
            row = sum(array[:1].nbytes for array in self._split.arrays)
            largest = max((len(one) for one in self._rows), default=0)
            self._ahead = max(1, min(AHEAD, BYTES_AHEAD // max(1, row * largest)))
            self.waited = 0.0

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Batch:
        started = time.perf_counter()
        with self._lock:
            if index not in self._coming:
                self._drop()
            for number in range(index, min(index + 1 + self._ahead, len(self._rows))):
                if number not in self._coming:
                    self._coming[number] = self._pool.submit(self._fetched, self._rows[number])
            coming = self._coming.pop(index)
        batch = coming.result()
        self.waited += time.perf_counter() - started
        return batch

    def _drop(self) -> None:
        for coming in self._coming.values():
            coming.cancel()
        self._coming.clear()

    def _fetched(self, rows: np.ndarray) -> Batch:
        return tuple(np.asarray(np.take(part, rows, axis=0)) for part in self._split.arrays)


class OrderedBatches(FetchedBatches):
    """The training rows in the order that packs take them too.

    Args:
        split: The rows.
        seed: The trial's seed.
        batch_size: Rows in a batch.
    """

    def __init__(self, split: Split, seed: int, batch_size: int) -> None:
        super().__init__(split)
        self._seed, self._batch_size = seed, batch_size
        self.count = -(-len(split) // batch_size)
        self.begin(1)

    def begin(self, epoch: int, skipped: int = 0) -> None:
        """Settles the order of an epoch.

        Args:
            epoch: 1 is the first.
            skipped: How many of its batches are left out at its beginning.
        """
        full, rest = batches(row_order(len(self._split), self._seed, epoch), self._batch_size)
        self.take([*full, *([rest] if len(rest) else [])][skipped:])


class SequentialBatches(FetchedBatches):
    """Rows in their own order.

    Args:
        split: The rows.
        batch_size: Rows in a batch.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__(split)
        self.take([np.arange(i, min(i + batch_size, len(split))) for i in range(0, len(split), batch_size)])
