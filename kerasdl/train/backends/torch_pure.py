"""What in Keras is no pure function on PyTorch, made one; random layers draw what they draw in `fit`.

Keras seeds a generator anew for each draw from a layer's seed state, or takes PyTorch's own generator where a dropout
layer was given no seed. Neither can be mapped or recorded as it stands; operations that take a state and give a draw
can.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch
from keras.src.backend.torch import nn as keras_nn
from keras.src.backend.torch import random as keras_random
from keras.src.random.seed_generator import SeedGenerator, draw_seed

from kerasdl.train.backends.substitution import Substitution
from kerasdl.train.backends.torch_mapped import is_mapped
from kerasdl.train.backends.torch_normalization import Normalization


@torch.library.custom_op("kerasdl::draw", mutates_args=())
def _draw(kind: str, seed: torch.Tensor, share: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Draws from a generator seeded as Keras seeds it: `seed` is a layer's seed state, `share` that of ones."""
    generator = torch.Generator(device=seed.device)
    generator.manual_seed(int(seed.sum()) & 0xFFFFFFFF)
    if kind == "bernoulli":
        return torch.bernoulli(torch.full(tuple(shape), float(share), device=seed.device), generator=generator)
    make = torch.rand if kind == "uniform" else torch.randn
    return make(tuple(shape), generator=generator, device=seed.device)


