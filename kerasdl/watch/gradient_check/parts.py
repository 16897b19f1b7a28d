"""The parts of a model's loss as functions of its parameters, and their gradients by the backend."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdl.train.backends import current_backend

Tensors = list[Any]

# Which of the two numbers below each part is made of: the loss that training lowers, and the regularization in it.
PARTS = {"total": (1, 0), "data": (1, -1), "regularization": (0, 1)}


class LossParts:
    """The loss of one batch, for any values of the parameters, without side effects.

    Args:
        model: A built and compiled model.
        batch: `x`, `y` and sample weights, tensors or structures of them, or `None`.
        training: Whether layers are called as in training.
        seed: The random state of torch, from which its dropout draws; Keras' own is held by the model's variables.

    Attributes:
        trainable: The parameters' variables.
        regularized: Whether there is any regularization; known once the loss has been computed.
    """

    def __init__(self, model: keras.Model, batch: tuple[Any, Any, Any], training: bool, seed: int) -> None:
        self._model, self._training, self._seed = model, training, seed
        self._x, self._y, self._sample_weight = batch
        self.trainable = list(model.trainable_variables)
        self._others = [
            (variable, keras.ops.convert_to_tensor(_host(variable), dtype=variable.dtype))
            for variable in model.non_trainable_variables
        ]
        self._backend = current_backend()
        self.regularized = False
        # A model that is run eagerly may do what no program can.
        compiles = keras.backend.backend() == "jax" and not model.run_eagerly
        self._program = self._backend.compiled(self._losses) if compiles else self._losses
        self._compiled: Callable[..., Any] = self._backend.compiled if compiles else lambda function: function

    def values(self) -> list[np.ndarray]:
        """Returns the parameters as they are, float64."""
        return [_host(variable).astype("float64") for variable in self.trainable]

    def __call__(self, tensors: Tensors) -> np.ndarray:
        """Returns the loss and the regularization in it, float64, `(2,)`.

        Args:
            tensors: One for each trainable variable, float64.
        """
        return np.array([float(keras.ops.convert_to_numpy(loss)) for loss in self._program(tensors)])

    def gradients(self, tensors: Tensors) -> list[np.ndarray]:
        """Returns the gradients of the loss and of the regularization, `(2, *shape)` for each trainable variable."""
        of_each = [self._gradient(number, tensors) for number in (0, 1)]
        return [np.stack(pair) for pair in zip(*of_each, strict=True)]

    def _gradient(self, number: int, tensors: Tensors) -> list[np.ndarray]:
        differentiate = _backward if keras.backend.backend() == "torch" else self._differentiate
        found = differentiate(lambda tensors: self._losses(tensors)[number], tensors)
        return [np.array(keras.ops.convert_to_numpy(gradient), dtype="float64") for gradient in found]

    def _differentiate(self, function: Callable[[Tensors], Any], tensors: Tensors) -> Tensors:
        with_gradients = self._backend.value_and_grad(lambda tensors: (function(tensors), ()))
        return self._compiled(lambda tensors: with_gradients(tensors)[1])(tensors)

    def _losses(self, tensors: Tensors) -> tuple[Any, Any]:
        if keras.backend.backend() == "torch":
            self._backend.set_seed(self._seed)
        model, training = self._model, {"training": self._training} if self._model._call_has_training_arg else {}
        mapping = [*zip(self.trainable, tensors, strict=True), *self._others]
        try:
            with keras.StatelessScope(mapping, collect_losses=True):
                predictions = model(self._x, **training)
                total = model._compute_loss(
                    x=self._x, y=self._y, y_pred=predictions, sample_weight=self._sample_weight, training=self._training
                )
                added = model.losses
                self.regularized = bool(added)
                return total, sum((keras.ops.sum(loss) for loss in added), keras.ops.zeros(()))
        finally:
            # A loss of this call that stayed with its layer would be found by the next.
            model._clear_losses()


def _backward(function: Callable[[Tensors], Any], tensors: Tensors) -> Tensors:
    """Differentiates as torch's training does.

    `torch.func` would know nothing of an `autograd.Function` without `setup_context`, which Keras' own
    `custom_gradient` is.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    loss = function(leaves)
    if loss.requires_grad:
        loss.backward()
    return [keras.ops.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves]


def of_part(part: str, pair: np.ndarray) -> np.ndarray:
    """Returns a part's share of a pair of losses or of gradients (the first axis)."""
    share = PARTS[part]
    return share[0] * pair[0] + share[1] * pair[1]


def parts_of(model: keras.Model, regularized: bool) -> tuple[str, ...]:
    """Returns the parts that a model's loss has."""
    # Whoever computes the loss alone may weigh the regularization as they like.
    return tuple(PARTS) if regularized and not computes_own_loss(model) else ("total",)


def computes_own_loss(model: keras.Model) -> bool:
    """Whether a model's class has a `compute_loss` of its own."""
    return bool(type(model).compute_loss is not keras.Model.compute_loss)


def _host(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable.value))
