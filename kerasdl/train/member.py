"""One member of a pack as pure functions: a training step, an evaluation, its metrics."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import keras
import numpy as np

from kerasdl.train import numbers
from kerasdl.train.backends import values
from kerasdl.train.optimizer import OptimizerProgram, current, laid_flat
from kerasdl.train.watching import Observer

Tensors = list[Any]


class State(NamedTuple):
    """All that changes while a member trains; in a pack each tensor has the members as its first axis."""

    trainable: Tensors
    non_trainable: Tensors
    optimizer: Tensors
    metrics: Tensors
    numbers: Tensors
    random: Tensors


class MemberProgram:
    """What Keras' `train_step` and `test_step` do, as functions without side effects.

    Args:
        model: A built and compiled model. It lends its layers, loss and metrics; its weights are not touched.
        x: A few rows of features, to build the metrics from.
        y: Their labels.
        backend: The file of `kerasdl.train.backends` for the running backend.
        observer: Who looks at each step.
    """

    def __init__(
        self,
        model: keras.Model,
        x: np.ndarray,
        y: np.ndarray,
        backend: ModuleType,
        observer: Observer | None = None,
    ) -> None:
        self.model = model
        self.optimizer = OptimizerProgram(model)
        self.observer = observer
        self._backend = backend
        self._loss_mean = keras.metrics.Mean(name="loss")
        model.compute_metrics(x, keras.ops.convert_to_tensor(y), _outputs(model, x), None)
        model.reset_metrics()
        self._model_numbers = numbers.of_model(model)
        self._trainable = list(model.trainable_variables)
        self._non_trainable = list(model.non_trainable_variables)
        self._metrics = [*self._loss_mean.variables, *model.metrics_variables]

    def initial_state(self, model: keras.Model) -> State:
        """Returns the state of a model at the start of training, or as it is but for the optimizer's memory.

        Args:
            model: A model of the same architecture, with its own optimizer's numbers.

        Returns:
            NumPy arrays.
        """
        return State(
            self.optimizer.pack(values(model.trainable_variables)),
            values(model.non_trainable_variables),
            self._initial_optimizer(model.optimizer),
            self.initial_metrics(),
            [
                np.float32(keras.ops.convert_to_numpy(number.value))
                for number in (*numbers.of_model(model), *numbers.of_optimizer(model.optimizer))
            ],
            [],
        )

    def _initial_optimizer(self, optimizer: keras.Optimizer) -> list[np.ndarray]:
        start = values(self.optimizer.variables)
        for index, variable in enumerate(self.optimizer.variables):
            if variable.path.endswith("learning_rate"):
                start[index] = np.asarray(keras.ops.convert_to_numpy(optimizer.learning_rate), dtype="float32")
            elif variable.path.endswith("iteration"):
                # Schedules go by it.
                start[index] = np.asarray(keras.ops.convert_to_numpy(numbers.unscaled(optimizer).iterations))
        return start

    def initial_metrics(self) -> list[np.ndarray]:
        """Returns the metrics' variables before the first batch, NumPy arrays."""
        return values(self._metrics)

    def train_step(self, state: State, batch: tuple[Any, ...]) -> tuple[State, Tensors]:
        """Learns from one batch.

        Args:
            state: One member's tensors.
            batch: Features, `(rows, *features)`; labels, `(rows,)`; and, if rows have weights, these, `(rows,)`.

        Returns:
            The state after it, and what the observer saw, one tensor or none.
        """

        def loss_of(parameters: Tensors) -> tuple[Any, tuple[Any, Any, Tensors, Tensors]]:
            loss, more = self._loss(state, parameters, batch)
            return self.optimizer.scaled(loss, state.optimizer), (loss, *more)

        parameters = self.optimizer.unpack(state.trainable)
        (_, (loss, predictions, non_trainable, random)), gradients = self._backend.value_and_grad(loss_of)(parameters)
        own = state.numbers[len(self._model_numbers) :]
        trainable, optimizer = self.optimizer.apply(state.optimizer, gradients, state.trainable, own)
        metrics = self._update_metrics(state.metrics, loss, batch, predictions)
        after = State(trainable, non_trainable, optimizer, metrics, state.numbers, random)
        return after, self._observed(gradients, state, after)

    def _loss(
        self, state: State, parameters: Tensors, batch: tuple[Any, ...], *, training: bool = True
    ) -> tuple[Any, tuple[Any, Any, Any]]:
        """Returns the loss; the predictions and what the forward pass changed."""
        mapping = [
            *zip(self._trainable, parameters, strict=True),
            *zip(self._non_trainable, state.non_trainable, strict=True),
        ]
        pure = self._backend.pure(state.random)
        with pure as drawn, keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            predictions, loss = self._forward(state, batch, training=training)
        return loss, (predictions, current(scope, self._non_trainable, state.non_trainable), drawn.state)

    def loss_and_gradients(self, state: State, parameters: Tensors, batch: tuple[Any, ...]) -> tuple[Any, Tensors]:
        """Computes the loss of a batch in training mode and its gradients, and changes nothing.

        Args:
            state: One member's tensors, the trainable ones apart.
            parameters: The trainable weights, one tensor each.
            batch: As `train_step` takes it.

        Returns:
            The loss, a scalar, and the gradient by each weight.
        """
        found = self._backend.value_and_grad(lambda own: self._loss(state, own, batch))(parameters)
        (loss, _), gradients = found
        return loss, gradients

    def loss(self, state: State, parameters: Tensors, batch: tuple[Any, ...], *, training: bool) -> Any:
        """Computes the loss of a batch in training or inference mode, a scalar, and changes nothing."""
        return self._loss(state, parameters, batch, training=training)[0]

    def _observed(self, gradients: Tensors, before: State, after: State) -> Tensors:
        if self.observer is None:
            return []
        flat = self.optimizer.flattened
        gradient = laid_flat(gradients)
        scale = self.optimizer.scale(before.optimizer)
        if scale is not None:
            gradient = gradient / scale
        moved = self.optimizer.moved(before.optimizer, after.optimizer)
        return [self.observer(gradient, flat(before.trainable), flat(after.trainable), moved)]

    def evaluate(self, state: State, batch: tuple[Any, ...]) -> tuple[State, Any]:
        """Scores one batch, as `train_step` takes it, in inference mode.

        Returns:
            The state with its metrics updated, and the predictions, `(batch, *outputs)`.
        """
        parameters = self.optimizer.unpack(state.trainable)
        loss, (predictions, *_) = self._loss(state, parameters, batch, training=False)
        return state._replace(metrics=self._update_metrics(state.metrics, loss, batch, predictions)), predictions

    def _forward(self, state: State, batch: tuple[Any, ...], *, training: bool) -> tuple[Any, Any]:
        x, y, weights = _parts(batch)
        try:
            with numbers.replaced(self._model_numbers, state.numbers[: len(self._model_numbers)]):
                predictions = self.model(x, training=training)
                loss = self.model.compute_loss(x=x, y=y, y_pred=predictions, sample_weight=weights, training=training)
                return predictions, loss
        finally:
            # Losses that layers added stay in their lists; a tensor of this trace must not be found by the next.
            self.model._clear_losses()

    def _update_metrics(self, state: Tensors, loss: Any, batch: tuple[Any, ...], predictions: Any) -> Tensors:
        x, y, weights = _parts(batch)
        with keras.StatelessScope(state_mapping=list(zip(self._metrics, state, strict=True))) as scope:
            self._loss_mean.update_state(loss, sample_weight=x.shape[0])
            self.model.compute_metrics(x, y, predictions, weights)
        return current(scope, self._metrics, state)

    def results(self, metrics: Tensors) -> dict[str, Any]:
        """Computes the metrics from their variables: scalars by name, `"loss"` among them."""
        with keras.StatelessScope(state_mapping=list(zip(self._metrics, metrics, strict=True))):
            return {**self.model.get_metrics_result(), "loss": self._loss_mean.result()}

    def learning_rate(self, state: State) -> Any:
        """Returns the learning rate of the coming step, a scalar."""
        return self.optimizer.learning_rate(state.optimizer)

    def with_weights(self, weights: Sequence[list[np.ndarray]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the trainable and the non-trainable part of a state, stacked, of members with given weights.

        Args:
            weights: Each member's, in the order of `keras.Model.weights`; other states, of random layers for example,
                are those that the model was built with.
        """
        trainable, others = [], []
        for own in weights:
            found = dict(zip(map(id, self.model.weights), own, strict=True))
            trainable.append(self.optimizer.pack([found[id(variable)] for variable in self._trainable]))
            others.append([found.get(id(one), values([one])[0]) for one in self._non_trainable])
        return [np.stack(part) for part in zip(*trainable, strict=True)], [
            np.stack(part) for part in zip(*others, strict=True)
        ]

    def weights(self, state: State) -> list[np.ndarray]:
        """Returns one member's weights in the order of `keras.Model.weights`, from NumPy arrays."""
        found = dict(
            zip(map(id, self._trainable), self.optimizer.unpack_host(list(state.trainable)), strict=True)
        ) | dict(zip(map(id, self._non_trainable), state.non_trainable, strict=True))
        return [found[id(variable)] for variable in self.model.weights]


def _outputs(model: keras.Model, x: np.ndarray) -> Any:
    """Returns zeros in the shape of a model's outputs: a call on values would compile each operation by itself."""
    outputs = model(keras.KerasTensor(x.shape, dtype=keras.backend.standardize_dtype(x.dtype)))
    return keras.tree.map_structure(
        lambda output: keras.ops.convert_to_tensor(np.zeros(output.shape, output.dtype)), outputs
    )


def _parts(batch: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    return batch if len(batch) == 3 else (*batch, None)
