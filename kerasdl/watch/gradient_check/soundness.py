"""Makes sure that finite differences of a model's loss mean something, before any are taken."""

from typing import Any

import keras
import numpy as np

from kerasdl.errors import UserError
from kerasdl.train.trial import first_line
from kerasdl.watch.gradient_check.differences import ROUNDING
from kerasdl.watch.gradient_check.parts import LossParts

# Steps that float64 tells apart and float32 does not, and one that both do.
RESOLVED = (1e-9, 2e-9, 1e-6)

_ATTENTION = ("MultiHeadAttention", "GroupedQueryAttention")


def loss_here(model: keras.Model, losses: LossParts, tensors: list[Any]) -> np.ndarray:
    """Returns the loss and the regularization at the parameters' values.

    Raises:
        UserError: They cannot be computed in float64, are not finite, or change from one evaluation to the next.
    """
    try:
        here = losses(tensors)
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UserError(
            f"model {model.name!r} does not compute in float64 ({first_line(error)}); "
            "a layer of your own must follow self.compute_dtype instead of naming a dtype"
        ) from error
    if not np.isfinite(here).all():
        raise UserError(f"model {model.name!r}: the loss of these rows is not finite ({here[0]}); there is no gradient")
    if not np.array_equal(here, losses(tensors)):
        raise UserError(
            f"model {model.name!r}: two evaluations of the same weights give different losses; let its layers draw "
            "random numbers from a keras.random.SeedGenerator of their own"
        )
    return here


def check_resolution(model: keras.Model, losses: LossParts, values: list[np.ndarray], here: np.ndarray) -> None:
    """Makes sure that the loss follows the tiniest moves, as it does unless something is rounded to float32 inside.

    Raises:
        UserError: It moves in steps.
    """
    generator = np.random.default_rng(0)
    tensors = [keras.ops.convert_to_tensor(value) for value in values]
    for number, (variable, value) in enumerate(zip(losses.trainable, values, strict=True)):
        direction = generator.choice([-1.0, 1.0], size=value.shape)
        moves = []
        for step in RESOLVED:
            tensors[number] = keras.ops.convert_to_tensor(value + step * direction)
            moves.append(float(losses(tensors)[0] - here[0]) / step)
        tensors[number] = keras.ops.convert_to_tensor(value)
        # What a change of sign, a kink in between or rounding may do; rounding to float32 does a hundred times more.
        allowed = 0.3 * max(map(abs, moves)) + 10 * ROUNDING * np.abs(here).sum() / RESOLVED[0]
        if max(moves) - min(moves) > allowed:
            raise UserError(
                f"model {model.name!r} computes in less than float64: its loss moves in steps as {variable.path} "
                f"changes; {_hint(model)}"
            )


def _hint(model: keras.Model) -> str:
    attention = [one.name for one in model._flatten_layers() if type(one).__name__ in _ATTENTION]
    if keras.backend.backend() == "jax" and attention:
        return f"JAX computes the attention of {attention[0]!r} in float32; check the model on torch or TensorFlow"
    return "a layer or loss of your own must not cast to float32 but follow self.compute_dtype"
