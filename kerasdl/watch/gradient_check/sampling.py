"""Draws the entries of a parameter tensor that are compared."""

import numpy as np


def sample(gradient: np.ndarray, count: int, generator: np.random.Generator) -> list[tuple[int, ...]]:
    """Draws entries without repetition: half of them where there is a gradient, the others anywhere.

    A batch touches few rows of a large embedding; entries drawn anywhere alone would compare nothing with nothing. A
    gradient that is missing, on the other hand, shows only where the backend gives none.

    Args:
        gradient: The tensor's gradient.
        count: How many entries, if there are as many.
        generator: Draws them.

    Returns:
        Their places in the tensor.
    """
    count = min(count, gradient.size)
    touched = np.flatnonzero(gradient)
    first = generator.choice(touched, size=min((count + 1) // 2, touched.size), replace=False)
    others = np.setdiff1d(np.arange(gradient.size), first, assume_unique=True)
    rest = generator.choice(others, size=count - first.size, replace=False)
    places = np.sort(np.concatenate([first, rest]))
    return [tuple(int(index) for index in np.unravel_index(place, gradient.shape)) for place in places]
