"""What layers put out on a fixed batch, epoch by epoch: scale, dead units, saturation."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
from keras import ops

from kerasdl.errors import UserError
from kerasdl.watch.forward import Batch, as_batch, first_validation_batch, outside_loops, watch_pass
from kerasdl.watch.layers import Choice, NamedLayer, choose_layers
from kerasdl.watch.table import Table

if TYPE_CHECKING:
    import pandas as pd

Tensor = Any

_WHERE = "Activations"
_COLUMNS = ("fit", "epoch", "layer", "call", "mean", "standard_deviation", "dead_share", "saturated_share")

_ACTIVATION_LAYERS = (
    keras.layers.Activation,
    keras.layers.ReLU,
    keras.layers.LeakyReLU,
    keras.layers.PReLU,
    keras.layers.ELU,
    keras.layers.Softmax,
)

# The ends of what bounded activations put out; nearer than this to one of them is saturated.
_NEAR = 0.01
_BOUNDS = {
    keras.activations.tanh: (-1.0, 1.0),
    keras.activations.hard_tanh: (-1.0, 1.0),
    keras.activations.softsign: (-1.0, 1.0),
    keras.activations.sigmoid: (0.0, 1.0),
    keras.activations.hard_sigmoid: (0.0, 1.0),
}


class Activations(keras.callbacks.Callback):
    """Records what layers put out on a fixed batch after each epoch.

    The batch runs through the model once more, layer by layer; the model stays as it was, its moving statistics and
    random seeds too.

    - `mean` and `standard_deviation` of all outputs.
    - `dead_share`: the share of units whose output is exactly zero for every row of the batch. A unit is an entry of
      the last axis, or a channel of a convolution.
    - `saturated_share`: the share of outputs within 0.01 of an end of a bounded activation: `|tanh| > 0.99`, a sigmoid
      below 0.01 or above 0.99; NaN for layers whose activation has no such ends.

    Example:

    ```python
    watch = Activations(x_validation[:256], layers="dense*")
    model.fit(x, y, epochs=5, callbacks=[watch])
    watch.table().pivot(index="epoch", columns="layer", values="dead_share")
    ```

    Args:
        batch: The rows to watch: `x`, or `(x, y)` as for `fit` (several inputs: a list). `None` takes the first
            batch of the validation data that `fit` has.
        layers: The layers to watch: names, patterns such as `"dense*"`, numbers in `model.layers`, or layers; whoever
            names a layer names all inside it. `None` for all with an activation.
        training: Whether layers act as in training: dropout drops, batch normalization takes the batch's moments.

    Attributes:
        history: The recorded rows as lists by column: `fit` (0 for the first call of `fit`), `epoch` (as `fit` counts
            it), `layer`, `call` (0, and more where a layer is used several times), and the four numbers.
    """

    def __init__(
        self, batch: Any = None, layers: Choice | Sequence[Choice] | None = None, training: bool = False
    ) -> None:
        super().__init__()
        self.layers = layers
        self.training = training
        self._given = batch
        self._batch: Batch | None = None
        self._table = Table(_COLUMNS)
        self._fits = -1

    @property
    def history(self) -> dict[str, list[Any]]:
        """The recorded rows as lists by column."""
        return self._table.columns

    def table(self) -> "pd.DataFrame":
        """Returns the recorded rows as a pandas table: one for each epoch, layer and call."""
        return self._table.frame()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks whether there are layers to watch."""
        self._fits += 1
        self._batch = None
        self._chosen()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch to the table."""
        model = self.model
        if self._batch is None:
            self._batch = first_validation_batch(model, _WHERE) if self._given is None else as_batch(self._given)
        where = {"fit": self._fits, "epoch": epoch}

        def see(named: NamedLayer, call: int, arguments: Any, keywords: Any, outputs: Any) -> None:
            self._table.add({**where, "layer": named.name, "call": call, **summary(named.layer, outputs)})

        watch_pass(model, self._batch, self._chosen(), see, training=self.training)

    def _chosen(self) -> list[NamedLayer]:
        layers = outside_loops(choose_layers(self.model, self.layers, _WHERE))
        if self.layers is None:
            layers = [named for named in layers if has_activation(named.layer)]
        else:
            layers = [named for named in layers if not _is_source(named.layer) and named.layer is not self.model]
        if not layers:
            raise UserError(
                f"{_WHERE}: no layer to watch; those with an activation are watched unless layers= names others, "
                "and what runs inside recurrent layers cannot be seen"
            )
        return layers


def has_activation(layer: keras.layers.Layer) -> bool:
    """Tells whether a layer's outputs are an activation's: not those of a layer that is linear."""
    activation = getattr(layer, "activation", None)
    return isinstance(layer, _ACTIVATION_LAYERS) or (
        activation is not None and activation is not keras.activations.linear
    )


def _is_source(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, keras.layers.InputLayer)


def summary(layer: keras.layers.Layer, outputs: Any) -> dict[str, float]:
    """Sums up what a layer put out for a batch.

    Args:
        layer: The layer.
        outputs: Its outputs, `(rows, ..., units)`; of several, the first is taken.

    Returns:
        `mean`, `standard_deviation`, `dead_share`, `saturated_share`.
    """
    tensor = ops.cast(keras.tree.flatten(outputs)[0], "float32")
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else len(tensor.shape) - 1
    others = tuple(number for number in range(len(tensor.shape)) if number != axis or axis == 0)
    dead = ops.all(ops.equal(tensor, 0), axis=others)
    numbers = {
        "mean": ops.mean(tensor),
        "standard_deviation": ops.std(tensor),
        "dead_share": ops.mean(ops.cast(dead, "float32")),
        "saturated_share": _saturated_share(layer, tensor),
    }
    return {name: float(ops.convert_to_numpy(number)) for name, number in numbers.items()}


def _saturated_share(layer: keras.layers.Layer, tensor: Tensor) -> Tensor | float:
    # What a recurrent layer puts out is its activation times a gate.
    bounds = None if isinstance(layer, keras.layers.RNN) else _BOUNDS.get(getattr(layer, "activation", None))
    if bounds is None:
        return float("nan")
    low, high = bounds
    near = ops.logical_or(tensor < low + _NEAR, tensor > high - _NEAR)
    return ops.mean(ops.cast(near, "float32"))
