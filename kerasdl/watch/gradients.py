"""How large gradients and updates are, layer by layer, while a model trains."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasdl.errors import UserError, nearest
from kerasdl.watch.fitting import WatchedFunction, clear_place
from kerasdl.watch.layers import Choice, NamedVariable, choose_layers, choose_variables
from kerasdl.watch.reduction import QUANTITIES
from kerasdl.watch.steps import recording_step
from kerasdl.watch.table import STATISTICS, Table, statistics

if TYPE_CHECKING:
    import pandas as pd

_WHERE = "GradientMagnitude"
_COLUMNS = ("fit", "epoch", "layer", "variable", "quantity", *STATISTICS, "steps", "not_finite")


class GradientMagnitude(keras.callbacks.Callback):
    """Records the size of gradients, weights and updates in each layer.

    The numbers are computed inside the training step on the device, and read once an epoch (and every 128 recorded
    steps). Nothing else changes: the weights, the optimizer and what is saved are what they would have been without it.

    - `gradient_norm`: the 2-norm of the loss' gradient by a weight, without the loss scale and before any clipping.
    - `weight_norm`: the weight's 2-norm before the step.
    - `update_ratio`: `norm(change) / norm(weight)`, where the change is all that the step did: learning rate, momentum,
      decay, constraints. About 1e-3 is a rule of thumb for a rate that suits (A. Karpathy, CS231n notes, "Ratio of
      weights:updates").
    - `zero_share`: the share of the gradient's elements that are exactly zero, such as those into dead units.

    Every epoch gives their mean, median, 5th and 95th percentile and maximum over its recorded steps. Only finite
    values count; `not_finite` says how many did not. A ratio is not finite while its weight is all zeros, and in steps
    that move nothing: those that only accumulate gradients, and those that a loss scale skips.

    Example:

    ```python
    watch = GradientMagnitude(layers=["dense*", -1])
    model.fit(x, y, epochs=5, callbacks=[watch])
    watch.table().query("quantity == 'gradient_norm'").pivot(index="layer", columns="epoch", values="median")
    ```

    Args:
        layers: The layers to watch: names, patterns such as `"dense*"`, numbers in `model.layers`, or layers; whoever
            names a layer names all inside it. `None` for all.
        every: Record every so many steps of an epoch, its first among them.
        logs: Whether each epoch's medians go into the `logs` that other callbacks see, as
            `"gradient_norm/dense/kernel"`: `True` for all quantities, or the names of some. Callbacks that are to see
            them (`CSVLogger`, `TensorBoard`) come after this one in the list; `fit`'s own history has them in any case.

    Attributes:
        history: The recorded rows as lists by column: `fit` (0 for the first call of `fit`), `epoch` (as `fit` counts
            it), `layer`, `variable`, `quantity`, the statistics, `steps` and `not_finite`.
    """

    def __init__(
        self,
        layers: Choice | Sequence[Choice] | None = None,
        every: int = 1,
        logs: bool | Sequence[str] = False,
    ) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise UserError(f"{_WHERE}(every={every!r}): record every so many steps, a whole number from 1")
        self.layers = layers
        self.every = every
        self.logged = _quantities(logs)
        self._table = Table(_COLUMNS)
        self._fits = 0
        self._trained: keras.Model | None = None
        self._variables: list[NamedVariable] | None = None
        self._function: WatchedFunction | None = None
        self._running = False

    @property
    def history(self) -> dict[str, list[Any]]:
        """The recorded rows as lists by column."""
        return self._table.columns

    def table(self) -> "pd.DataFrame":
        """Returns the recorded rows as a pandas table: one for each epoch, weight and quantity."""
        return self._table.frame()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Puts the recording step in place."""
        model = self.model
        _check(model)
        choose_layers(model, self.layers, _WHERE)
        clear_place(model, _WHERE)
        if self._running or self._trained is not model:
            # A fit that broke off may have taken the recorded rows with it.
            self._function = None
        self._trained = model
        self._running = True
        self._put_in_place()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts an epoch's record."""
        assert self._function is not None
        if not self._function.is_in_place():
            # Another callback compiled the model anew, to train other layers for example.
            self._put_in_place()
        self._function.step.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the epoch to the table, and to `logs` what was asked for."""
        assert self._function is not None
        rows = self._function.step.rows()
        if not len(rows):
            raise UserError(f"{_WHERE}: no step of this epoch used model.optimizer, whose gradients are recorded")
        self._take(epoch, rows, logs)

    def _take(self, epoch: int, rows: np.ndarray, logs: dict[str, Any] | None) -> None:
        """Keeps an epoch's rows, `(recorded steps, weights, 4)`."""
        numbers = {name: values.ravel().tolist() for name, values in statistics(rows).items()}
        where = [(named.layer, named.variable, quantity) for named in self._chosen() for quantity in QUANTITIES]
        layers, variables, quantities = (list(column) for column in zip(*where, strict=True))
        names = {"layer": layers, "variable": variables, "quantity": quantities}
        self._table.extend({"fit": [self._fits] * len(where), "epoch": [epoch] * len(where), **names, **numbers})
        if logs is None:
            return
        for (layer, variable, quantity), median in zip(where, numbers["median"], strict=True):
            if quantity in self.logged:
                logs[f"{quantity}/{layer}/{variable}"] = median

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leaves the model as it was."""
        if self._function is not None:
            self._function.remove()
        self._running = False
        self._fits += 1

    def _put_in_place(self) -> None:
        assert self._trained is not None
        if self._function is None or self._trained.train_function is not self._function.plain:
            self._variables = None
            step = recording_step(self._trained, self._listened, self.every)
            self._function = WatchedFunction(self._trained, step)
        else:
            # The same model, not compiled since: what was compiled for the last fit serves this one.
            self._function.place()

    def _chosen(self) -> list[NamedVariable]:
        """Returns the watched weights. TensorFlow may build them in its first step only, so they are looked up late."""
        if self._variables is None:
            assert self._trained is not None
            self._variables = choose_variables(self._trained, self.layers, _WHERE)
        return self._variables

    def _listened(self) -> list[keras.Variable]:
        return [named.value for named in self._chosen()]


def _quantities(logs: bool | Sequence[str]) -> tuple[str, ...]:
    if isinstance(logs, bool):
        return QUANTITIES if logs else ()
    names = (logs,) if isinstance(logs, str) else tuple(logs)
    for name in names:
        if name not in QUANTITIES:
            raise UserError(f"{_WHERE}(logs=...): {name!r} is not recorded; {nearest(name, QUANTITIES)}")
    return names


def _check(model: keras.Model) -> None:
    """Refuses what cannot be watched, before anything trains."""
    if model.optimizer is None:
        raise UserError(f"{_WHERE}: the model was compiled without an optimizer, whose gradients are recorded")
    if keras.config.is_nnx_enabled():
        raise UserError(
            f"{_WHERE}: Keras' NNX mode compiles train_step past any callback; disable it to watch gradients"
        )
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        raise UserError(f"{_WHERE}: {strategy.num_replicas_in_sync} replicas hold parts of each gradient; train on one")
