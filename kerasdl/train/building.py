"""Builds a trial's model, the same in every process."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
from keras.src.backend.common import global_state

from kerasdl.train.backends import set_seed
from kerasdl.train.trial import Trial


def build(trial: Trial) -> keras.Model:
    """Builds a trial's model with every random state set by the trial's seed, and layers named as in a new process.

    Raises:
        TypeError: What was built is no compiled Keras model.
    """
    set_seed(trial.seed)
    with _first_names():
        model = trial.build()
    if not isinstance(model, keras.Model) or not model.compiled:
        raise TypeError(f"the builder gave {type(model).__name__}, not a compiled keras.Model")
    return model


@contextmanager
def _first_names() -> Iterator[None]:
    """Lets Keras count the names that it gives to layers from the start, and afterwards go on where it was."""
    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)
