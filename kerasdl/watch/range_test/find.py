"""Finds learning rates that are worth trying."""

import math
import warnings
from typing import Any

import keras
import numpy as np

from kerasdl.errors import UserError
from kerasdl.watch.random_states import random_states
from kerasdl.watch.range_test.batches import fit_arguments
from kerasdl.watch.range_test.result import RangeTest
from kerasdl.watch.range_test.suggestions import LEAST_POINTS, readable, suggest
from kerasdl.watch.range_test.sweep import Sweep
from kerasdl.watch.range_test.untouched import untouched

LEAST_STEPS = 20


def find_learning_rate(
    model: keras.Model,
    data: Any,
    *,
    batch_size: int | None = None,
    start: float = 1e-7,
    end: float = 10.0,
    steps: int = 100,
    smoothing: float = 0.98,
    stop_factor: float = 4.0,
    seed: int = 0,
) -> RangeTest:
    """Runs a learning rate range test: trains some batches while the learning rate rises from tiny to huge.

    Batch `i` (0 is the first) is trained with `start * (end / start) ** (i / (steps - 1))`. The loss is smoothed by
    `average = smoothing * average + (1 - smoothing) * loss`, divided by `1 - smoothing ** (i + 1)`. The suggestions
    leave out the first tenth of the steps and the last five. Afterwards weights, metrics, the optimizer's state and its
    learning rate or schedule, and random states are what they were, also when the test is interrupted or fails.

    The test is L. N. Smith's (https://arxiv.org/abs/1506.01186, section 3.3); exponential steps, smoothing, where to
    stop and the rules `steepest`, `valley` and `minimum / 10` are those of fastai's `lr_find`. `steepest` looks at
    single steps, so a noisy batch may mislead it; `valley` looks at the whole fall.

    Args:
        model: A compiled model; one that has no weights yet gets its first ones.
        data: `(x, y)` or `(x, y, sample_weight)` arrays, a kerasdl `Dataset` (its training rows), or whatever else
            `fit` takes: a `PyDataset`, a `tf.data.Dataset`, a torch `DataLoader`, a generator. Data that end are gone
            through again; a generator cannot be.
        batch_size: Rows in a batch of arrays; 32 by default, as in `fit`.
        start: The first learning rate.
        end: The last learning rate.
        steps: How many batches to train, at least 20.
        smoothing: Weight of the past in the moving average, from 0 to below 1.
        stop_factor: The test ends when the smoothed loss is this many times its least value.
        seed: Draws the order of arrays.

    Returns:
        Rates, losses and suggestions; `print` shows the suggestions, `.figure("rates.png")` draws the curve.

    Raises:
        UserError: Model, data or a number cannot be used, or too few batches were trained to suggest anything.

    Example:

    ```python
    found = find_learning_rate(model, (x, y), batch_size=64)
    model.optimizer.learning_rate = found.suggestions["valley"]
    ```
    """
    rates = _planned(start, end, steps)
    _check_shares(smoothing, stop_factor)
    arguments = fit_arguments(data, batch_size, seed)
    sweep = Sweep(rates, smoothing, stop_factor)
    with random_states() as restore:
        _make_ready(model, arguments)
        # What Keras builds at the start of a first `fit` draws too: the test is the same whether it was built before.
        begin = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: restore())
        with untouched(model), warnings.catch_warnings():
            # A generator that ends is answered below, in words that say what to do.
            warnings.filterwarnings("ignore", message="Your input ran out of data")
            sweep.prepare(model)
            model.fit(**{"epochs": steps, **arguments}, verbose=0, callbacks=[begin, sweep])
    return _result(sweep, steps, start)


def _planned(start: float, end: float, steps: int) -> np.ndarray:
    for name, value in (("start", start), ("end", end)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise UserError(f"{name}: {value!r} is not a learning rate; give a number above 0")
    if start >= end:
        raise UserError(f"start ({start:g}) must be below end ({end:g}); exchange them")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < LEAST_STEPS:
        raise UserError(f"steps: {steps!r} is not a whole number of at least {LEAST_STEPS}; 100 is usual")
    return np.geomspace(start, end, steps)


def _check_shares(smoothing: float, stop_factor: float) -> None:
    if not 0 <= smoothing < 1:
        raise UserError(f"smoothing: {smoothing!r} is not between 0 and 1 (1 excluded); 0.98 is usual")
    if not stop_factor > 1:
        raise UserError(f"stop_factor: {stop_factor!r} is not above 1; 4 is usual, float('inf') never stops")


def _make_ready(model: keras.Model, arguments: dict[str, Any]) -> None:
    """Has the model's and the optimizer's variables made, so that they can be given back."""
    if not isinstance(model, keras.Model):
        raise UserError(f"model: a {type(model).__name__} is no Keras model; give a compiled keras.Model")
    if not model.compiled or model.optimizer is None:
        raise UserError(f"model {model.name!r} is not compiled; call model.compile(optimizer, loss) first")
    if not model.built or not all(layer.built for layer in model._flatten_layers()):
        model.evaluate(x=arguments["x"], steps=1, verbose=0)
        model.reset_metrics()
    if not model.trainable_variables:
        raise UserError(f"model {model.name!r} has no trainable weights; no learning rate changes it")
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _result(sweep: Sweep, steps: int, start: float) -> RangeTest:
    taken = len(sweep.losses)
    part = readable(taken, steps)
    if taken == 0 and sweep.ending:
        raise UserError("the loss of the first batch is not finite, whatever the learning rate; look at data and model")
    if not sweep.ending:
        raise UserError(
            f"the data ended after {taken} batches, of {steps} wanted; give data that can be gone through again"
        )
    if part.stop - part.start < LEAST_POINTS:
        raise UserError(
            f"the loss diverged after {taken} batches, at learning rate {sweep.rates[-1]:.1e}: too few to suggest one; "
            f"give a start far below {start:g}"
        )
    rates, losses, smoothed = (np.array(values) for values in (sweep.rates, sweep.losses, sweep.smoothed))
    return RangeTest(rates, losses, smoothed, suggest(rates[part], smoothed[part]), sweep.ending)
