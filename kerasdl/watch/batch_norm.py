"""Whether batch normalization's moving statistics fit the data, epoch by epoch."""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from kerasdl.errors import UserError
from kerasdl.watch.forward import Batch, as_batch, first_validation_batch, outside_loops, watch_pass
from kerasdl.watch.layers import NamedLayer, named_layers
from kerasdl.watch.moments import Moments, slices
from kerasdl.watch.table import Table

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "BatchNormStats"
_PARAMETERS = tuple(f"{name}_{number}" for name in ("gamma", "beta") for number in ("mean", "minimum", "maximum"))
_COLUMNS = ("fit", "epoch", "layer", "call", "source", "mean_distance", "variance_distance", *_PARAMETERS)
_LOSS_COLUMNS = ("fit", "epoch", "training", "inference", "gap")


class BatchNormStats(keras.callbacks.Callback):
    """Records after each epoch how far the moving statistics of batch normalization are from the data's.

    At inference a layer normalizes with its moving mean and variance. Where these differ from the moments of what it is
    fed, its outputs are not normalized, and the model behaves otherwise than it did in training. A batch runs through
    the model in inference mode, and each layer's inputs are compared, channel by channel, with its statistics:

    - `mean_distance`: the root mean square over channels of `(mean - moving mean) / sqrt(moving variance + epsilon)`,
      in standard deviations.
    - `variance_distance`: the root mean square over channels of
      `log((variance + epsilon) / (moving variance + epsilon))`; 0.69 is a factor of two.
    - `gamma_mean`, `gamma_minimum`, `gamma_maximum` and the same of beta, NaN where a layer has none.

    `losses()` compares the loss of the same batch in training and in inference mode. What dropout adds is in that gap
    too. The model stays as it was.

    Example:

    ```python
    watch = BatchNormStats((x_validation[:256], y_validation[:256]))
    model.fit(x, y, epochs=5, callbacks=[watch])
    watch.table().pivot(index="epoch", columns="layer", values="mean_distance")
    ```

    Args:
        batch: The rows to watch, as for `fit`: `x`, or `(x, y)` for the losses as well. `None` takes the first batch of
            the validation data that `fit` has.
        whole: Rows to take moments of as a whole, such as the training set's: `x`, or `(x, y)`; arrays. They pass
            through the model in pieces, eagerly, after each epoch. `None` for none.
        batch_size: The rows of such a piece.

    Attributes:
        history: The recorded rows as lists by column: `fit` (0 for the first call of `fit`), `epoch` (as `fit` counts
            it), `layer`, `call` (0, and more where a layer is used several times), `source` (`"batch"` or `"whole"`),
            the distances and the parameters.
    """

    def __init__(self, batch: Any = None, whole: Any = None, batch_size: int = 256) -> None:
        super().__init__()
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise UserError(f"{_WHERE}(batch_size={batch_size!r}): the rows of a piece, a whole number from 1")
        self.batch_size = batch_size
        self._given = batch
        self._whole = whole
        self._batch: Batch | None = None
        self._table = Table(_COLUMNS)
        self._losses = Table(_LOSS_COLUMNS)
        self._fits = -1

    @property
    def history(self) -> dict[str, list[Any]]:
        """The recorded rows as lists by column."""
        return self._table.columns

    def table(self) -> "pd.DataFrame":
        """Returns the recorded rows as a pandas table: one for each epoch, layer, call and source."""
        return self._table.frame()

    def losses(self) -> "pd.DataFrame":
        """Returns the batch's loss in training and inference mode and `gap`, the first less the second, by epoch."""
        return self._losses.frame()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks whether there are layers to watch."""
        self._fits += 1
        self._batch = None
        self._layers()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch to the tables."""
        model = self.model
        if self._batch is None:
            self._batch = first_validation_batch(model, _WHERE) if self._given is None else as_batch(self._given)
        where = {"fit": self._fits, "epoch": epoch}
        seen: dict[tuple[str, int], Moments] = {}
        inference = self._pass(self._batch, seen)
        self._add({**where, "source": "batch"}, seen)
        if self._whole is not None:
            seen = {}
            for piece in slices(as_batch(self._whole), self.batch_size, _WHERE):
                self._pass(piece, seen)
            self._add({**where, "source": "whole"}, seen)
        training = watch_pass(model, self._batch, [], lambda *_: None, training=True).loss
        self._losses.add({**where, "training": training, "inference": inference, "gap": training - inference})

    def _layers(self) -> list[NamedLayer]:
        kind = keras.layers.BatchNormalization
        layers = [named for named in outside_loops(named_layers(self.model)) if isinstance(named.layer, kind)]
        if not layers:
            raise UserError(f"{_WHERE}: the model has no BatchNormalization layer to watch")
        return layers

    def _pass(self, batch: Batch, seen: dict[tuple[str, int], Moments]) -> float:
        """Adds what each layer is fed to its moments, and returns the loss."""

        def see(named: NamedLayer, call: int, arguments: Any, keywords: Any, outputs: Any) -> None:
            inputs = arguments[0] if arguments else keywords["inputs"]
            mask = keywords.get("mask", arguments[2] if len(arguments) > 2 else None)
            moments = seen.setdefault((named.name, call), Moments())
            moments.add(inputs, mask, named.layer.axis)

        return watch_pass(self.model, batch, self._layers(), see, training=False).loss

    def _add(self, where: dict[str, Any], seen: dict[tuple[str, int], Moments]) -> None:
        layers = {named.name: named.layer for named in self._layers()}
        for (name, call), moments in seen.items():
            numbers = {**distances(layers[name], moments), **_parameters(layers[name])}
            self._table.add({**where, "layer": name, "call": call, **numbers})


def distances(layer: keras.layers.BatchNormalization, moments: Moments) -> dict[str, float]:
    """Compares a layer's moving statistics with moments of its inputs.

    Args:
        layer: The layer.
        moments: The inputs' mean and variance in each channel.

    Returns:
        `mean_distance` in moving standard deviations and `variance_distance` in natural logarithms, over channels.
    """
    moving_mean, moving_variance = (
        np.asarray(ops.convert_to_numpy(variable), "float64") for variable in (layer.moving_mean, layer.moving_variance)
    )
    scaled = (moments.mean - moving_mean) / np.sqrt(moving_variance + layer.epsilon)
    ratio = np.log((moments.variance + layer.epsilon) / (moving_variance + layer.epsilon))
    return {
        "mean_distance": float(np.sqrt(np.mean(scaled**2))),
        "variance_distance": float(np.sqrt(np.mean(ratio**2))),
    }


def _parameters(layer: keras.layers.BatchNormalization) -> dict[str, float]:
    numbers = dict.fromkeys(_PARAMETERS, float("nan"))
    for name in ("gamma", "beta"):
        variable = getattr(layer, name, None)
        if variable is not None:
            values = np.asarray(ops.convert_to_numpy(variable), "float64")
            for number, value in (("mean", values.mean()), ("minimum", values.min()), ("maximum", values.max())):
                numbers[f"{name}_{number}"] = float(value)
    return numbers
