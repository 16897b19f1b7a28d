"""Loads `.keras` files in safe mode."""

from pathlib import Path
from typing import Any

from kerasdl.errors import UserError


def load_model(path: Path) -> Any:
    """Loads a `.keras` file; no code comes out of it.

    Args:
        path: The file.

    Returns:
        The Keras model, not compiled.

    Raises:
        UserError: It is no Keras model, or holds layers that Keras does not load in safe mode.
    """
    import keras

    try:
        return keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError, KeyError, AttributeError, ImportError, OSError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
        raise UserError(f"{path}: Keras cannot load it ({line}); custom layers need export_model in Python") from error
