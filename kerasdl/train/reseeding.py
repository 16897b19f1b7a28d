"""Gives a model the weights with which another seed would have built it, without building it again.

A builder spends its time on layers and variables. What a seed settles of them are the numbers that Keras draws from
Python's random state for each initializer and each random layer, in the order in which they are made.
"""

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasdl.train.backends.substitution import Substitution

# As keras.src.random.seed_generator.make_default_seed draws.
_HIGHEST = int(1e9)
# A model that draws more is built again.
_MOST = 10_000

_initialize = keras.Variable._initialize_with_initializer
_variables = Substitution(keras.Variable, "_initialize_with_initializer")

Initializer = Callable[..., Any]


class Initialized(NamedTuple):
    """A variable, and what gave it its first value."""

    variable: keras.Variable
    initializer: Initializer


@contextmanager
def initializers_kept() -> Iterator[dict[int, Initialized]]:
    """Keeps the initializers of the variables that are made within a `with` statement, by the variables' `id`."""
    kept: dict[int, Initialized] = {}

    def initialize(variable: keras.Variable, initializer: Initializer) -> None:
        _initialize(variable, initializer)
        kept[id(variable)] = Initialized(variable, initializer)

    with _variables.by({"_initialize_with_initializer": initialize}):
        yield kept


class Reseeding:
    """How the variables of a model follow from the seed.

    Args:
        drawn: How many numbers were drawn while it was built.
        followers: The variables that depend on them, each with a function that gives its value from all numbers drawn.
    """

    def __init__(self, drawn: int, followers: Sequence[tuple[keras.Variable, Callable[[Sequence[int]], Any]]]) -> None:
        self._drawn, self._followers = drawn, followers

    def reseed(self, seed: int) -> None:
        """Gives the variables the values that they would begin with under another seed."""
        numbers = _numbers(seed, self._drawn)
        for variable, value in self._followers:
            variable.assign(value(numbers))


class RandomStates(NamedTuple):
    """Python's and NumPy's random state."""

    python: Any
    numpy: Any


def random_states() -> RandomStates:
    """Returns the random states as they are now."""
    return RandomStates(random.getstate(), np.random.get_state(legacy=False)["state"])


def find_reseeding(
    model: keras.Model, seed: int, after: RandomStates, kept: Mapping[int, Initialized]
) -> Reseeding | None:
    """Finds how the variables of a model follow from the seed that it was built with.

    Args:
        model: The model, as it was built with every random state set by the seed.
        seed: The seed.
        after: The random states right after it was built.
        kept: The initializers of its variables.

    Returns:
        `None` where a variable is not what its initializer gives, or where anything was drawn that is not the seed of
        one of them: weights that were loaded, adapted or computed, or a builder that draws for itself.
    """
    drawn = _count_drawn(seed, after)
    if drawn is None:
        return None
    places = {number: place for place, number in enumerate(_numbers(seed, drawn))}
    followers, explained = [], set()
    for variable in (*model.trainable_variables, *model.non_trainable_variables):
        if id(variable) not in kept or not _is_first_value(*kept[id(variable)]):
            return None
        initializer = kept[id(variable)].initializer
        number = _number(variable, initializer)
        if number in places:
            explained.add(number)
            followers.append((variable, _follower(variable, initializer, places[number])))
    return Reseeding(drawn, followers) if explained == set(places) else None


def _count_drawn(seed: int, after: RandomStates) -> int | None:
    """Counts the numbers that Keras drew since the seed, `None` where a state went on in another way."""
    numpy = np.random.RandomState(seed).get_state(legacy=False)["state"]
    if numpy["pos"] != after.numpy["pos"] or not np.array_equal(numpy["key"], after.numpy["key"]):
        return None
    state = random.Random(seed)
    for count in range(_MOST):
        if state.getstate() == after.python:
            return count
        state.randint(1, _HIGHEST)
    return None


def _numbers(seed: int, count: int) -> list[int]:
    state = random.Random(seed)
    return [state.randint(1, _HIGHEST) for _ in range(count)]


def _is_first_value(variable: keras.Variable, initializer: Initializer) -> bool:
    value, first = variable.value, initializer(variable.shape, dtype=variable.dtype)
    return np.array_equal(*(keras.ops.convert_to_numpy(tensor) for tensor in (value, first)))


def _number(variable: keras.Variable, initializer: Initializer) -> int | None:
    """Returns the number that an initializer or a random layer of Keras was given as its seed."""
    if _is_of_keras(initializer):
        seed = getattr(initializer, "seed", None)
        return seed if isinstance(seed, int) else None
    if variable.name == "seed_generator_state":
        return int(keras.ops.convert_to_numpy(variable.value)[0])
    return None


def _is_of_keras(initializer: Initializer) -> bool:
    return isinstance(initializer, keras.initializers.Initializer) and type(initializer).__module__.startswith("keras.")


def _follower(variable: keras.Variable, initializer: Any, place: int) -> Callable[[Sequence[int]], Any]:
    def value(numbers: Sequence[int]) -> Any:
        if not _is_of_keras(initializer):
            return np.array([numbers[place], 0], variable.dtype)
        own = copy.copy(initializer)
        own.seed = numbers[place]
        return own(variable.shape, dtype=variable.dtype)

    return value
