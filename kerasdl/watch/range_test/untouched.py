"""Gives a model back as it was, whatever happens in between."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

# What `fit` leaves on a model beside its variables.
_ATTRIBUTES = ("history", "stop_training", "steps_per_execution", "train_function")
_ABSENT = object()


@contextmanager
def untouched(model: keras.Model) -> Iterator[None]:
    """Restores a model's weights, its metrics, its optimizer and what `fit` leaves on it, also after an error.

    Args:
        model: A compiled model; it and its optimizer are built.
    """
    variables = {id(one): one for one in (*model.variables, *model.metrics_variables, *model.optimizer.variables)}
    values = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables.values()]
    attributes = {name: getattr(model, name, _ABSENT) for name in _ATTRIBUTES}
    schedule = _schedule(model.optimizer)
    # Keras' models are torch modules there, which know of themselves whether they train.
    training = model.training if keras.backend.backend() == "torch" else None
    try:
        yield
    finally:
        if getattr(model, "_jax_state", None):
            # An interrupted step may have left values here that would be put back over those restored now.
            model._jax_state = None
        for variable, value in zip(variables.values(), values, strict=True):
            variable.assign(value)
        for name, attribute in attributes.items():
            if attribute is not _ABSENT:
                setattr(model, name, attribute)
            elif hasattr(model, name):
                delattr(model, name)
        if schedule is not None:
            model.optimizer.learning_rate = schedule
        if training is not None:
            model.train(training)


def _schedule(optimizer: keras.Optimizer) -> Any:
    """Returns the schedule or function that an optimizer takes its learning rate from, `None` where it is a number."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return None if isinstance(inner._learning_rate, keras.Variable) else inner._learning_rate
