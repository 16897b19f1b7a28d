"""Listens to what passes through an optimizer: the one place that sees gradients on every backend."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
from keras import ops

Tensor = Any


class Update(NamedTuple):
    """One step as the optimizer saw it, for the variables that are listened for, in their order."""

    gradients: list[Tensor | None]
    old: list[Tensor]
    new: list[Tensor]
    moved: Tensor | None
    """Whether this step changed weights at all; `None` where every step does."""


@contextmanager
def heard_apply(
    optimizer: keras.Optimizer,
    listened: Callable[[], Sequence[keras.Variable]],
    copies: Callable[[Sequence[Tensor]], list[Tensor]],
    hear: Callable[[Update], None],
) -> Iterator[None]:
    """Calls `hear` at every `optimizer.apply` inside the context, on backends where that assigns to variables.

    Args:
        optimizer: The optimizer of a model; its `apply` is replaced on the instance and given back.
        listened: Returns the variables to listen for; asked at each step, since a first step may build them.
        copies: Copies tensors that the step will overwrite.
        hear: Told of each step after it.
    """
    original = optimizer.apply

    def apply(grads: Sequence[Tensor | None], trainable_variables: Any = None) -> Any:
        grads = list(grads)
        variables = list(optimizer._trainable_variables if trainable_variables is None else trainable_variables)
        given = {id(variable): gradient for variable, gradient in zip(variables, grads, strict=True)}
        own = listened()
        scale = _loss_scale(optimizer)
        count = _update_count(optimizer)
        gradients = [_unscaled(given.get(id(variable)), scale) for variable in own]
        before = None if count is None else ops.copy(count())
        old = copies([variable.value for variable in own])
        result = original(grads, variables)
        moved = None if count is None else ops.not_equal(count(), before)
        hear(Update(gradients, old, [variable.value for variable in own], moved))
        return result

    with replaced(optimizer, "apply", apply):
        yield


@contextmanager
def heard_stateless_apply(
    model: keras.Model, listened: Sequence[keras.Variable], hear: Callable[[Update], None]
) -> Iterator[None]:
    """Calls `hear` at every `optimizer.stateless_apply` inside the context, on backends where steps are functions.

    Args:
        model: The model that trains; its optimizer's `stateless_apply` is replaced on the instance and given back.
        listened: The variables to listen for.
        hear: Told of each step after it.
    """
    optimizer = model.optimizer
    original = optimizer.stateless_apply

    def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        place = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
        own = [place[id(variable)] for variable in listened]
        count = _update_count(optimizer)
        result = new, new_optimizer = original(optimizer_variables, grads, trainable_variables)
        with _with_values(optimizer, optimizer_variables):
            scale = _loss_scale(optimizer)
            gradients = [_unscaled(grads[index], scale) for index in own]
            before = None if count is None else ops.convert_to_tensor(count())
        moved = None
        if count is not None:
            with _with_values(optimizer, new_optimizer):
                moved = ops.not_equal(count(), before)
        hear(Update(gradients, [trainable_variables[index] for index in own], [new[index] for index in own], moved))
        return result

    with replaced(optimizer, "stateless_apply", stateless_apply):
        yield


@contextmanager
def replaced(holder: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Replaces a method on an instance for a while, past Keras' and PyTorch's tracking of attributes."""
    own = vars(holder)
    missing = object()
    before = own.get(name, missing)
    own[name] = function
    try:
        yield
    finally:
        if before is missing:
            del own[name]
        else:
            own[name] = before


def dense(gradient: Tensor) -> Tensor:
    """Returns a gradient as one tensor of its weight's shape.

    An embedding has a gradient of a few rows on TensorFlow, a row for each use of it: those of one row add up, and rows
    that are not there are zeros.
    """
    if hasattr(gradient, "dense_shape"):
        return ops.segment_sum(gradient.values, gradient.indices, num_segments=gradient.dense_shape[0])
    return gradient if ops.is_tensor(gradient) else ops.convert_to_tensor(gradient)


def _with_values(optimizer: keras.Optimizer, values: Sequence[Tensor]) -> keras.StatelessScope:
    return keras.StatelessScope(state_mapping=list(zip(optimizer.variables, values, strict=True)))


def _unscaled(gradient: Tensor | None, scale: Tensor | float | None) -> Tensor | None:
    if gradient is None:
        return None
    gradient = dense(gradient)
    return gradient if scale is None else gradient / scale


def _loss_scale(optimizer: keras.Optimizer) -> Tensor | float | None:
    """Returns what the loss was multiplied by before its gradients were taken."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return ops.copy(optimizer.dynamic_scale) if optimizer.built else optimizer.initial_scale
    return optimizer.loss_scale_factor


def _update_count(optimizer: keras.Optimizer) -> Callable[[], Tensor] | None:
    """Returns what counts the steps that move weights, for optimizers that let steps pass without."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return lambda: optimizer.inner_optimizer.iterations
    return (lambda: optimizer.iterations) if optimizer.gradient_accumulation_steps else None
