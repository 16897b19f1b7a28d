"""What a run was made with: versions, device, revision."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import keras

from kerasdl import __version__
from kerasdl.train.backends import current_backend

_PACKAGES = ("keras", "keras-tuner", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu")
_BACKENDS = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}


def describe() -> dict[str, Any]:
    """Returns backend, device, versions, platform and, in a checkout, the git revision."""
    backend = keras.backend.backend()
    found = {name: _version(name) for name in (*_PACKAGES, _BACKENDS[backend])}
    return {
        "backend": backend,
        "device": f"{current_backend().device()} ({os.cpu_count()} CPU cores)",
        "versions": {
            "kerasdl": __version__,
            "python": platform.python_version(),
            **{name: version for name, version in found.items() if version},
        },
        "platform": platform.platform(),
        "git": _revision(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    """Returns the git revision of the folder that the command runs in, `+changes` behind it where files differ."""
    command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+changes", "--exclude=*"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, cwd=Path.cwd(), check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
