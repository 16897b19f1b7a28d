"""Depthwise convolutions on a processor, as sums of shifted products.

XLA has no quick path for convolutions of one channel each there: a 3 x 3 one over 40 maps of 32 x 32 x 32 took 80 ms on
two cores, and the same nine products and sums, which XLA makes one loop of, 1.2 ms. It maps over members, too.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
from keras.src.backend.jax import nn

from kerasdl.train.backends.substitution import Substitution

# With more taps than these the sum is too long a program.
MOST_TAPS = 49

_original = nn.depthwise_conv
_keras = Substitution(nn, "depthwise_conv")


def on_processor() -> AbstractContextManager[None]:
    """Lets Keras' layers compute so within a `with` statement, where JAX computes on a processor."""
    if jax.default_backend() != "cpu":
        return nullcontext()
    return _keras.by({"depthwise_conv": depthwise_conv})


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: int | Sequence[int] = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: int | Sequence[int] = 1,
) -> Any:
    """Computes what `keras.ops.depthwise_conv` does, float for float but for the order of sums.

    Args:
        inputs: `(batch, height, width, channels)`; other ranks and orders of axes are left to Keras.
        kernel: `(height, width, channels, 1)`; with more outputs of a channel it is left to Keras.
        strides: Steps along height and width.
        padding: `"valid"` or `"same"`.
        data_format: As in Keras.
        dilation_rate: Distances of taps along height and width.

    Returns:
        `(batch, new height, new width, channels)`.
    """
    plain = jnp.ndim(inputs) == 4 and (data_format or keras.config.image_data_format()) == "channels_last"
    taps = kernel.shape[0] * kernel.shape[1]
    if not plain or kernel.shape[-1] != 1 or taps > MOST_TAPS:
        return _original(inputs, kernel, strides, padding, data_format, dilation_rate)
    axes = [
        _Axis(size, taps, step, apart, same=padding == "same")
        for size, taps, step, apart in zip(
            inputs.shape[1:3], kernel.shape[:2], _pair(strides), _pair(dilation_rate), strict=True
        )
    ]
    padded = jnp.pad(inputs, ((0, 0), *(axis.padding for axis in axes), (0, 0)))
    rows, columns = axes
    total = 0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total = total + padded[:, rows.shifted(i), columns.shifted(j)] * kernel[i, j, :, 0]
    return total


class _Axis:
    """Height or width: its padding (as XLA pads), and what each tap of the kernel sees of it."""

    def __init__(self, size: int, taps: int, step: int, apart: int, *, same: bool) -> None:
        reach = (taps - 1) * apart + 1
        length = -(-size // step) if same else -(-(size - reach + 1) // step)
        missing = max((length - 1) * step + reach - size, 0) if same else 0
        self.padding = (missing // 2, missing - missing // 2)
        self._step, self._apart, self._end = step, apart, (length - 1) * step + 1

    def shifted(self, tap: int) -> slice:
        start = tap * self._apart
        return slice(start, start + self._end, self._step)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
