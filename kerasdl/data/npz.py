"""Reads arrays from NPZ files without ever unpickling."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kerasdl.errors import UserError


def read(path: Path, wanted: Iterable[str]) -> dict[str, np.ndarray]:
    """Reads those of the wanted arrays that an NPZ file holds.

    Args:
        path: The file.
        wanted: The keys to look for.

    Returns:
        The arrays by key.

    Raises:
        UserError: The file is no sound NPZ file, or an array is pickled.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise UserError(f"{path}: not an NPZ file, or cut short; write it anew with numpy.savez")
        with np.load(path, allow_pickle=False) as stored:
            return {key: _array(path, stored, key) for key in wanted if key in stored.files}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{path}: damaged or cut short ({error}); write it anew with numpy.savez") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); mend the file or its permissions"
        ) from None


def _array(path: Path, stored: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    try:
        array = stored[key]
    except ValueError as error:
        if "pickle" in str(error):
            raise UserError(
                f"{path}: {key!r} holds Python objects, which kerasdl never unpickles; "
                "save it as an array of numbers or of text"
            ) from None
        raise UserError(f"{path}: {key!r} is damaged ({error}); write it anew with numpy.savez") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path}: {key!r} is not a NumPy array; write it anew with numpy.savez")
    return array
