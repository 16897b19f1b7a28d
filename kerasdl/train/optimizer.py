"""Keras' optimizers as pure functions of one member's state."""

from types import MethodType
from typing import Any

import keras
import numpy as np

from kerasdl.train import numbers
from kerasdl.train.backends import current_backend
from kerasdl.train.body import Segment, joined, shorten, starts_of

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

# What the base classes of Keras' backends override.
_OVERRIDDEN = (
    "assign",
    "assign_add",
    "assign_sub",
    "_var_key",
    "_apply_weight_decay",
    "_backend_update_step",
    "_backend_reset_gradient_accumulators",
    "_backend_increment_gradient_accumulators",
)

_CLIPPING = ("clipnorm", "global_clipnorm", "clipvalue")

Tensors = list[Any]


class OptimizerProgram:
    """One optimizer's step on one member, without side effects.

    Where the optimizer treats every number by itself, the member's trainable variables travel as one flat tensor.

    Args:
        model: A built and compiled model; its own optimizer is not touched.
    """

    def __init__(self, model: keras.Model) -> None:
        optimizer = numbers.unscaled(model.optimizer)
        self._loss_scale = None if optimizer is model.optimizer else model.optimizer
        self._optimizer = type(optimizer).from_config(optimizer.get_config())
        self._shapes = [tuple(variable.shape) for variable in model.trainable_variables]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self.flat = _can_be_flat(model, optimizer)
        if self.flat:
            total = np.zeros(sum(self._sizes), dtype="float32")
            self.targets = [keras.Variable(total, name="flat")]
        else:
            self.targets = list(model.trainable_variables)
        self._make_pure()
        starts = starts_of(optimizer, model.trainable_variables)
        if starts is not None:
            self._slow_body(optimizer.body_rate, starts)
        self._optimizer.build(self.targets)
        self._own = list(self._optimizer.variables)
        self.variables = [*self._own, *self._scale_variables()]
        self._numbers = numbers.of_optimizer(self._optimizer)

    def _make_pure(self) -> None:
        """Gives the optimizer the methods of Keras' backend-free base class.

        TensorFlow's optimizers know and assign tf.Variables and torch's step all variables by in-place `_foreach`
        operations, which neither a StatelessScope nor a vectorizer can follow; JAX' are pure already.
        """
        optimizer = self._optimizer
        if optimizer.gradient_accumulation_steps:
            object.__setattr__(optimizer, "_backend_apply_gradients", MethodType(_accumulate, optimizer))
        if keras.backend.backend() == "jax":
            return
        base = next(kind for kind in type(optimizer).__mro__ if kind.__name__ == "BaseOptimizer")
        for name in _OVERRIDDEN:
            object.__setattr__(optimizer, name, MethodType(getattr(base, name), optimizer))
        if isinstance(optimizer, keras.optimizers.Nadam):
            object.__setattr__(optimizer, "_backend_update_step", MethodType(_nadam_update_step, optimizer))

    def _slow_body(self, rate: float, starts: list[int | None]) -> None:
        segments = [Segment(size, start) for size, start in zip(self._sizes, starts, strict=True)]
        if self.flat:
            shorten(self._optimizer, rate, {id(self.targets[0]): joined(segments)})
            return
        pairs = zip(self.targets, segments, strict=True)
        slow = {id(target): [segment] for target, segment in pairs if segment.start is not None}
        shorten(self._optimizer, rate, slow)

    def _scale_variables(self) -> list[keras.Variable]:
        if self._loss_scale is None:
            return []
        return [
            keras.Variable(0, dtype="int32", trainable=False, name="step_counter"),
            keras.Variable(self._loss_scale.initial_scale, dtype="float32", trainable=False, name="dynamic_scale"),
        ]

    def scaled(self, loss: Any, state: Tensors) -> Any:
        """Returns a loss as it is differentiated: scaled, where half precision would lose small gradients."""
        if self._loss_scale is not None:
            return loss * state[-1]
        return self._optimizer.scale_loss(loss)

    def scale(self, state: Tensors) -> Any:
        """Returns what `scaled` multiplies by; `None` where it does not."""
        return state[-1] if self._loss_scale is not None else self._optimizer.loss_scale_factor

    def moved(self, before: Tensors, after: Tensors) -> Any:
        """Tells whether a step changed weights, a boolean scalar; `None` where every step does."""
        steps = self._optimizer.gradient_accumulation_steps
        if self._loss_scale is None and not steps:
            return None
        place = next(i for i, one in enumerate(self._own) if one is self._optimizer._iterations)
        moved = keras.ops.not_equal(before[place], after[place])
        return keras.ops.logical_and(moved, keras.ops.equal(after[place] % steps, 0)) if steps else moved

    def flattened(self, tensors: Tensors) -> Any:
        """Returns what travels for the trainable variables as one flat tensor."""
        return tensors[0] if self.flat else laid_flat(tensors)

    def learning_rate(self, state: Tensors) -> Any:
        """Returns the learning rate of the coming step, a scalar."""
        mapping = list(zip(self._own, state[: len(self._own)], strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return keras.ops.convert_to_tensor(self._optimizer._get_current_learning_rate())

    def pack(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """Turns the values of the trainable variables into what travels through the program."""
        if not self.flat:
            return values
        return [np.concatenate([value.reshape(-1) for value in values]) if values else np.zeros(0, "float32")]

    def unpack(self, tensors: Tensors) -> Tensors:
        """Turns what travels through the program into tensors shaped as the trainable variables."""
        if not self.flat:
            return tensors
        pieces = current_backend().cut(tensors[0], self._sizes) if self._sizes else []
        return [
            piece if len(shape) == 1 else keras.ops.reshape(piece, shape)
            for piece, shape in zip(pieces, self._shapes, strict=True)
        ]

    def unpack_host(self, values: list[np.ndarray]) -> list[np.ndarray]:
        """`unpack` for NumPy arrays of one member."""
        if not self.flat:
            return values
        pieces = np.split(values[0], np.cumsum(self._sizes)[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def apply(self, state: Tensors, gradients: Tensors, tensors: Tensors, own: Tensors) -> tuple[Tensors, Tensors]:
        """Takes one step.

        Args:
            state: The optimizer's variables.
            gradients: One for each trainable variable.
            tensors: What travels for the trainable variables.
            own: This member's numbers, in the order of `kerasdl.train.numbers.of_optimizer`.

        Returns:
            The trainable tensors and the optimizer's variables after the step.
        """
        if self._loss_scale is None:
            return self._apply(state, gradients, tensors, own)
        *inner, counter, scale = state
        finite = keras.ops.all(keras.ops.stack([keras.ops.all(keras.ops.isfinite(one)) for one in gradients]))
        stepped = self._apply(inner, [gradient / scale for gradient in gradients], tensors, own)
        # As in keras.optimizers.LossScaleOptimizer: a step that overflowed is left out and the scale halved; after
        # many good ones it is doubled.
        grows = keras.ops.equal(counter, self._loss_scale.dynamic_growth_steps - 1)
        trainable, inner = keras.tree.map_structure(
            lambda new, old: keras.ops.where(finite, new, old), stepped, (tensors, inner)
        )
        counter = keras.ops.where(keras.ops.logical_and(finite, keras.ops.logical_not(grows)), counter + 1, 0)
        factor = keras.ops.where(finite, keras.ops.where(grows, 2.0, 1.0), 0.5)
        return trainable, [*inner, keras.ops.cast(counter, "int32"), scale * keras.ops.cast(factor, "float32")]

    def _apply(self, state: Tensors, gradients: Tensors, tensors: Tensors, own: Tensors) -> tuple[Tensors, Tensors]:
        mapping = [*zip(self.targets, tensors, strict=True), *zip(self._own, state, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope, numbers.replaced(self._numbers, own):
            if self.flat:
                # Clipping by a variable's norm needs the variables apart.
                gradients = [laid_flat(self._optimizer._clip_gradients(gradients))]
            self._step(gradients)
        return current(scope, self.targets, tensors), current(scope, self._own, state)

    def _step(self, gradients: Tensors) -> None:
        if not self.flat:
            self._optimizer.apply(gradients, self.targets)
            return
        clipping = {name: getattr(self._optimizer, name) for name in _CLIPPING}
        for name in clipping:
            setattr(self._optimizer, name, None)
        try:
            self._optimizer.apply(gradients, self.targets)
        finally:
            for name, value in clipping.items():
                setattr(self._optimizer, name, value)


def laid_flat(tensors: Tensors) -> Any:
    """Returns tensors one after another in one float32 tensor, `(elements,)`."""
    flat = [one if len(one.shape) == 1 else keras.ops.reshape(one, (-1,)) for one in tensors]
    return keras.ops.concatenate([keras.ops.cast(one, "float32") for one in flat])


def current(scope: keras.StatelessScope, variables: list[keras.Variable], before: Tensors) -> Tensors:
    """Returns the variables' values at the end of a scope: those before it where it did not change them."""
    values = [scope.get_current_value(variable) for variable in variables]
    return [old if new is None else new for new, old in zip(values, before, strict=True)]


def _nadam_update_step(
    optimizer: keras.optimizers.Nadam, gradients: Tensors, variables: list[keras.Variable], learning_rate: Any
) -> None:
    """What Keras' Nadam does before each step of all variables, then the step of each."""
    product = optimizer._u_product
    step = keras.ops.cast(optimizer.iterations + 1, product.dtype)
    product.assign(product * optimizer.beta_1 * (1.0 - 0.5 * keras.ops.power(0.96, step)))
    for gradient, variable in zip(gradients, variables, strict=True):
        optimizer.update_step(gradient, variable, learning_rate)


def _accumulate(optimizer: keras.Optimizer, gradients: Tensors, variables: list[keras.Variable]) -> None:
    """Steps by the mean of several batches' gradients, as Keras does, by choosing between values instead of branches.

    A vectorizer follows no branch that differs from member to member.
    """
    steps = optimizer.gradient_accumulation_steps
    moves = keras.ops.equal((optimizer._iterations + 1) % steps, 0)
    own = [optimizer._accumulated_gradients[optimizer._get_variable_index(variable)] for variable in variables]
    sums = [gradient + variable for gradient, variable in zip(gradients, own, strict=True)]
    changing = [*variables, *optimizer.variables]
    before = [variable.value for variable in changing]
    optimizer._apply_weight_decay(variables)
    means = optimizer._clip_gradients([one / steps for one in sums])
    optimizer._backend_update_step(means, variables, optimizer.learning_rate)
    for variable, old in zip(changing, before, strict=True):
        variable.assign(keras.ops.where(moves, variable.value, old))
    for variable, total in zip(own, sums, strict=True):
        variable.assign(keras.ops.where(moves, keras.ops.zeros_like(total), total))
    if optimizer.use_ema:
        optimizer._update_model_variables_moving_average(variables)


def _can_be_flat(model: keras.Model, optimizer: keras.Optimizer) -> bool:
    variables = model.trainable_variables
    return (
        bool(variables)
        and isinstance(optimizer, ELEMENTWISE)
        # On torch Keras' own optimizers are subclasses of these.
        and type(optimizer).__module__.startswith("keras.")
        and not getattr(optimizer, "_exclude_from_weight_decay", None)
        and not (optimizer.gradient_accumulation_steps and _clips(optimizer))
        and all(variable.constraint is None and variable.dtype == "float32" for variable in variables)
        and not any(getattr(variable, "overwrite_with_gradient", False) for variable in variables)
    )


def _clips(optimizer: keras.Optimizer) -> bool:
    return any(getattr(optimizer, name) is not None for name in _CLIPPING)
