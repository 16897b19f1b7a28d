"""The process of one row: opens one model and answers one command a line, from standard input to standard output.

`python -m kerasdl.export.benchmark.worker`. It ends when its input does, so that none is left of a killed parent.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from kerasdl.errors import UserError
from kerasdl.export.benchmark.load import loaded
from kerasdl.export.benchmark.runners import Opened, open_model
from kerasdl.export.benchmark.warm import warm_up

# Different batches of one size, taken in turn, so that no call finds the last one's input in the cache.
VARIANTS = 4

# Calls at the start of a burst that are not counted: the caches hold what another process left there.
SETTLING = 2


class Worker:
    """A model, its rows and its calls."""

    def __init__(self) -> None:
        self._empty = psutil.Process().memory_info().rss
        self._opened: Opened | None = None
        self._rows: list[np.ndarray] = []
        self._calls: dict[int, list[Callable[[], Any]]] = {}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Imports the runtime and opens the model."""
        started = time.perf_counter()
        for name in request["imports"]:
            __import__(name)
        imported = time.perf_counter()
        self._opened = opened = open_model(request["runtime"], request)
        return {
            "import_seconds": imported - started,
            "load_seconds": time.perf_counter() - imported,
            "inputs": [[each.name, list(each.shape), each.dtype] for each in opened.inputs],
            "provider": opened.provider,
            "batch": opened.batch,
            "facts": opened.facts,
        }

    def rows(self, request: dict[str, Any]) -> dict[str, Any]:
        """Reads the rows, one array for each input, in the types that the model takes."""
        with np.load(request["path"], allow_pickle=False) as file:
            arrays = [file[f"arr_{number}"] for number in range(len(file.files))]
        inputs = self._model.inputs
        types = [each.dtype for each in inputs] if inputs else [str(array.dtype) for array in arrays]
        self._rows = [array.astype(dtype) for array, dtype in zip(arrays, types, strict=True)]
        return {}

    def first(self, request: dict[str, Any]) -> dict[str, Any]:
        """Runs a batch size for the first time, then until calls are stable."""
        size = request["batch_size"]
        started = time.perf_counter()
        self._calls[size] = [self._model.prepare(self._batch(size, 0))]
        self._calls[size][0]()
        first = time.perf_counter() - started
        self._calls[size] += [self._model.prepare(self._batch(size, number)) for number in range(1, VARIANTS)]
        warm = warm_up(self._call(size), request["limit"])
        return {"first_seconds": first, "warm_up_calls": warm.calls, "stable": warm.stable}

    def outputs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Writes the outputs of the first rows."""
        size = request["batch_size"]
        parts = []
        for start in range(0, request["rows"] - size + 1, size):
            call = self._model.prepare([array[start : start + size] for array in self._rows])
            parts.append([np.array(array) for array in self._model.fetch(call())])
        np.savez(request["path"], *(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))
        return {}

    def burst(self, request: dict[str, Any]) -> dict[str, Any]:
        """Calls for some seconds, at least once."""
        call = self._call(request["batch_size"])
        for number in range(SETTLING if request["settle"] else 0):
            call(number)
        clock = time.perf_counter_ns
        taken = []
        begin = clock()
        end = begin + int(request["seconds"] * 1e9)
        number = 0
        while True:
            before = clock()
            call(number)
            after = clock()
            taken.append(after - before)
            number += 1
            if after >= end:
                return {"nanoseconds": taken, "seconds": (after - begin) / 1e9}

    def serve(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answers requests that arrive at random."""
        call = self._call(request["batch_size"])
        for number in range(SETTLING):
            call(number)
        latencies = loaded(call, request["rate"], request["seconds"], request["seed"])
        return {"latencies": latencies.tolist()}

    def memory(self, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the peak of resident memory, and that of this process before it imported a runtime, in bytes."""
        return {"peak": peak_memory(), "empty": self._empty}

    @property
    def _model(self) -> Opened:
        if self._opened is None:
            raise UserError("no model is open; send `open` first")
        return self._opened

    def _batch(self, size: int, number: int) -> list[np.ndarray]:
        start = number * size
        return [np.take(array, range(start, start + size), axis=0, mode="wrap") for array in self._rows]

    def _call(self, size: int) -> Callable[[int], Any]:
        calls = self._calls[size]
        return lambda number: calls[number % len(calls)]()


def peak_memory() -> int:
    """Returns the peak of this process's resident memory, in bytes.

    On Linux from `/proc`: `getrusage` would begin with the memory of the parent that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        if found:
            return int(found[0]) * 1024
    memory = psutil.Process().memory_info()
    # Windows' own.
    peak = getattr(memory, "peak_wset", None)
    if peak is not None:
        return int(peak)
    import resource

    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def handle(worker: Worker, request: Mapping[str, Any]) -> dict[str, Any]:
    """Answers one command; what it raised becomes an answer, too."""
    try:
        answered: dict[str, Any] = getattr(worker, request["do"])(request)
        return {"ok": True, **answered}
    except Exception as error:  # noqa: BLE001, every runtime raises classes of its own, and all of them are answers
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0][:300] if lines else type(error).__name__
        return {"ok": False, "error": said, "kind": type(error).__name__}


def main() -> None:
    """Answers commands until the input ends."""
    # Runtimes write to standard output as they please: answers go through a copy that only this function knows.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = Worker()
    for line in sys.stdin:
        print(json.dumps(handle(worker, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
