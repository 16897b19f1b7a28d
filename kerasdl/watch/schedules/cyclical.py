"""Cyclical learning rates: L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017.

https://arxiv.org/abs/1506.01186
"""

import math
from typing import Any

import keras
from keras import ops

from kerasdl.errors import UserError
from kerasdl.watch.schedules.numbers import checked, tensor


class _Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """A triangle wave between two learning rates; what becomes of its height is for the classes below to say."""

    # In these, trials that train as one program may differ.
    numbers = ("minimum_learning_rate", "maximum_learning_rate", "step_size")

    def __init__(
        self,
        minimum_learning_rate: float,
        maximum_learning_rate: float,
        step_size: float,
        *,
        steps_per_epoch: float = 1,
        cycles: float | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.minimum_learning_rate = checked(f"{kind}: minimum_learning_rate", minimum_learning_rate, least=0)
        self.maximum_learning_rate = checked(f"{kind}: maximum_learning_rate", maximum_learning_rate, above=0)
        if self.minimum_learning_rate >= self.maximum_learning_rate:
            raise UserError(
                f"{kind}: minimum_learning_rate ({minimum_learning_rate:g}) must be below maximum_learning_rate "
                f"({maximum_learning_rate:g}); exchange them"
            )
        self.step_size = checked(f"{kind}: step_size", step_size, above=0)
        self.steps_per_epoch = checked(f"{kind}: steps_per_epoch", steps_per_epoch, above=0)
        self.cycles = None if cycles is None else checked(f"{kind}: cycles", cycles, above=0)
        self.after = None if after is None else checked(f"{kind}: after", after, least=0)
        if after is not None and cycles is None:
            raise UserError(f"{kind}: after ({after:g}) is never reached, as the cycles do not end; give cycles too")

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step (0 is the first), a scalar tensor."""
        step = tensor(step)
        half = tensor(self.step_size) * tensor(self.steps_per_epoch)
        length = 2 * half
        # The remainder is exact where a quotient of many steps would lose the place inside the cycle to rounding.
        position = ops.mod(step, length)
        cycle = ops.round((step - position) / length)
        height = 1 - ops.abs(position / half - 1)
        minimum = tensor(self.minimum_learning_rate)
        amplitude = (tensor(self.maximum_learning_rate) - minimum) * self._shrinkage(step, cycle)
        rate = minimum + amplitude * height
        if self.cycles is None:
            return rate
        after = minimum if self.after is None else tensor(self.after)
        return ops.where(step < tensor(self.cycles) * length, rate, after)

    def _shrinkage(self, step: Any, cycle: Any) -> Any:
        """Returns by what the amplitude is multiplied at a step, which lies in a cycle (0 is the first)."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same schedule."""
        return {
            "minimum_learning_rate": self.minimum_learning_rate,
            "maximum_learning_rate": self.maximum_learning_rate,
            "step_size": self.step_size,
            "steps_per_epoch": self.steps_per_epoch,
            "cycles": self.cycles,
            "after": self.after,
        }


@keras.saving.register_keras_serializable(package="kerasdl")
class Triangular(_Cyclical):
    """A learning rate that rises and falls linearly between two values (`triangular` of Smith, 2017).

    With half a cycle of `s = step_size * steps_per_epoch` steps, the rate of step `t` (0 is the first) is

    ```
    cycle = floor(1 + t / (2 * s))
    x = |t / s - 2 * cycle + 1|
    rate = minimum + (maximum - minimum) * max(0, 1 - x)
    ```

    Args:
        minimum_learning_rate: Where each cycle begins and ends; Smith's `base_lr`.
        maximum_learning_rate: What it reaches in the middle; Smith's `max_lr`.
        step_size: Half a cycle: in steps, or in epochs where `steps_per_epoch` says how many steps one has.
        steps_per_epoch: Steps (batches) of an epoch, if `step_size` counts epochs.
        cycles: How many cycles there are; without end by default. Half cycles count (0.5 is a warm-up).
        after: The learning rate after the last cycle; `minimum_learning_rate` by default.

    Raises:
        UserError: A number cannot be; the message says which and why.

    Example:

    ```python
    schedule = Triangular(1e-5, 1e-1, step_size=2, steps_per_epoch=450, cycles=3)
    model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
    ```
    """

    def _shrinkage(self, step: Any, cycle: Any) -> Any:
        return 1.0


@keras.saving.register_keras_serializable(package="kerasdl")
class Triangular2(_Cyclical):
    """`Triangular` with the height halved after each cycle (`triangular2` of Smith, 2017).

    With `cycle` and `x` as there: `rate = minimum + (maximum - minimum) * max(0, 1 - x) / 2 ** (cycle - 1)`.

    Args:
        minimum_learning_rate: As for `Triangular`, and so are all others.
        maximum_learning_rate: What the first cycle reaches.
        step_size: Half a cycle.
        steps_per_epoch: Steps of an epoch, if `step_size` counts epochs.
        cycles: How many cycles there are.
        after: The learning rate after the last cycle.

    Raises:
        UserError: A number cannot be.
    """

    def _shrinkage(self, step: Any, cycle: Any) -> Any:
        return ops.power(tensor(0.5), cycle)


@keras.saving.register_keras_serializable(package="kerasdl")
class ExpRange(_Cyclical):
    """`Triangular` with a height that shrinks at every step (`exp_range` of Smith, 2017).

    With `x` as there: `rate = minimum + (maximum - minimum) * max(0, 1 - x) * gamma ** t`. This is how Smith's own code
    and PyTorch's `CyclicLR` read the paper's "each boundary value declines by gamma^iteration": the minimum stays.

    Args:
        minimum_learning_rate: As for `Triangular`, and so are all others but `gamma`.
        maximum_learning_rate: What it would reach without shrinking.
        step_size: Half a cycle.
        gamma: By what the height is multiplied at every step, such as 0.99994; above 0 and at most 1.
        steps_per_epoch: Steps of an epoch, if `step_size` counts epochs.
        cycles: How many cycles there are.
        after: The learning rate after the last cycle.

    Raises:
        UserError: A number cannot be.
    """

    def __init__(
        self,
        minimum_learning_rate: float,
        maximum_learning_rate: float,
        step_size: float,
        *,
        gamma: float,
        steps_per_epoch: float = 1,
        cycles: float | None = None,
        after: float | None = None,
    ) -> None:
        super().__init__(
            minimum_learning_rate,
            maximum_learning_rate,
            step_size,
            steps_per_epoch=steps_per_epoch,
            cycles=cycles,
            after=after,
        )
        self.gamma = checked("ExpRange: gamma", gamma, above=0)
        if self.gamma > 1:
            raise UserError(f"ExpRange: gamma: {gamma:g} must be at most 1; the height shrinks, as with 0.99994")

    def _shrinkage(self, step: Any, cycle: Any) -> Any:
        # A gamma near 1 loses most of its digits as float32, and a million steps make that visible; its logarithm does
        # not.
        logarithm = tensor(math.log(self.gamma)) if isinstance(self.gamma, float) else ops.log(tensor(self.gamma))
        return ops.exp(step * logarithm)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make the same schedule."""
        return {**super().get_config(), "gamma": self.gamma}
