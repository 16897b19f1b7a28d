"""Loads `.keras` files, checked and in safe mode; no code comes out of them."""

import sys
import zipfile
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.safety.archive import check_archive
from kerasdl.safety.budget import variables_within
from kerasdl.safety.configuration import check_configuration
from kerasdl.safety.weights import check_weights

CONFIGURATION, WEIGHTS = "config.json", "model.weights.h5"
HDF5 = b"\x89HDF\r\n\x1a\n"


def load_model(path: str | Path, *, compile: bool = False) -> Any:
    """Loads a `.keras` file that was checked first.

    Args:
        path: The file.
        compile: Whether the model comes compiled as it was saved.

    Returns:
        The Keras model.

    Raises:
        UserError: It is no Keras model, would do more than hold a model, or has layers that Keras does not load in safe
            mode.
    """
    import keras

    path = Path(path)
    stored = check_keras(path, compile=compile)
    try:
        with variables_within(stored, path):
            return keras.saving.load_model(path, compile=compile, safe_mode=True)
    except (TypeError, ValueError, KeyError, AttributeError, ImportError, OSError) as error:
        # Keras wraps what went wrong in a message for each level of the model.
        innermost = str(error).rsplit("Exception encountered: ", 1)[-1].strip()
        line = next(iter(innermost.splitlines()), type(error).__name__)[:300]
        raise UserError(f"{path}: Keras cannot load it ({line}); custom layers need export_model in Python") from error


def check_keras(path: str | Path, *, compile: bool = True) -> int:
    """Checks a `.keras` file without building anything from it.

    Args:
        path: The file.
        compile: Whether what the model was compiled with counts.

    Returns:
        How many bytes its weights have.

    Raises:
        UserError: It is another kind of file, or its archive, configuration or weights reach out of it.
    """
    path = Path(path)
    _check_kind(path)
    names = {member.filename for member in check_archive(path)}
    for name in (CONFIGURATION, WEIGHTS):
        if name not in names:
            raise UserError(f"{path}: not a Keras model, as there is no {name} in it; save the model as .keras again")
    strange = next((name for name in sorted(names) if name not in _USUAL and not name.startswith("assets/")), None)
    if strange is not None:
        raise UserError(f"{path}: refused, as it holds {strange[:200]!r}, which Keras writes into no model")
    try:
        with zipfile.ZipFile(path) as archive:
            configuration, weights = archive.read(CONFIGURATION), archive.read(WEIGHTS)
    except (zipfile.BadZipFile, OSError, EOFError, zipfile.LargeZipFile) as error:
        raise UserError(f"{path}: damaged ({error}); get the file again from where it came") from error
    check_configuration(path, configuration, _is_registered, compile=compile)
    return check_weights(path, weights)


_USUAL = {CONFIGURATION, WEIGHTS, "metadata.json", "assets/"}


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path}: a folder; give a .keras file")
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a .keras file")
    with path.open("rb") as file:
        start = file.read(len(HDF5))
    if path.suffix in {".h5", ".hdf5"} or start == HDF5:
        # Keras reads it whatever safe_mode says.
        raise UserError(
            f"{path}: the old h5 format is not read, as it can hold code that Keras runs; "
            "load it in Keras once, if you trust it, and save it as .keras"
        )
    if path.suffix != ".keras":
        raise UserError(f"{path}: not a .keras file; give a .keras file")


def _is_registered(name: str) -> bool:
    # Before Keras is there, nobody has registered anything with it, and a check need not start a backend.
    keras = sys.modules.get("keras")
    return keras is not None and keras.saving.get_registered_object(name) is not None
