"""Finds a wrong entry of a gradient that no sample would meet."""

from collections.abc import Callable, Sequence

import numpy as np

from kerasdl.watch.gradient_check.differences import Slope

# From which relative difference on a slope along all entries at once speaks against the gradient. One entry among n
# that is off by a share s changes it by about s / (2 sqrt(n)).
LIMIT = 1e-5
# How many times its own error a slope may be off.
ERRORS = 10

Measure = Callable[[np.ndarray], Sequence[Slope]]


def hidden_entry(
    measure: Measure, gradients: Sequence[np.ndarray], generator: np.random.Generator
) -> tuple[int, ...] | None:
    """Compares a whole gradient with the slope along one direction, and looks for the entry that is wrong.

    The direction moves every entry of the tensor, up or down by chance, so that no entry can be wrong unseen and errors
    do not cancel but by chance. Where gradient and slope disagree, the half of the entries that disagrees more is
    halved again.

    Args:
        measure: Gives the slopes of each part of the loss along a direction, an array shaped as the tensor.
        gradients: The backend's gradient of each part.
        generator: Draws the direction.

    Returns:
        A place in the tensor, or `None` where all entries together agree or the loss has a kink there.
    """
    shape, size = gradients[0].shape, gradients[0].size
    direction = generator.choice([-1.0, 1.0], size=size) / np.sqrt(max(1, size))
    if not _disagreement(measure, gradients, direction.reshape(shape)):
        return None
    places = np.arange(size)
    while len(places) > 1:
        halves = np.array_split(places, 2)
        found = [_disagreement(measure, gradients, _part(direction, half).reshape(shape)) for half in halves]
        if not any(found):
            return None
        places = halves[int(np.argmax(found))]
    return tuple(int(index) for index in np.unravel_index(places[0], shape))


def _part(direction: np.ndarray, places: np.ndarray) -> np.ndarray:
    part = np.zeros_like(direction)
    part[places] = direction[places]
    return part


def _disagreement(measure: Measure, gradients: Sequence[np.ndarray], direction: np.ndarray) -> float:
    """Returns how far gradient and slope are apart along a direction, 0 where that may be error."""
    largest = 0.0
    for gradient, slope in zip(gradients, measure(direction), strict=True):
        along = float((gradient * direction).sum())
        difference = abs(along - slope.value)
        if not slope.kink and difference > ERRORS * slope.error + LIMIT * (abs(along) + abs(slope.value)):
            largest = max(largest, difference)
    return largest
