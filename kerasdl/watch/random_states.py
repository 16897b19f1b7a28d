"""Gives the random states of a process back as they were."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common import global_state


@contextmanager
def random_states() -> Iterator[Callable[[], None]]:
    """Restores the random states of Python, of NumPy, of Keras and, where it has been imported, of torch.

    Keras' layers keep theirs in the model's variables, but on torch dropout without a seed draws from torch's own, as
    its data loaders do on any backend. TensorFlow's cannot be read; Keras' layers do not draw from it.

    Yields:
        Restores them now, too.
    """
    torch: Any = sys.modules.get("torch")
    of_python, of_numpy = random.getstate(), np.random.get_state()
    of_torch = torch.get_rng_state() if torch is not None else None
    on_gpus = torch.cuda.get_rng_state_all() if torch is not None and torch.cuda.is_available() else []
    of_keras = global_state.get_global_attribute("global_seed_generator")
    drawn = None if of_keras is None else np.array(keras.ops.convert_to_numpy(of_keras.state.value))

    def restore() -> None:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        if torch is not None:
            torch.set_rng_state(of_torch)
        if on_gpus:
            torch.cuda.set_rng_state_all(on_gpus)
        if of_keras is not None:
            of_keras.state.assign(drawn)
        global_state.set_global_attribute("global_seed_generator", of_keras)

    try:
        yield restore
    finally:
        restore()
