"""Checks a model's gradients against finite differences."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from kerasdl.errors import UserError
from kerasdl.train.trial import first_line
from kerasdl.watch.gradient_check.differences import Slope, slopes
from kerasdl.watch.gradient_check.float64 import check_policies, in_float64
from kerasdl.watch.gradient_check.hidden import hidden_entry
from kerasdl.watch.gradient_check.parts import LossParts, computes_own_loss, of_part, parts_of
from kerasdl.watch.gradient_check.result import GradientCheck, ParameterCheck, judge
from kerasdl.watch.gradient_check.sampling import sample
from kerasdl.watch.gradient_check.soundness import check_resolution, loss_here
from kerasdl.watch.random_states import random_states


def check_gradients(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    samples: int = 10,
    training: bool = False,
    seed: int = 0,
) -> GradientCheck:
    """Compares the gradients that the backend computes with central differences, in float64.

    Every parameter tensor is sampled: half of its entries among those with a gradient, the others anywhere, which finds
    gradients that are missing. All entries together are compared along one random direction; where they disagree, the
    entry that is wrong is searched for and compared too. The loss is what training lowers; where it holds
    regularization (penalties on weights or activations, `add_loss`), data loss and regularization are also checked
    apart. Every evaluation draws the same dropout masks and noise. Kinks (ReLU, max pooling, absolute values) are found
    and told apart, see `kerasdl.watch.gradient_check.differences.slopes`. The model is as before afterwards; its
    weights are never written.

    Layers of any class take part where they follow their dtype policy (`self.compute_dtype`), as Keras' own do. Not
    checked can be: layers that cast to float32 inside, quantized ones, `TorchModuleWrapper`, and what a model's own
    `train_step` does to gradients.

    Args:
        model: A compiled model; one that has no weights yet gets its first ones.
        x: The features of a few rows (10 to 100 are plenty), an array or a structure of arrays; whole numbers stay
            whole.
        y: The targets, as for `fit`.
        sample_weight: The weight of each row, as for `fit`.
        samples: How many entries of each tensor are compared one by one.
        training: Whether layers are called as in training (dropout drops, batch normalization uses the batch).
        seed: Draws the entries, and torch's dropout masks.

    Returns:
        A table of relative differences with a verdict each; `print` shows it, `.passed` says it.

    Raises:
        UserError: The model cannot be checked; the message says why and what to do.

    Example:

    ```python
    check = check_gradients(model, x[:32], y[:32], training=True)
    print(check)
    assert check.passed
    ```
    """
    _check_arguments(model, samples)
    with random_states():
        batch = tuple(keras.tree.map_structure(_tensor, part) for part in (x, y, sample_weight))
        compile_loss = _prepared_loss(model, batch)
        notes = check_policies(model)
        with in_float64(model, compile_loss):
            found = _compare(model, LossParts(model, batch, training, seed), samples, training, seed)
    return replace(found, notes=(*notes, *_unjudged(found)))


def _unjudged(found: GradientCheck) -> list[str]:
    names = dict.fromkeys(one.parameter for one in found.parameters if one.verdict == "kinks")
    if not names:
        return []
    return [
        f"the loss has kinks at all sampled entries of {', '.join(names)}, which were not judged; "
        "train a few steps first, or give other rows"
    ]


def _check_arguments(model: Any, samples: int) -> None:
    if not isinstance(model, keras.Model):
        raise UserError(f"model: a {type(model).__name__} is no Keras model; give a compiled keras.Model")
    if not model.compiled:
        raise UserError(f"model {model.name!r} is not compiled; call model.compile(optimizer, loss) first")
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise UserError(f"samples: {samples!r} is not a whole number of at least 1; 10 is usual")


def _tensor(value: Any) -> Any:
    return None if value is None else keras.ops.convert_to_tensor(value)


def _prepared_loss(model: keras.Model, batch: tuple[Any, ...]) -> Any:
    """Builds the model where it was not, and a loss of its own for the check."""
    x, y, sample_weight = batch
    own, copy = model._compile_loss, None
    try:
        if not all(layer.built for layer in model._flatten_layers()):
            model(x)
        with keras.StatelessScope(collect_losses=True):
            predictions = model(x)
            if own is None and not model.losses and not computes_own_loss(model):
                raise UserError(f"model {model.name!r} has no loss; call model.compile(optimizer, loss) first")
        model._clear_losses()
        if own is not None:
            copy = type(own)(own._user_loss, own._user_loss_weights, own.reduction, own.output_names)
            copy.build(y, predictions)
            copy(y, predictions, sample_weight)
    except (TypeError, ValueError, KeyError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"model {model.name!r} cannot take these rows ({first_line(error)}); give x and y as for model.fit"
        ) from error
    if not model.trainable_variables:
        raise UserError(f"model {model.name!r} has no trainable weights; there is no gradient to check")
    return copy


def _compare(model: keras.Model, losses: LossParts, samples: int, training: bool, seed: int) -> GradientCheck:
    values = losses.values()
    tensors = [keras.ops.convert_to_tensor(value) for value in values]
    here = loss_here(model, losses, tensors)
    check_resolution(model, losses, values, here)
    parts = parts_of(model, losses.regularized)
    found: list[ParameterCheck] = []
    for number, (variable, pair) in enumerate(zip(losses.trainable, losses.gradients(tensors), strict=True)):
        generator = np.random.default_rng([seed, number])
        entries = sample(pair[0], samples, generator)
        hidden = None
        if pair[0].size > len(entries):
            along = functools.partial(_slopes_along, losses, parts, values[number], tensors, number)
            hidden = hidden_entry(along, [of_part(part, pair) for part in parts], generator)
            entries += [] if hidden is None or hidden in entries else [hidden]
        measured = [_slopes(losses, parts, values[number], tensors, number, entry) for entry in entries]
        for index, part in enumerate(parts):
            gradient, own = of_part(part, pair), [slopes[index] for slopes in measured]
            if part == "regularization" and not gradient.any() and not any(one.value for one in own):
                continue
            at_entries = np.array([gradient[entry] for entry in entries])
            whole = judge(part, variable.path, entries, at_entries, own)
            if hidden is not None:
                # Among entries with large gradients it would count for little.
                alone = judge(part, variable.path, [hidden], gradient[hidden][None], [own[entries.index(hidden)]])
                if alone.relative_difference > whole.relative_difference:
                    whole = replace(alone, entries=whole.entries, kinks=whole.kinks)
            found.append(whole)
    return GradientCheck(tuple(found), model.name, keras.backend.backend(), training, float(here[0]))


def _slopes(
    losses: LossParts, parts: Sequence[str], value: np.ndarray, tensors: list[Any], number: int, entry: tuple[int, ...]
) -> list[Slope]:
    """Measures the slope of each part of the loss by one entry of one parameter tensor."""

    def at(point: float) -> np.ndarray:
        moved = value.copy()
        moved[entry] = point
        return _parts_at(losses, parts, moved, tensors, number)

    return slopes(at, float(value[entry]))


def _slopes_along(
    losses: LossParts,
    parts: Sequence[str],
    value: np.ndarray,
    tensors: list[Any],
    number: int,
    direction: np.ndarray,
) -> list[Slope]:
    """Measures the slope of each part of the loss along a direction of one parameter tensor."""
    return slopes(lambda length: _parts_at(losses, parts, value + length * direction, tensors, number), 0.0)


def _parts_at(
    losses: LossParts, parts: Sequence[str], value: np.ndarray, tensors: list[Any], number: int
) -> np.ndarray:
    pair = losses([*tensors[:number], keras.ops.convert_to_tensor(value), *tensors[number + 1 :]])
    return np.array([of_part(part, pair) for part in parts])
