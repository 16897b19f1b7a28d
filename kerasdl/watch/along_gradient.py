"""How a loss behaves along its gradient, and what layers give, at points of training."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.train.member import MemberProgram, State
from kerasdl.watch.forward import outside_loops, seen_calls
from kerasdl.watch.layers import NamedLayer, named_layers
from kerasdl.watch.seam import dense

Tensor = Any

# How far the loss is followed, in learning rates: S. Santurkar, D. Tsipras, A. Ilyas, A. Madry, How Does Batch
# Normalization Help Optimization?, NeurIPS 2018, section 3.
DISTANCES = (0.5, 1.0, 2.0, 4.0)

MEASURES = (
    "training_loss",
    "inference_loss",
    "gradient_norm",
    "loss_variation",
    "gradient_change",
    "effective_smoothness",
)

# What gives back what it is given says nothing of its own.
_SILENT = (keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dropout)


class AlongGradient:
    """Measures one member of a pack on a batch.

    With the loss L of the batch in training mode, its gradient g at the weights w, and the points
    `w - d * learning_rate * g` for the distances `d`:

    - `training_loss`, `inference_loss`: L, and the loss of the same rows in inference mode.
    - `gradient_norm`: norm(g).
    - `loss_variation`: the largest loss of the points less the smallest, w among them.
    - `gradient_change`: the largest norm of the difference between the gradient at a point and g (how far g predicts
      the gradients to come: the smaller, the better).
    - `effective_smoothness`: the largest norm of that difference over the distance gone.
    - `mean/LAYER` and `deviation/LAYER`: mean and standard deviation of all a layer gives in training mode.

    Args:
        model: A model of the members' architecture.
    """

    def __init__(self, model: keras.Model) -> None:
        self._layers: list[NamedLayer] = [
            named
            for named in outside_loops(named_layers(model)[1:])
            if not isinstance(named.layer, _SILENT) and not list(named.layer._flatten_layers(include_self=False))
        ]
        layers = [f"{moment}/{named.name}" for named in self._layers for moment in ("mean", "deviation")]
        self.names: Sequence[str] = [*MEASURES, *layers]

    def __call__(self, program: MemberProgram, state: State, batch: tuple[Any, ...]) -> Tensor:
        """Measures, a pure function.

        Args:
            program: The members' program.
            state: One member's tensors.
            batch: As `MemberProgram.train_step` takes it.

        Returns:
            A float32 tensor `(names,)`.
        """
        parameters = program.optimizer.unpack(state.trainable)
        moments = self._moments(program, state, parameters, batch)

        def at(point: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
            found, gradients = program.loss_and_gradients(state, list(point), batch)
            return found, [dense(one) for one in gradients]

        loss, gradients = at(parameters)
        rate = program.learning_rate(state)
        norm = _norm(gradients)
        losses, changes, smoothness = [loss], [], []
        for distance in DISTANCES:
            length = ops.cast(distance * rate, "float32")
            point = [own - ops.cast(length, own.dtype) * one for own, one in zip(parameters, gradients, strict=True)]
            there, others = at(point)
            change = _norm([after - before for after, before in zip(others, gradients, strict=True)])
            losses.append(there)
            changes.append(change)
            smoothness.append(change / (length * norm))
        spread = ops.max(ops.stack(losses)) - ops.min(ops.stack(losses))
        numbers = [loss, program.loss(state, parameters, batch, training=False), norm, spread]
        numbers += [ops.max(ops.stack(changes)), ops.max(ops.stack(smoothness)), *moments]
        return ops.stack([ops.cast(ops.reshape(number, ()), "float32") for number in numbers])

    def _moments(
        self, program: MemberProgram, state: State, parameters: Sequence[Tensor], batch: tuple[Any, ...]
    ) -> list[Tensor]:
        """Returns the moments of what each layer gives when it is first called in training mode."""
        found: dict[str, list[Tensor]] = {}

        def see(named: NamedLayer, call: int, arguments: Any, keywords: Any, outputs: Any) -> None:
            if call == 0:
                parts = [ops.reshape(ops.cast(one, "float32"), (-1,)) for one in keras.tree.flatten(outputs)]
                flat = ops.concatenate(parts)
                found[named.name] = [ops.mean(flat), ops.std(flat)]

        with ExitStack() as stack:
            for named in self._layers:
                stack.enter_context(seen_calls(named, see))
            program.loss(state, list(parameters), batch, training=True)
        missing = [ops.convert_to_tensor(np.float32(np.nan))] * 2
        return [one for named in self._layers for one in found.get(named.name, missing)]


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return ops.sqrt(sum((ops.sum(ops.square(ops.cast(one, "float32"))) for one in tensors), start=ops.zeros(())))
