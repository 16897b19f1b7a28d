"""What models of two features predict over the plane of these."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

PREFIX = "regions/"
ENDS, ROWS = f"{PREFIX}ends", f"{PREFIX}rows"


@dataclass(frozen=True)
class Regions:
    """Decision regions of the configurations of a run.

    Attributes:
        ends: The plane's lowest and highest values of both raw features, `(2, 2)`.
        rows: Some training rows, raw features and class, `(rows, 3)`.
        predicted: For each configuration by its number float16 `(points, points)`, the second feature along the first
            axis: the probability of the second of two classes, or of more classes which one, 0 the first and 1 the
            last.
    """

    ends: np.ndarray
    rows: np.ndarray
    predicted: dict[int, np.ndarray]


def read_regions(arrays: Mapping[str, np.ndarray]) -> Regions | None:
    """Reads a run's arrays whose names begin with `PREFIX`; `None` where there are none."""
    if ENDS not in arrays or ROWS not in arrays:
        return None
    others = {name.removeprefix(PREFIX): array for name, array in arrays.items() if name not in (ENDS, ROWS)}
    return Regions(arrays[ENDS], arrays[ROWS], {int(name): array for name, array in others.items()})
