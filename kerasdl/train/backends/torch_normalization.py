"""Batch normalization by the moments of its rows on PyTorch, with the gradient by its formula.

Keras composes it of small operations, and the gradients of each make twice as many passes over the rows as the formula
needs (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, section 3). Recordings hold the formula's operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from keras.src.backend.torch import nn as keras_nn

from kerasdl.train.backends.torch_mapped import is_mapped


def _moments(x: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the mean and the inverse of the deviation of `(..., rows, features)`, by Keras' operations."""
    rows = [x.ndim - 2]
    mean = torch.mean(x, dim=rows, keepdim=True)
    variance = torch.mean(torch.square(x), dim=rows, keepdim=True) - torch.square(mean)
    return mean, torch.rsqrt(variance + epsilon)


def _normalize(x: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor, epsilon: float) -> torch.Tensor:
    mean, inverse = _moments(x, epsilon)
    return (x - mean) * (inverse * scale.unsqueeze(-2)) + offset.unsqueeze(-2)


def _gradients(
    gradient: torch.Tensor, x: torch.Tensor, scale: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mean, inverse = _moments(x, epsilon)
    rows, centered = x.shape[-2], x - mean
    total = torch.sum(gradient, dim=-2, keepdim=True)
    along = torch.sum(gradient * centered, dim=-2, keepdim=True)
    left = gradient - total / rows - centered * (inverse * inverse * along / rows)
    return left * (inverse * scale.unsqueeze(-2)), total.squeeze(-2), (along * inverse).squeeze(-2)


class _Normalized(torch.autograd.Function):
    @staticmethod
    def forward(x: torch.Tensor, offset: torch.Tensor, scale: torch.Tensor, epsilon: float) -> Any:
        return _normalize(x, offset, scale, epsilon)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, _, scale, context.epsilon = inputs
        context.save_for_backward(x, scale)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> Any:
        x, scale = context.saved_tensors
        return (*_gradients(gradient, x, scale, context.epsilon), None)

    @staticmethod
    def vmap(info: Any, axes: Any, *arguments: Any) -> Any:
        return _normalize(*_stacked(info, axes, arguments)), 0


def _stacked(info: Any, axes: Sequence[int | None], arguments: Sequence[Any]) -> list[Any]:
    """Returns the arguments with the members along the first axis of every tensor."""

    def stacked(argument: Any, axis: int | None) -> Any:
        if not isinstance(argument, torch.Tensor):
            return argument
        return argument.expand(info.batch_size, *argument.shape) if axis is None else argument.movedim(axis, 0)

    return [stacked(argument, axis) for argument, axis in zip(arguments, axes, strict=True)]


class Normalization:
    """Keras' `moments` and `batch_normalization`, where the second is given what the first found.

    Args:
        moments: Keras' own.
        batch_normalization: Keras' own.
    """

    def __init__(self, moments: Callable[..., Any], batch_normalization: Callable[..., Any]) -> None:
        self._own_moments, self._own_normalization = moments, batch_normalization
        self._found: tuple[Any, Any, Any] | None = None

    def moments(self, x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False) -> Any:
        """As `keras.src.backend.torch.nn.moments`."""
        mean, variance = self._own_moments(x, axes, keepdims=keepdims, synchronized=synchronized)
        of_rows = x.ndim == 2 and x.dtype == torch.float32 and [axis % 2 for axis in axes] == [0] and not keepdims
        self._found = (x, mean, variance) if of_rows else None
        return mean, variance

    def batch_normalization(
        self, x: Any, mean: Any, variance: Any, axis: Any, offset: Any = None, scale: Any = None, epsilon: Any = 1e-3
    ) -> Any:
        """As `keras.src.backend.torch.nn.batch_normalization`."""
        found, self._found = self._found, None
        known = found is not None and all(one is other for one, other in zip(found, (x, mean, variance), strict=True))
        # `torch.func.functionalize` cannot take what is not mapped.
        if known and is_mapped(x) and offset is not None and scale is not None and isinstance(epsilon, float):
            return _Normalized.apply(x, keras_nn.convert_to_tensor(offset), keras_nn.convert_to_tensor(scale), epsilon)
        return self._own_normalization(x, mean, variance, axis, offset=offset, scale=scale, epsilon=epsilon)
