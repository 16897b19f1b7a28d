"""One cycle: L. N. Smith and N. Topin, "Super-Convergence", 2018, https://arxiv.org/abs/1708.07120."""

import math
from typing import Any, Literal

import keras
from keras import ops

from kerasdl.errors import UserError, nearest
from kerasdl.watch.schedules.numbers import checked, tensor

Annealing = Literal["cosine", "linear"]
_ANNEALING = ("cosine", "linear")


@keras.saving.register_keras_serializable(package="kerasdl")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises once to its maximum and falls to almost nothing (1cycle of Smith and Topin, 2018).

    Of `n = length * steps_per_epoch` steps, counted from 0, the phases end at

    ```
    peak = rise * n - 1                   initial -> maximum
    n - 1                                 maximum -> final
    ```

    or, with a third phase, at `peak` (initial -> maximum), `2 * peak` (maximum -> initial) and `n - 1` (initial ->
    final), where `initial = maximum / initial_divisor` and `final = initial / final_divisor`. Inside a phase from step
    `a` to step `b`, the share of its way that is still to go is `r = (b - t) / (b - a)`, and the rate is
    `end + (start - end) * r` (linear) or `end + (start - end) * (1 - cos(pi * r)) / 2` (cosine). The final rate stays
    after the last step.

    The paper's own policy is `annealing="linear", third_phase=True`; two phases and the cosine are fastai's. The steps
    and defaults are those of PyTorch's `OneCycleLR`. The momentum, which the paper cycles the other way round, is left
    alone.

    Args:
        maximum_learning_rate: The highest learning rate; `find_learning_rate` helps to find it.
        length: How long all phases last: in steps, or in epochs where `steps_per_epoch` says how many steps one has.
        steps_per_epoch: Steps (batches) of an epoch, if `length` counts epochs.
        rise: The share of all steps in which the rate rises.
        initial_divisor: The maximum over the learning rate of the first step.
        final_divisor: The learning rate of the first step over that of the last.
        annealing: `"cosine"` or `"linear"`.
        third_phase: Whether the fall mirrors the rise, and what is left of the steps anneals from there.

    Raises:
        UserError: A number cannot be; the message says which and why.
    """

    # In these, trials that train as one program may differ.
    numbers = ("maximum_learning_rate", "length", "rise")

    def __init__(
        self,
        maximum_learning_rate: float,
        length: float,
        *,
        steps_per_epoch: float = 1,
        rise: float = 0.3,
        initial_divisor: float = 25.0,
        final_divisor: float = 1e4,
        annealing: Annealing = "cosine",
        third_phase: bool = False,
    ) -> None:
        super().__init__()
        self.maximum_learning_rate = checked("OneCycle: maximum_learning_rate", maximum_learning_rate, above=0)
        self.length = checked("OneCycle: length", length, above=0)
        self.steps_per_epoch = checked("OneCycle: steps_per_epoch", steps_per_epoch, above=0)
        self.rise = checked("OneCycle: rise", rise, above=0)
        self.initial_divisor = checked("OneCycle: initial_divisor", initial_divisor, above=0)
        self.final_divisor = checked("OneCycle: final_divisor", final_divisor, above=0)
        if annealing not in _ANNEALING:
            raise UserError(f"OneCycle: annealing: {annealing!r} is not known; {nearest(str(annealing), _ANNEALING)}")
        self.annealing = annealing
        self.third_phase = bool(third_phase)
        self._check_phases()

    def _check_phases(self) -> None:
        steps = self.length * self.steps_per_epoch
        peak = self.rise * steps - 1
        if peak <= 0:
            raise UserError(
                f"OneCycle: {steps:g} steps are too few to rise in a share of {self.rise:g}; "
                "give a greater length, or steps_per_epoch where length counts epochs"
            )
        if (2 * peak if self.third_phase else peak) >= steps - 1:
            most = "0.5, as the fall takes as long" if self.third_phase else "1"
            raise UserError(f"OneCycle: rise ({self.rise:g}) leaves no steps for what follows; it must be below {most}")

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step (0 is the first), a scalar tensor."""
        steps = tensor(self.length) * tensor(self.steps_per_epoch)
        peak, last = tensor(self.rise) * steps - 1, steps - 1
        maximum = tensor(self.maximum_learning_rate)
        initial = maximum / tensor(self.initial_divisor)
        final = initial / tensor(self.final_divisor)
        step = ops.minimum(tensor(step), last)
        rising = self._anneal(step, tensor(0.0), peak, initial, maximum)
        if self.third_phase:
            mirrored = self._anneal(step, peak, 2 * peak, maximum, initial)
            falling = ops.where(step <= 2 * peak, mirrored, self._anneal(step, 2 * peak, last, initial, final))
        else:
            falling = self._anneal(step, peak, last, maximum, final)
        return ops.where(step <= peak, rising, falling)

    def _anneal(self, step: Any, first: Any, last: Any, start: Any, end: Any) -> Any:
        # Counted from the end of the phase, the share keeps its digits where the rate becomes small.
        share = (last - step) / (last - first)
        if self.annealing == "cosine":
            share = ops.square(ops.sin(share * (math.pi / 2)))
        return end + (start - end) * share

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same schedule."""
        return {
            "maximum_learning_rate": self.maximum_learning_rate,
            "length": self.length,
            "steps_per_epoch": self.steps_per_epoch,
            "rise": self.rise,
            "initial_divisor": self.initial_divisor,
            "final_divisor": self.final_divisor,
            "annealing": self.annealing,
            "third_phase": self.third_phase,
        }
