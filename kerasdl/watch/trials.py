"""What a study sees of its trials' steps, whether packs or Keras' `fit` train them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kerasdl.train.watching import Names
from kerasdl.watch.along_gradient import AlongGradient
from kerasdl.watch.gradients import GradientMagnitude
from kerasdl.watch.layers import Choice, choose_variables
from kerasdl.watch.reduction import NORMS, quantities, reduce_flat, without_change

Tell = Callable[[int, Names, Mapping[int, np.ndarray]], None]
TellMeasures = Callable[[int, Sequence[str], Mapping[int, np.ndarray]], None]


class GradientObserver:
    """Looks at the gradients of models of one architecture in a pack.

    Args:
        model: One of them.
        layers: The layers to watch, as for `GradientMagnitude`.

    Raises:
        UserError: The model has no such layer.
    """

    numbers = NORMS

    def __init__(self, model: keras.Model, layers: Sequence[Choice] | None) -> None:
        chosen = choose_variables(model, layers, "watch.layers")
        place = {id(variable): index for index, variable in enumerate(model.trainable_variables)}
        self.names: Names = [(named.layer, named.variable) for named in chosen]
        self._places = np.array([place[id(named.value)] for named in chosen], "int32")
        self._sizes = [int(np.prod(variable.shape)) for variable in model.trainable_variables]

    def __call__(self, gradient: Any, old: Any, new: Any, moved: Any) -> Any:
        """Reduces a step to norms; see `kerasdl.train.watching.Observer`."""
        norms = reduce_flat(gradient, old, new, self._sizes)
        if self._places.tolist() != [*range(len(self._sizes))]:
            norms = ops.take(norms, self._places, axis=1)
        return without_change(norms, moved)

    def read(self, seen: np.ndarray) -> np.ndarray:
        """Turns norms into the columns of `QUANTITIES`."""
        return quantities(seen, [self._sizes[place] for place in self._places])


class TrialWatch:
    """Watches every trial of a study.

    Args:
        layers: The layers whose gradients are recorded, as for `GradientMagnitude`; `None` for all.
        every: Record every so many steps of an epoch, its first among them.
        tell: Takes what was seen of gradients: the epoch, the weights and each trial's rows; `None` for none.
        tell_measures: Takes what was measured along the gradient after each epoch; `None` for none.
        tell_unmeasured: Takes the numbers of trials that cannot be measured, and why.
    """

    def __init__(
        self,
        layers: Sequence[Choice] | None,
        every: int,
        tell: Tell | None = None,
        tell_measures: TellMeasures | None = None,
        tell_unmeasured: Callable[[Sequence[int], str], None] | None = None,
    ) -> None:
        self._tell_unmeasured = tell_unmeasured
        self.layers, self.every = layers, every
        self._tell, self._tell_measures = tell, tell_measures

    def observer(self, model: keras.Model) -> GradientObserver | None:
        """Returns who looks at the steps of models like this one, if gradients are recorded."""
        return None if self._tell is None else GradientObserver(model, self.layers)

    def probe(self, model: keras.Model) -> AlongGradient | None:
        """Returns who measures models like this one between epochs, if anything is measured."""
        return None if self._tell_measures is None else AlongGradient(model)

    def callbacks(self, tell: Callable[[int, Names, np.ndarray], None]) -> list[keras.callbacks.Callback]:
        """Returns callbacks that tell what an observer would have seen in `fit`."""
        return [] if self._tell is None else [_Told(self.layers, self.every, tell)]

    def tell(self, epoch: int, names: Names, rows: Mapping[int, np.ndarray]) -> None:
        """Hands on what was seen of gradients."""
        if self._tell is not None:
            self._tell(epoch, names, rows)

    def tell_measures(self, epoch: int, names: Sequence[str], rows: Mapping[int, np.ndarray]) -> None:
        """Hands on what was measured."""
        if self._tell_measures is not None:
            self._tell_measures(epoch, names, rows)

    def tell_unmeasured(self, trials: Sequence[int], why: str) -> None:
        """Hands on that trials cannot be measured between epochs."""
        if self._tell_unmeasured is not None:
            self._tell_unmeasured(trials, why)


class _Told(GradientMagnitude):
    def __init__(
        self, layers: Sequence[Choice] | None, every: int, tell: Callable[[int, Names, np.ndarray], None]
    ) -> None:
        super().__init__(layers, every)
        self._tell = tell

    def _take(self, epoch: int, rows: np.ndarray, logs: dict[str, Any] | None) -> None:
        self._tell(epoch + 1, [(named.layer, named.variable) for named in self._chosen()], rows)