@torch.library.custom_op("kerasdl::draw_on", mutates_args=())
def _draw_on(stream: torch.Tensor, share: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws zeros and ones as dropout does from a generator in the state `stream`; gives its state afterwards too."""
    if share.device.type == "cuda":
        return _draw_on_cuda(stream, share, shape)
    generator = torch.Generator(device=share.device)
    # A copy: PyTorch reads a state from the start of its storage, which a member's part of a stack is not.
    generator.set_state(stream.cpu().clone())
    drawn = torch.empty(tuple(shape), device=share.device).bernoulli_(float(share), generator=generator)
    return drawn, generator.get_state().to(stream.device)


def _draw_on_cuda(stream: torch.Tensor, share: torch.Tensor, shape: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """As PyTorch's dropout on CUDA, a kernel of its own that draws from no other generator than the device's."""
    generator = torch.cuda.default_generators[share.device.index or 0]
    before = generator.get_state()
    try:
        generator.set_state(stream.cpu().clone())
        zeros = torch.zeros(tuple(shape), dtype=share.dtype, device=share.device)
        _, kept = torch.native_dropout(zeros, 1.0 - float(share), True)
        return kept.to(share.dtype), generator.get_state().to(stream.device)
    finally:
        generator.set_state(before)


@_draw.register_vmap
def _draw_each(info: Any, axes: Any, kind: str, seed: Any, share: Any, shape: Any) -> Any:
    seeds, shares = _members(info, seed, axes[1]), _members(info, share, axes[2])
    drawn = [_draw(kind, own, part, shape) for own, part in zip(seeds, shares, strict=True)]
    return torch.stack(drawn), 0


@_draw_on.register_vmap
def _draw_on_each(info: Any, axes: Any, stream: Any, share: Any, shape: Any) -> Any:
    streams, shares = _members(info, stream, axes[0]), _members(info, share, axes[1])
    pairs = [_draw_on(own, part, shape) for own, part in zip(streams, shares, strict=True)]
    return (torch.stack([drawn for drawn, _ in pairs]), torch.stack([after for _, after in pairs])), (0, 0)


def _members(info: Any, tensor: torch.Tensor, axis: int | None) -> Sequence[torch.Tensor]:
    return [tensor] * info.batch_size if axis is None else tensor.movedim(axis, 0).unbind()


def stream_seed(seed: int, epoch: int) -> int:
    """Returns what PyTorch's own generator is seeded with when an epoch of a trial begins."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, "uint64")[0] >> 1)


def stream(seed: int, epoch: int) -> np.ndarray:
    """Returns the state of that generator, uint8, `(bytes,)`."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.Generator(device=device).manual_seed(stream_seed(seed, epoch)).get_state().numpy()


class Streams:
    """The state of the generator from which layers without a seed draw, one for all layers of a model.

    Args:
        state: A list of the one state.
    """

    def __init__(self, state: list[Any]) -> None:
        self.state = state

    def dropout(self, inputs: Any, rate: Any, noise_shape: Any = None, seed: Any = None) -> Any:
        """As `keras.src.backend.torch.random.dropout`."""
        kept = _tensor(1.0 - rate, inputs)
        shape = keras_random._get_concrete_noise_shape(inputs, noise_shape)
        unseeded = seed is None or (isinstance(seed, SeedGenerator) and seed._initial_seed is None)
        if unseeded and noise_shape is None:
            drawn, after = _draw_on(self.state[0], kept, list(shape))
            self.state = [after]
            return inputs * (drawn.to(inputs.dtype) / kept)
        mask = _draw("bernoulli", draw_seed(seed), kept, list(shape)).bool()
        return torch.where(torch.broadcast_to(mask, inputs.shape), inputs / kept, torch.zeros_like(inputs))

    def uniform(
        self, shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: str | None = None, seed: Any = None
    ) -> Any:
        """As `keras.src.backend.torch.random.uniform`."""
        return (maxval - minval) * self._seeded("uniform", shape, dtype, seed) + minval

    def normal(self, shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: str | None = None, seed: Any = None) -> Any:
        """As `keras.src.backend.torch.random.normal`."""
        return self._seeded("normal", shape, dtype, seed) * stddev + mean

    def _seeded(self, kind: str, shape: Any, dtype: str | None, seed: Any) -> Any:
        drawn = _draw(kind, draw_seed(seed), torch.ones(()), list(shape))
        return drawn.to(keras_random.to_torch_dtype(dtype or keras_random.floatx()))


def _tensor(value: Any, like: torch.Tensor) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=like.dtype, device=like.device)


def _penalty(regularizer: keras.regularizers.L1L2, x: Any) -> Any:
    """As Keras' own, which adds in place to what no member has for itself."""
    return regularizer.l1 * keras.ops.sum(keras.ops.absolute(x)) + regularizer.l2 * keras.ops.sum(keras.ops.square(x))


_arranged = getattr(keras_nn, "_maybe_convert_to_channels_last", None)


def _unarranged(tensor: torch.Tensor) -> torch.Tensor:
    """Leaves a mapped tensor as it is where Keras asks for another layout in memory, which cannot be mapped."""
    return tensor if _arranged is None or is_mapped(tensor) else _arranged(tensor)


_moments, _batch_normalization = keras_nn.moments, keras_nn.batch_normalization
_random = Substitution(keras_random, "dropout", "uniform", "normal")
_normalization = Substitution(keras_nn, "moments", "batch_normalization")
_regularizer = Substitution(keras.regularizers.L1L2, "__call__")
# Versions of Keras that leave the layout of images alone have no such function.
_layout = Substitution(keras_nn, *(["_maybe_convert_to_channels_last"] if _arranged else []))


@contextmanager
def pure(state: list[Any]) -> Iterator[Streams]:
    """Lets Keras' layers run as pure functions; the yielded object holds the state of the generator afterwards."""
    streams = Streams(state)
    draws: dict[str, Callable[..., Any]] = {
        "dropout": streams.dropout,
        "uniform": streams.uniform,
        "normal": streams.normal,
    }
    layout = {"_maybe_convert_to_channels_last": _unarranged}
    normalization = Normalization(_moments, _batch_normalization)
    normalizing: dict[str, Callable[..., Any]] = {
        "moments": normalization.moments,
        "batch_normalization": normalization.batch_normalization,
    }
    with (
        _random.by(draws),
        _regularizer.by({"__call__": _penalty}),
        _layout.by(layout),
        _normalization.by(normalizing),
    ):
        yield streams
