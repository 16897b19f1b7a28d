"""A worker seen from outside: sends a command, waits for its answer, and never longer than a limit."""

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from typing import IO, Any

from kerasdl.errors import UserError

# Seconds: opening may import TensorFlow from a cold disk, TensorRT and torch.compile build for minutes.
PATIENCE = 600.0

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_DEPRECATION_WARNINGS": "0", "TORCHINDUCTOR_COMPILE_THREADS": "1"}


class WorkerError(UserError):
    """A worker could not do what it was told; the message is its reason."""


class Process:
    """A process of its own for one row; use it as a context manager.

    Args:
        environment: Variables to set in it, such as `KERAS_BACKEND`.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, it is closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kerasdl.export.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **QUIET, **environment},
            text=True,
            encoding="utf-8",
            # Ctrl-C is for the parent, which ends its workers itself.
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._input: IO[str] = self._process.stdin
        self._output: IO[str] = self._process.stdout
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ask(self, do: str, patience: float = PATIENCE, **request: Any) -> dict[str, Any]:
        """Sends a command and returns the answer.

        Args:
            do: The name of a method of `Worker`.
            patience: Seconds to wait at most.
            **request: Its arguments.

        Returns:
            What it answered.

        Raises:
            WorkerError: It raised, died, or took too long.
        """
        try:
            self._input.write(json.dumps({"do": do, **request}) + "\n")
            self._input.flush()
            line = self._lines.get(timeout=patience)
        except queue.Empty:
            self.close()
            raise WorkerError(f"no answer to {do!r} within {patience:.0f} s") from None
        except (BrokenPipeError, ValueError):
            line = ""
        if not line:
            raise WorkerError(self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise WorkerError(answer["error"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for stream in (self._input, self._output):
            try:
                stream.close()
            except BrokenPipeError:
                continue
        self._errors.close()

    def _read(self) -> None:
        for line in self._output:
            self._lines.put(line)
        self._lines.put("")

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:200]}" if lines else ""
        return f"its process ended by signal {-code}{said}" if code < 0 else f"its process ended with {code}{said}"
