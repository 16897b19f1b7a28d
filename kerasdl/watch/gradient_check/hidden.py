"""Finds a wrong entry of a gradient that no sample would meet."""

from collections.abc import Callable, Sequence

import numpy as np

from kerasdl.watch.gradient_check.differences import Slope

# How many times its own error a slope may be off before an entry is searched for. A search for nothing costs time
# alone: what it comes to is judged as any entry is.
ERRORS = 3
TINY = 1e-300

Measure = Callable[[np.ndarray], Sequence[Slope]]


def hidden_entry(
    measure: Measure, gradients: Sequence[np.ndarray], generator: np.random.Generator
) -> tuple[int, ...] | None:
    """Compares a whole gradient with the slope along one direction, and looks for the entry that is wrong.

    The direction moves every entry of the tensor, up or down by chance, so that no entry can be wrong unseen and errors
    do not cancel but by chance. Where gradient and slope disagree, the half of the entries that disagrees more is
    halved again, down to one entry.

    Args:
        measure: Gives the slopes of each part of the loss along a direction, an array shaped as the tensor.
        gradients: The backend's gradient of each part.
        generator: Draws the direction.

    Returns:
        A place in the tensor, which may be right all the same, or `None` where all entries together agree or the loss
        has a kink there.
    """
    shape, size = gradients[0].shape, gradients[0].size
    direction = generator.choice([-1.0, 1.0], size=size) / np.sqrt(max(1, size))
    if _disagreement(measure, gradients, direction.reshape(shape)) <= ERRORS:
        return None
    places = np.arange(size)
    while len(places) > 1:
        halves = np.array_split(places, 2)
        found = [_disagreement(measure, gradients, _part(direction, half).reshape(shape)) for half in halves]
        places = halves[int(np.argmax(found))]
    return tuple(int(index) for index in np.unravel_index(places[0], shape))


def _part(direction: np.ndarray, places: np.ndarray) -> np.ndarray:
    part = np.zeros_like(direction)
    part[places] = direction[places]
    return part


def _disagreement(measure: Measure, gradients: Sequence[np.ndarray], direction: np.ndarray) -> float:
    """Returns how far gradient and slope are apart along a direction, in units of the slope's error; 0 at kinks."""
    apart = [0.0]
    for gradient, slope in zip(gradients, measure(direction), strict=True):
        if not slope.kink:
            apart.append(abs(float((gradient * direction).sum()) - slope.value) / max(slope.error, TINY))
    return max(apart)
