"""Keras' optimizers as pure functions of one member's state."""

from typing import Any

import keras
import numpy as np

# Each updates every number by itself, so that all of a model's variables may be stepped as one long one: a dozen
# operations a step instead of a dozen for each variable.
ELEMENTWISE = (
    keras.optimizers.SGD,
    keras.optimizers.Adam,
    keras.optimizers.AdamW,
    keras.optimizers.RMSprop,
    keras.optimizers.Adagrad,
    keras.optimizers.Adadelta,
    keras.optimizers.Adamax,
    keras.optimizers.Nadam,
    keras.optimizers.Ftrl,
    keras.optimizers.Lion,
)

Tensors = list[Any]


class OptimizerProgram:
    """One optimizer's step on one member, without side effects.

    Where the optimizer treats every number by itself, the member's trainable variables travel as one flat tensor.

    Args:
        model: A built and compiled model; its own optimizer is not touched.
    """

    def __init__(self, model: keras.Model) -> None:
        self._optimizer = type(model.optimizer).from_config(model.optimizer.get_config())
        self._shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.flat = _can_be_flat(model)
        if self.flat:
            total = np.zeros(sum(self._sizes), dtype="float32")
            self.targets = [keras.Variable(total, name="flat")]
        else:
            self.targets = list(model.trainable_variables)
        self._make_pure()
        self._optimizer.build(self.targets)
        self.variables = list(self._optimizer.variables)

    def _make_pure(self) -> None:
        # TensorFlow's optimizers know and assign tf.Variables, and torch's step all variables by in-place `_foreach`
        # operations; Keras' own base does both through `Variable.assign`, which a StatelessScope can follow.
        optimizer = self._optimizer

        def update_all(gradients: Tensors, variables: list[keras.Variable], learning_rate: Any) -> None:
            for gradient, variable in zip(gradients, variables, strict=True):
                optimizer.update_step(gradient, variable, learning_rate)

        object.__setattr__(optimizer, "_var_key", id)
        object.__setattr__(optimizer, "_backend_update_step", update_all)
        object.__setattr__(optimizer, "assign", lambda variable, value: variable.assign(value))
        object.__setattr__(optimizer, "assign_add", lambda variable, value: variable.assign(variable + value))
        object.__setattr__(optimizer, "assign_sub", lambda variable, value: variable.assign(variable - value))

    def pack(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Turns the values of the trainable variables into what travels through the program."""
        if not self.flat:
            return values
        return [np.concatenate([value.reshape(-1) for value in values]) if values else np.zeros(0, "float32")]

    def unpack(self, tensors: Tensors) -> Tensors:
        """Turns what travels through the program into tensors shaped as the trainable variables."""
        if not self.flat:
            return tensors
        ends = np.cumsum(self._sizes)[:-1].tolist()
        pieces = keras.ops.split(tensors[0], ends) if ends else [tensors[0]]
        return [keras.ops.reshape(piece, shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def unpack_host(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """`unpack` for NumPy arrays of one member."""
        if not self.flat:
            return values
        pieces = np.split(values[0], np.cumsum(self._sizes)[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def apply(self, state: Tensors, gradients: Tensors, tensors: Tensors) -> tuple[Tensors, Tensors]:
        """Takes one step.

        Args:
            state: The optimizer's variables.
            gradients: One for each trainable variable.
            tensors: What travels for the trainable variables.

        Returns:
            The trainable tensors and the optimizer's variables after the step.
        """
        if self.flat:
            # Clipping by a variable's norm needs the variables apart.
            gradients = self._optimizer._clip_gradients(gradients)
            gradients = [keras.ops.concatenate([keras.ops.reshape(gradient, (-1,)) for gradient in gradients])]
        mapping = [*zip(self.targets, tensors, strict=True), *zip(self.variables, state, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            self._step(gradients)
        return current(scope, self.targets, tensors), current(scope, self.variables, state)

    def _step(self, gradients: Tensors) -> None:
        if not self.flat:
            self._optimizer.apply(gradients, self.targets)
            return
        clipping = {name: getattr(self._optimizer, name) for name in ("clipnorm", "global_clipnorm", "clipvalue")}
        for name in clipping:
            setattr(self._optimizer, name, None)
        try:
            self._optimizer.apply(gradients, self.targets)
        finally:
            for name, value in clipping.items():
                setattr(self._optimizer, name, value)


def current(scope: keras.StatelessScope, variables: list[keras.Variable], before: Tensors) -> Tensors:
    """Returns the variables' values at the end of a scope: those before it where it did not change them."""
    values = [scope.get_current_value(variable) for variable in variables]
    return [old if new is None else new for new, old in zip(values, before, strict=True)]


def _can_be_flat(model: keras.Model) -> bool:
    optimizer = model.optimizer
    variables = model.trainable_variables
    return (
        bool(variables)
        and any(type(optimizer) is kind for kind in ELEMENTWISE)
        and not getattr(optimizer, "_exclude_from_weight_decay", None)
        and optimizer.gradient_accumulation_steps is None
        and all(variable.constraint is None and variable.dtype == "float32" for variable in variables)
        and not any(getattr(variable, "overwrite_with_gradient", False) for variable in variables)
    )
