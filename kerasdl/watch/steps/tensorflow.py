"""Recording on TensorFlow."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from kerasdl.watch.fused_norms import of_tensors
from kerasdl.watch.reduction import NORMS
from kerasdl.watch.seam import Update, heard_apply
from kerasdl.watch.steps.compiled import CompiledStep
from kerasdl.watch.steps.recording import Listened, Tensor


class Step(CompiledStep):
    """Keeps the block in a variable, which the compiled step assigns."""

    def __init__(self, model: keras.Model, listened: Listened, every: int) -> None:
        super().__init__(model, listened, every)
        self._block: keras.Variable | None = None

    def _norms(self, gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
        return (of_tensors if self._model.jit_compile else norms)(gradients, old, new)

    def _run(self, *arguments: Any) -> Any:
        assert self._function is not None
        return self._function(*arguments)

    def _make(self) -> Any:
        plain = self._model.train_step

        def step(data: Any) -> Any:
            heard: list[Update] = []
            with heard_apply(self._model.optimizer, self._listened, _copies, heard.append):
                logs = plain(data)
            if heard:
                if self._block is None:
                    block = self._empty_block(len(heard[-1].old))
                    self._block = keras.Variable(block, trainable=False, name="watched")
                # A plain reading copies a variable that is written in place.
                self._written(self._block.value.sparse_read(0), heard[-1], self._write)
            return logs

        return self._made(step)

    def _write(self, places: Tensor, rows: Tensor) -> Tensor:
        assert self._block is not None
        self._block.value.scatter_nd_update(places, rows)
        # Both branches of a condition give something.
        return tf.zeros(())

    def _block_now(self) -> Tensor | None:
        return self._block

    def _replace(self, block: np.ndarray) -> None:
        assert self._block is not None
        self._block.assign(block)


def norms(gradients: Sequence[Tensor], old: Sequence[Tensor], new: Sequence[Tensor]) -> Tensor:
    """Computes the norms in few operations, each of which has its price in graphs without XLA."""
    changes = [after - before for before, after in zip(old, new, strict=True)]
    # Half the sum of squares in one operation.
    halves = [tf.nn.l2_loss(tensor) for tensor in [*gradients, *old, *changes, *map(tf.sign, gradients)]]
    return tf.sqrt(2 * tf.reshape(tf.stack(halves), (NORMS, len(old))))


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [ops.copy(tensor) for tensor in tensors]
