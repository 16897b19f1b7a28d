"""Divides each batch of `fit` among this machine's devices, by Keras' own distribution API."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras

from kerasdl.errors import UserError
from kerasdl.train.backends.substitution import Substitution


def devices() -> list[str]:
    """Returns the devices that batches can be divided among, such as `["gpu:0", "gpu:1"]`."""
    return list(keras.distribution.list_devices()) if keras.backend.backend() == "jax" else []


def check_devices() -> None:
    """Looks whether batches can be divided here.

    Raises:
        UserError: This backend cannot, or there is one device.
    """
    backend = keras.backend.backend()
    if backend != "jax":
        raise UserError(
            f"data_parallel: Keras divides batches on JAX alone, and this is {backend}; set KERAS_BACKEND=jax"
        )
    if len(devices()) < 2:
        raise UserError(f"data_parallel: there is one device here, {devices()[0]}; leave data_parallel out")


@contextmanager
def divided(active: bool) -> Iterator[None]:
    """Builds and trains models on all devices within a `with` statement: weights on each, and a share of each batch.

    Args:
        active: Whether to; nothing changes otherwise.
    """
    if not active:
        yield
        return
    layouts = _layouts()
    with _whole().scope(), layouts.by({"_distribute_data": _each_as_it_is}):
        yield


@functools.cache
def _layouts() -> Substitution:
    from keras.src.backend.jax import trainer

    return Substitution(trainer, "_distribute_data")


def _each_as_it_is(data: Any, layouts: Any = None) -> Any:
    """As Keras' own, which lays every batch of an epoch out as the first, and fails where the last has fewer rows."""
    distribution = keras.distribution.distribution()

    def place(part: Any) -> Any:
        if part is None:
            return None
        return keras.distribution.distribute_tensor(part, distribution.get_data_layout(part.shape))

    return keras.tree.map_structure(place, data)


def _whole() -> Any:
    class Shares(keras.distribution.DataParallel):
        """Gives every device all of a batch that cannot be cut into equal shares."""

        def get_data_layout(self, data_shape: Any) -> Any:
            layout = super().get_data_layout(data_shape)
            if data_shape and data_shape[0] % self.device_mesh.devices.size == 0:
                return layout
            return keras.distribution.TensorLayout([None] * len(data_shape), layout.device_mesh)

    return Shares(devices=devices(), auto_shard_dataset=False)
