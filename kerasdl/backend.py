"""Chooses the Keras backend before Keras is imported."""

import importlib
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError, nearest

MODULES = {"torch": "torch", "tensorflow": "tensorflow", "jax": "jax"}


def installed() -> list[str]:
    """Returns the backends that can be imported here, without importing them."""
    return [name for name, module in MODULES.items() if importlib.util.find_spec(module) is not None]


def choose(name: str | None = None) -> str:
    """Settles which backend Keras will use in this process.

    The order is `name`, then Keras' own rule: `KERAS_BACKEND`, then its configuration file. Where neither names one, or
    only Keras' default does, the first installed backend of torch, TensorFlow and JAX is taken.

    Args:
        name: `"torch"`, `"tensorflow"`, `"jax"` or `None`.

    Returns:
        The backend's name. `KERAS_BACKEND` holds it from then on.

    Raises:
        UserError: The backend is unknown or not installed, or Keras already runs on another one.
    """
    if name is not None and name not in MODULES:
        raise UserError(f"--backend: {name!r} is not a backend of kerasdl; {nearest(name, MODULES)}")
    if "keras" in sys.modules:
        return _already_started(name)
    source = "--backend" if name else "KERAS_BACKEND"
    wanted = name or os.environ.get("KERAS_BACKEND") or _configured()
    present = installed()
    if wanted is None:
        if not present:
            raise UserError(
                "no Keras backend is installed; install one: pip install 'kerasdl[tensorflow]' (or [torch], or [jax])"
            )
        wanted = present[0]
    if wanted not in MODULES:
        raise UserError(f"{source}: {wanted!r} is not a backend of kerasdl; {nearest(wanted, MODULES)}")
    if wanted not in present:
        instead = f", or choose an installed one: {', '.join(present)}" if present else ""
        raise UserError(
            f"{source}: {wanted} is not installed here; install it: pip install 'kerasdl[{wanted}]'{instead}"
        )
    os.environ["KERAS_BACKEND"] = wanted
    return wanted


def start() -> str:
    """Imports Keras on the backend that was chosen, and returns the backend's name.

    On TensorFlow this is without its start-up notices, which would stand in the middle of a person's output and which
    no setting of its own turns off; errors are Python exceptions and are raised as ever. On other backends Keras would
    import TensorFlow, if it is installed, as soon as a layer is described, to ask whether a value is one of its own:
    that takes as long as all else that is imported, and no value is where nobody imported it.
    """
    wanted = os.environ.get("KERAS_BACKEND") or _configured() or "tensorflow"
    if "keras" not in sys.modules and wanted == "tensorflow" and wanted in installed():
        _import_tensorflow_quietly()
    import keras

    name: str = keras.backend.backend()
    if name != "tensorflow":
        from keras.src.saving import serialization_lib

        serialization_lib.tf = _ImportedTensorFlow()
    return name


class _ImportedTensorFlow:
    """Stands in for TensorFlow where Keras describes objects."""

    @property
    def available(self) -> bool:
        """Whether somebody imported TensorFlow, so that an object can be one of its own."""
        return "tensorflow" in sys.modules

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.modules["tensorflow"], name)


def _import_tensorflow_quietly() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _already_started(name: str | None) -> str:
    import keras

    running: str = keras.backend.backend()
    if name is not None and name != running:
        raise UserError(
            f"backend {name!r} was asked for, but Keras already runs on {running} in this process; "
            f"set KERAS_BACKEND={name} before the first import of keras, or start a new process"
        )
    return running


def _configured() -> str | None:
    """Returns the backend that Keras' configuration file names, as `keras.config` reads it."""
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"))
    path = home / "keras.json"
    if not path.is_file():
        return None
    try:
        backend = json.loads(path.read_text()).get("backend")
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path}: not readable as Keras' configuration ({error}); mend or remove it") from error
    # Keras writes this file itself at the first import: a default of it that is not installed was not chosen.
    return backend if backend in installed() else None
