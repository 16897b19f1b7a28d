"""One member of a pack as pure functions: a training step, an evaluation, its metrics."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasdl.train import numbers
from kerasdl.train.optimizer import OptimizerProgram, current

Tensors = list[Any]


class State(NamedTuple):
    """All that changes while a member trains; in a pack each tensor has the members as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors
    metrics: Tensors
    numbers: Tensors


class MemberProgram:
    """What Keras' `train_step` and `test_step` do, as functions without side effects.

    Args:
        model: A built and compiled model. It lends its layers, loss and metrics; its weights are not touched.
        x: A few rows of features, to build the metrics from.
        y: Their labels.
        value_and_grad: The backend's: turns `f(tensors) -> (loss, more)` into one that also gives the gradients.
    """

    def __init__(self, model: keras.Model, x: np.ndarray, y: np.ndarray, value_and_grad: Callable[..., Any]) -> None:
        self.model = model
        self.optimizer = OptimizerProgram(model)
        self._value_and_grad = value_and_grad
        self._loss_mean = keras.metrics.Mean(name="loss")
        model.compute_metrics(x, keras.ops.convert_to_tensor(y), model(x), None)
        model.reset_metrics()
        self._layer_numbers = numbers.of_layers(model)
        self._trainable = list(model.trainable_variables)
        self._non_trainable = list(model.non_trainable_variables)
        self._metrics = [*self._loss_mean.variables, *model.metrics_variables]

    def initial_state(self, model: keras.Model) -> State:
        """Returns the state at the start of training.

        Args:
            model: A model of the same architecture, with its initial weights and its own optimizer's numbers.

        Returns:
            NumPy arrays.
        """
        return State(
            self.optimizer.pack(values(model.trainable_variables)),
            values(model.non_trainable_variables),
            self._initial_optimizer(model.optimizer),
            self.initial_metrics(),
            [
                np.float32(number.value)
                for number in (*numbers.of_layers(model), *numbers.of_optimizer(model.optimizer))
            ],
        )

    def _initial_optimizer(self, optimizer: keras.Optimizer) -> list[np.ndarray]:
        start = values(self.optimizer.variables)
        for index, variable in enumerate(self.optimizer.variables):
            if variable.path.endswith("learning_rate"):
                start[index] = np.asarray(keras.ops.convert_to_numpy(optimizer.learning_rate), dtype="float32")
        return start

    def initial_metrics(self) -> list[np.ndarray]:
        """Returns the metrics' variables before the first batch, NumPy arrays."""
        return values(self._metrics)

    def train_step(self, state: State, x: Any, y: Any) -> State:
        """Learns from one batch.

        Args:
            state: One member's tensors.
            x: Features, `(batch, *features)`.
            y: Labels, `(batch,)`.

        Returns:
            The state after it.
        """

        def loss_of(trainable: Tensors) -> tuple[Any, tuple[Any, Tensors]]:
            mapping = [
                *zip(self._trainable, trainable, strict=True),
                *zip(self._non_trainable, state.non_trainable, strict=True),
            ]
            with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
                predictions, loss = self._forward(state, x, y, training=True)
            return loss, (predictions, current(scope, self._non_trainable, state.non_trainable))

        parameters = self.optimizer.unpack(state.trainable)
        (loss, (predictions, non_trainable)), gradients = self._value_and_grad(loss_of)(parameters)
        own = state.numbers[len(self._layer_numbers) :]
        trainable, optimizer = self.optimizer.apply(state.optimizer, gradients, state.trainable, own)
        metrics = self._update_metrics(state.metrics, loss, x, y, predictions)
        return State(trainable, non_trainable, optimizer, metrics, state.numbers)

    def evaluate(self, state: State, x: Any, y: Any) -> tuple[State, Any]:
        """Scores one batch in inference mode.

        Returns:
            The state with its metrics updated, and the predictions, `(batch, *outputs)`.
        """
        mapping = [
            *zip(self._trainable, self.optimizer.unpack(state.trainable), strict=True),
            *zip(self._non_trainable, state.non_trainable, strict=True),
        ]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True):
            predictions, loss = self._forward(state, x, y, training=False)
        return state._replace(metrics=self._update_metrics(state.metrics, loss, x, y, predictions)), predictions

    def _forward(self, state: State, x: Any, y: Any, *, training: bool) -> tuple[Any, Any]:
        try:
            with self.with_numbers(state.numbers):
                predictions = self.model(x, training=training)
                return predictions, self.model.compute_loss(x=x, y=y, y_pred=predictions, training=training)
        finally:
            # Losses that layers added stay in their lists; a tensor of this trace must not be found by the next.
            self.model._clear_losses()

    def with_numbers(self, own: Sequence[Any]) -> AbstractContextManager[None]:
        """Gives the model's layers a member's numbers for a while."""
        return numbers.replaced(self._layer_numbers, own[: len(self._layer_numbers)])

    def _update_metrics(self, state: Tensors, loss: Any, x: Any, y: Any, predictions: Any) -> Tensors:
        with keras.StatelessScope(state_mapping=list(zip(self._metrics, state, strict=True))) as scope:
            self._loss_mean.update_state(loss, sample_weight=x.shape[0])
            self.model.compute_metrics(x, y, predictions, None)
        return current(scope, self._metrics, state)

    def results(self, metrics: Tensors) -> dict[str, Any]:
        """Computes the metrics from their variables: scalars by name, `"loss"` among them."""
        with keras.StatelessScope(state_mapping=list(zip(self._metrics, metrics, strict=True))):
            return {**self.model.get_metrics_result(), "loss": self._loss_mean.result()}

    def weights(self, state: State) -> list[np.ndarray]:
        """Returns one member's weights in the order of `keras.Model.weights`, from NumPy arrays."""
        found = dict(
            zip(map(id, self._trainable), self.optimizer.unpack_host(list(state.trainable)), strict=True)
        ) | dict(zip(map(id, self._non_trainable), state.non_trainable, strict=True))
        return [found[id(variable)] for variable in self.model.weights]


def values(variables: list[keras.Variable]) -> list[np.ndarray]:
    """Returns the values of variables as NumPy arrays of their own."""
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
