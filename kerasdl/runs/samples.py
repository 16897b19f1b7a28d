"""Single rows that the report shows: a run keeps no other data."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

PREFIX = "shown/"
ROWS, RAW = f"{PREFIX}rows", f"{PREFIX}raw"
MASKED, MASKS, PREDICTED = f"{PREFIX}masked", f"{PREFIX}masks", f"{PREFIX}predicted"
ORIGINALS, AUGMENTED = f"{PREFIX}originals", f"{PREFIX}augmented"


@dataclass(frozen=True)
class Samples:
    """Rows of a run's data.

    Attributes:
        rows: Raw test rows by their number, whole numbers where they were whole.
        masks: Of test images that are segmented, by their number: the true and the predicted class of each pixel,
            `(height, width)`. The images with the best, the median and the worst Dice of the saved winner, in this
            order.
        augmented: Raw training images as they are and as the winner sees them while training, both
            `(images, height, width, channels)`; `None` where it has no augmentation.
    """

    rows: dict[int, np.ndarray]
    masks: dict[int, tuple[np.ndarray, np.ndarray]]
    augmented: tuple[np.ndarray, np.ndarray] | None


def read_samples(arrays: Mapping[str, np.ndarray]) -> Samples:
    """Reads a run's arrays whose names begin with `PREFIX`."""
    empty = np.empty(0)
    numbers, raw, masked = (arrays.get(name, empty) for name in (ROWS, RAW, MASKED))
    masks, predicted = (arrays.get(name, empty) for name in (MASKS, PREDICTED))
    augmented = (arrays[ORIGINALS], arrays[AUGMENTED]) if ORIGINALS in arrays and AUGMENTED in arrays else None
    return Samples(
        {int(number): row for number, row in zip(numbers, raw, strict=True)},
        {int(row): (mask, found) for row, mask, found in zip(masked, masks, predicted, strict=True)},
        augmented,
    )
