"""Finds the scaling of raw features."""

import numpy as np

from kerasdl.data.dataset import Scaling
from kerasdl.errors import UserError


def standardize(raw: np.ndarray) -> tuple[Scaling, np.ndarray]:
    """Finds the mean and standard deviation of training rows: per column of a table, per channel of images.

    Args:
        raw: Training rows, `(rows, columns)` or `(rows, height, width, channels)`, finite.

    Returns:
        The scaling, and a bool array `(columns,)` or `(channels,)`: which are constant. Those get scale 1.
    """
    image = raw.ndim > 2
    axes = (0, 1, 2) if image else (0,)
    mean = raw.mean(axis=axes, dtype="float64")
    deviation = raw.std(axis=axes, dtype="float64")
    constant = (raw.max(axis=axes) == raw.min(axis=axes)) | (deviation.astype("float32") == 0)
    shape = (1, 1, -1) if image else (-1,)
    offset = mean.astype("float32").reshape(shape)
    scale = np.where(constant, 1, deviation).astype("float32").reshape(shape)
    return Scaling(offset, scale), constant


def by_range(maximum: float) -> Scaling:
    """Returns the scaling of pixels from 0 to `maximum` to [0, 1]: offset 0, scale `maximum`, shape (1, 1, 1)."""
    return Scaling(np.zeros((1, 1, 1), "float32"), np.full((1, 1, 1), maximum, "float32"))


def constant_notes(constant: np.ndarray, names: tuple[str, ...], place: str) -> list[str]:
    """Says which features are constant in the training rows.

    Args:
        constant: bool, `(features,)`.
        names: The name of each feature.
        place: The file, for the message.

    Returns:
        One note where some are constant, none where none is.

    Raises:
        UserError: All are constant.
    """
    if constant.all():
        raise UserError(f"{place}: every feature is constant in the training rows; there is nothing to learn from")
    flat = [name for name, is_flat in zip(names, constant, strict=True) if is_flat]
    if not flat:
        return []
    shown = ", ".join(flat[:5]) + (f" and {len(flat) - 5} more" if len(flat) > 5 else "")
    return [f"constant in the training rows, so left at scale 1: {shown}"]
