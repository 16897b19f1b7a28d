"""Builds a trial's model, the same in every process."""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from kerasdl.train.backends import current_backend, set_seed, values
from kerasdl.train.reseeding import Initialized, Reseeding, find_reseeding, initializers_kept, random_states
from kerasdl.train.trial import Trial

# Builders draw from Python's random state, which is one for all threads.
_KERAS = threading.RLock()


def exclusive(function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets no model be built while a function traces one."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with _KERAS:
            return function(*arguments)

    return call


def build(trial: Trial) -> keras.Model:
    """Builds a trial's model with every random state set by the trial's seed, and layers named as in a new process.

    Raises:
        TypeError: What was built is no compiled Keras model.
    """
    model = _made(trial, trial.build)
    if not isinstance(model, keras.Model) or not model.compiled:
        raise TypeError(f"the builder gave {type(model).__name__}, not a compiled keras.Model")
    return model


class LookedAt:
    """Trials' models, each of which is looked at until the next is asked for, and neither trained nor kept.

    Trials that differ in their seeds, or in how their models are compiled, such as in their learning rates, are given
    one model where what a seed settles is known, and proved right with the second seed.
    """

    def __init__(self) -> None:
        self._last: _Built | None = None

    def model(self, trial: Trial) -> keras.Model:
        """Returns a trial's model, as `build` gives it."""
        model = self._remade(trial)
        if model is not None:
            return model
        with building(), initializers_kept() as kept:
            model = build(trial)
            built = _Built(trial.origin, trial.seed, model, kept)
        if self._last is None or not self._last.is_proved_by(built):
            self._last = built
        return model

    def _remade(self, trial: Trial) -> keras.Model | None:
        last, recompile = self._last, trial.recompile
        if last is None or recompile is None or not trial.origin or trial.origin != last.origin:
            return None

        def remake() -> keras.Model | None:
            return recompile(last.model) if last.reseed(trial.seed) else None

        return _made(trial, remake)


class _Built:
    """A model that was just built, whose weights can follow another seed."""

    def __init__(self, origin: str, seed: int, model: keras.Model, kept: Mapping[int, Initialized]) -> None:
        self.origin, self.model = origin, model
        self._seed, self._kept, self._states = seed, kept, random_states()
        self._proved = False

    @cached_property
    def _reseeding(self) -> Reseeding | None:
        return find_reseeding(self.model, self._seed, self._states, self._kept)

    def reseed(self, seed: int) -> bool:
        """Gives the model the weights of another seed, if it is known and proved which."""
        if seed == self._seed:
            return True
        if not self._proved or self._reseeding is None:
            return False
        self._reseeding.reseed(seed)
        self._seed = seed
        return True

    def is_proved_by(self, other: "_Built") -> bool:
        """Says whether the model gets the weights of another that was built with another seed.

        It does not where a builder sets a seed of its own or draws from a backend's random state.
        """
        if not self.origin or self.origin != other.origin or self._reseeding is None:
            return False
        self._reseeding.reseed(other._seed)
        self._seed = other._seed
        own, others = (values(built.model.variables) for built in (self, other))
        self._proved = len(own) == len(others) and all(map(np.array_equal, own, others))
        return self._proved


def _made(trial: Trial, make: Callable[[], Any]) -> Any:
    with building(), _as_in_a_new_process():
        set_seed(trial.seed)
        return make()


@contextmanager
def building() -> Iterator[None]:
    """Lets a builder run while other threads trace models or train them."""
    with _KERAS, _other_threads_kept(), current_backend().quick_variables():
        yield


# What Keras counts its names by, and what it draws from where neither a layer nor a caller has a seed.
_KEPT_BY_KERAS = ("object_name_uids", GLOBAL_SEED_GENERATOR)


@contextmanager
def _as_in_a_new_process() -> Iterator[None]:
    """Lets Keras begin anew to count and to draw, and afterwards go on where it was."""
    before = {name: global_state.get_global_attribute(name) for name in _KEPT_BY_KERAS}
    for name in _KEPT_BY_KERAS:
        global_state.set_global_attribute(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            global_state.set_global_attribute(name, value)


@contextmanager
def _other_threads_kept() -> Iterator[None]:
    """Lets `keras.utils.clear_session` end what Keras keeps of this thread alone.

    Many builders call it, as KerasTuner does before each, while other threads trace models or train them: it would end
    the scopes of the first, and TensorFlow's kernels under the second.
    """
    tracker = global_state.GLOBAL_STATE_TRACKER

    def cleared() -> threading.local:
        vars(tracker).clear()
        return tracker

    parts = {
        "threading": SimpleNamespace(local=cleared),
        "backend": SimpleNamespace(backend=lambda: "no cache to clear"),
    }
    own = {name: getattr(global_state, name) for name in parts}
    settings = global_state.GLOBAL_SETTINGS_TRACKER
    for name, part in parts.items():
        setattr(global_state, name, part)
    try:
        yield
    finally:
        for name, part in own.items():
            setattr(global_state, name, part)
        global_state.GLOBAL_SETTINGS_TRACKER = settings
