"""Draws images of a data set, as their pixels are."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.report.figures.style import strip_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from kerasdl.runs import Run


def limits(run: "Run", images: Iterable[np.ndarray]) -> tuple[float, float]:
    """Returns the raw values that are drawn as black and as white.

    Args:
        run: Its scaling says what pixels range over where it is a division alone.
        images: Raw images, whose range it is otherwise.
    """
    scaling = run.data.get("scaling", {})
    offset, scale = np.asarray(scaling.get("offset", [1.0])), np.asarray(scaling.get("scale", [1.0]))
    if not offset.any() and scale.max() > 0:
        return 0.0, float(scale.max())
    values = [float(value) for image in images for value in (image.min(), image.max())]
    return (min(values), max(values)) if values and min(values) < max(values) else (0.0, 1.0)


def pixels(image: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """Returns an image in [0, 1]: colours `(height, width, 3)`, or one plane `(height, width)` of any others.

    Args:
        image: Raw, `(height, width)` or `(height, width, channels)`; of other than 3 channels the first is taken.
        ends: What is black and what is white.
    """
    plane = image if image.ndim == 2 or image.shape[-1] == 3 else image[..., 0]
    low, high = ends
    return np.asarray(np.clip((plane.astype("float64") - low) / (high - low), 0, 1))


def draw_image(axes: "Axes", image: np.ndarray, ends: tuple[float, float]) -> None:
    """Draws an image into axes without ticks."""
    axes.imshow(pixels(image, ends), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    strip_grid(axes)
