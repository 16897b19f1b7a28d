"""One pass of a fixed batch through a model, looking into its layers and leaving no trace."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import keras
from keras import ops

from kerasdl.errors import UserError
from kerasdl.watch.layers import NamedLayer
from kerasdl.watch.random_states import random_states
from kerasdl.watch.seam import replaced

Tensor = Any
See = Callable[[NamedLayer, int, tuple[Any, ...], dict[str, Any], Any], None]


class Batch(NamedTuple):
    """Rows that are looked at again and again: features, and labels and weights where there are some."""

    x: Any
    y: Any
    weight: Any


class Watched(NamedTuple):
    """What a pass gave."""

    outputs: Any
    loss: float


def as_batch(given: Any) -> Batch:
    """Reads a batch as `fit` reads its data: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`; lists are inputs."""
    x, y, weight = keras.utils.unpack_x_y_sample_weight((given,) if isinstance(given, list) else given)
    return Batch(*(None if part is None else keras.tree.map_structure(_tensor, part) for part in (x, y, weight)))


def _tensor(array: Any) -> Tensor:
    tensor = ops.convert_to_tensor(array)
    if keras.backend.standardize_dtype(tensor.dtype) == "float64":
        # NumPy's numbers are of double precision; `fit` feeds a model single ones.
        return ops.cast(tensor, keras.config.floatx())
    return tensor


def first_validation_batch(model: keras.Model, where: str) -> Batch:
    """Returns the first batch of the validation data that `fit` was given.

    Args:
        model: A model at the end of an epoch, after its validation.
        where: Who asks, for messages.

    Returns:
        The batch.

    Raises:
        UserError: `fit` validated nothing yet, or its validation data can be read only once.
    """
    iterator = getattr(model, "_eval_epoch_iterator", None)
    if iterator is None:
        raise UserError(
            f"{where}: this epoch was not validated, so there is no batch to watch; give one, {where}(batch=x), "
            "or give fit validation data for its first epoch"
        )
    adapter = iterator.data_adapter
    kind = type(adapter).__name__
    if kind in ("ArrayDataAdapter", "TFDatasetAdapter") or (
        kind == "TorchDataLoaderAdapter" and adapter.num_batches is not None
    ):
        with random_states():
            return as_batch(next(iter(adapter.get_numpy_iterator())))
    if kind == "PyDatasetAdapter":
        return as_batch(adapter.py_dataset[0])
    raise UserError(
        f"{where}: the validation data is a stream, and reading a batch of it would take that from fit; "
        f"give the batch to watch, {where}(batch=x)"
    )


def watch_pass(model: keras.Model, batch: Batch, layers: Sequence[NamedLayer], see: See, *, training: bool) -> Watched:
    """Runs a batch through a model and shows what its layers are called with and return.

    Args:
        model: A built model. No variable of it changes: moving statistics and random seeds are as they were.
        batch: The rows.
        layers: The layers to look into.
        see: Told of each call of such a layer: the layer, the number of its call in this pass from 0, its positional
            and keyword arguments, and its outputs.
        training: Whether layers act as in training.

    Returns:
        The model's outputs, and the loss it was compiled with, NaN without labels.
    """
    with ExitStack() as stack:
        # On torch, dropout without a seed draws from the process's own random state.
        stack.enter_context(random_states())
        stack.enter_context(_same_losses(model))
        stack.enter_context(keras.StatelessScope(collect_losses=True, state_mapping=_values(model)))
        for named in layers:
            stack.enter_context(seen_calls(named, see))
        outputs = model(batch.x, training=training)
        if batch.y is None:
            return Watched(outputs, float("nan"))
        loss = model.compute_loss(x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.weight, training=training)
        return Watched(outputs, float(ops.convert_to_numpy(loss)))


def _values(model: keras.Model) -> list[tuple[keras.Variable, Tensor]]:
    # Keras asks the scope for the weights that regularizers weigh.
    return [(variable, variable.value) for variable in model.variables]


@contextmanager
def seen_calls(named: NamedLayer, see: See) -> Iterator[None]:
    """Shows each call of a layer, as `watch_pass` does, within a `with` statement."""
    original = named.layer.call
    calls = iter(range(10**9))

    def call(*arguments: Any, **keywords: Any) -> Any:
        outputs = original(*arguments, **keywords)
        see(named, next(calls), arguments, keywords, outputs)
        return outputs

    with replaced(named.layer, "call", call):
        yield


@contextmanager
def _same_losses(model: keras.Model) -> Iterator[None]:
    """Puts back the losses that layers keep from the last step, which a call of the model clears."""
    kept = [(layer, list(layer._losses), set(layer._loss_ids)) for layer in model._flatten_layers()]
    try:
        yield
    finally:
        for layer, losses, numbers in kept:
            layer._losses[:] = losses
            layer._loss_ids.clear()
            layer._loss_ids.update(numbers)


def outside_loops(layers: Sequence[NamedLayer]) -> list[NamedLayer]:
    """Leaves out layers that run in compiled loops, once for each time step: what they return cannot be looked at."""
    loops = (keras.layers.RNN, keras.layers.TimeDistributed)
    return [named for named in layers if not any(isinstance(holder, loops) for holder in named.holders)]
