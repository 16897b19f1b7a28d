"""Recording on JAX."""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.watch.seam import Update, heard_stateless_apply, replaced
from kerasdl.watch.steps.compiled import CompiledStep
from kerasdl.watch.steps.recording import Listened, Tensor


class Step(CompiledStep):
    """Hands the block to the step and takes it back, as Keras does with the model's own state."""

    def __init__(self, model: keras.Model, listened: Listened, every: int) -> None:
        super().__init__(model, listened, every)
        self._block: Tensor | None = None

    def _run(self, state: tuple[Any, ...], iterator: Any) -> Any:
        assert self._function is not None
        if self._block is None:
            self._replace(self._empty_block(len(self._listened())))
        logs, (*new, self._block) = self._function((*state, self._block), iterator)
        return logs, tuple(new)

    def _make(self) -> Any:
        plain = self._model.train_step

        def step(state: tuple[Any, ...], data: Any) -> Any:
            *plain_state, block = state
            heard: list[Update] = []
            with heard_stateless_apply(self._model, self._listened(), heard.append):
                logs, new = plain(tuple(plain_state), data)
            if heard:
                block = self._written(block[0], heard[-1], functools.partial(ops.scatter_update, block))
            return logs, (*new, block)

        def shardings() -> tuple[Any, ...]:
            return (*type(self._model)._get_state_sharding_spec(self._model), None)

        with replaced(self._model, "_get_state_sharding_spec", shardings):
            return self._made(step)

    def _block_now(self) -> Tensor | None:
        return self._block

    def _replace(self, block: np.ndarray) -> None:
        self._block = ops.convert_to_tensor(block)
