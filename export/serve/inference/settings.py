"""The settings of the server, from environment variables."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference.errors import BundleError
from inference.model import DEVICES

PREFIX = "SERVE_"


@dataclass(frozen=True)
class Settings:
    """Each is set by the environment variable of its name in capitals behind `SERVE_`, such as `SERVE_PORT`.

    Attributes:
        folder: Holds `model.onnx` and `model.json`.
        host: The address that is listened on; `0.0.0.0` for all.
        port: The port; 0 for any that is free.
        device: `auto`, `cpu` or `cuda`; with `cuda` the server does not start where CUDA cannot be used.
        max_rows: Rows of one request at most.
        max_bytes: Bytes of one request's body at most.
        max_pixels: Pixels of one uploaded image at most.
        batch: Rows that go through the model at once.
        threads: Requests that are answered at the same time.
        model_threads: Processor threads for each of them; 0 shares the processors out.
        queue: Requests that wait for a thread at most; one more is refused with 503.
        connections: Connections that are open at the same time at most.
        body_seconds: Within how many seconds a request's body must have come.
        grace_seconds: How long requests that are being answered may go on after SIGTERM.
    """

    folder: Path = Path(__file__).resolve().parents[1]
    host: str = "127.0.0.1"
    port: int = 8000
    device: str = "auto"
    max_rows: int = 1024
    max_bytes: int = 8 * 2**20
    max_pixels: int = 25_000_000
    batch: int = 256
    threads: int = 2
    model_threads: int = 0
    queue: int = 32
    connections: int = 512
    body_seconds: float = 10.0
    grace_seconds: int = 20

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Reads the settings.

        Args:
            environment: The variables, by default those of this process.

        Raises:
            BundleError: A variable has no possible value, or begins with `SERVE_` and is none of these.
        """
        fields = {f"{PREFIX}{field.name.upper()}": field for field in dataclasses.fields(cls)}
        given = {name: value for name, value in environment.items() if name.startswith(PREFIX)}
        for name in given:
            if name not in fields:
                raise BundleError(f"{name}: no such setting; known are {', '.join(sorted(fields))}")
        return cls(**{fields[name].name: _value(name, text, fields[name]) for name, text in given.items()})

    @property
    def threads_of_model(self) -> int:
        """Processor threads for one call of the model."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return self.model_threads or max(usable // self.threads, 1)


# Settings that may be zero; all other numbers are above it.
_FROM_ZERO = ("port", "model_threads", "queue")


def _value(name: str, text: str, field: "dataclasses.Field[Any]") -> Any:
    if field.name == "device" and text not in DEVICES:
        raise BundleError(f"{name}: device {text!r} is not known; choose from {', '.join(DEVICES)}")
    if isinstance(field.default, str):
        return text
    if isinstance(field.default, Path):
        return Path(text)
    kind = float if isinstance(field.default, float) else int
    try:
        number = kind(text)
    except ValueError:
        number = -1
    # Written so that NaN counts as wrong.
    if not (number > 0 or (number == 0 and field.name in _FROM_ZERO)):
        raise BundleError(f"{name}={text!r}: give a number {'from 0 on' if field.name in _FROM_ZERO else 'above 0'}")
    if field.name == "port" and number > 65535:
        raise BundleError(f"{name}={text!r}: ports go up to 65535")
    return number
