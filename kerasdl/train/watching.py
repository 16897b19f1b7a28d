"""What may be seen of each step while trials train; `kerasdl.watch` knows how to look."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import keras
    import numpy as np

    from kerasdl.train.member import MemberProgram, State

# The layer and the name of each weight that is looked at.
Names: TypeAlias = Sequence[tuple[str, str]]


class Observer(Protocol):
    """Looks at the steps of models of one architecture.

    Attributes:
        names: The weights that it looks at.
        numbers: How many numbers are computed of each weight in a step.
    """

    names: Names
    numbers: int

    def __call__(self, gradient: Any, old: Any, new: Any, moved: Any) -> Any:
        """Reduces a step to numbers, a pure function.

        Args:
            gradient: The loss' gradient by all trainable weights, one after another in one flat tensor, unscaled.
            old: The weights before the step, flat.
            new: The weights after it, flat.
            moved: Whether the step changed weights, a boolean scalar; `None` where every step does.

        Returns:
            A float32 tensor `(numbers, names)`.
        """

    def read(self, seen: "np.ndarray") -> "np.ndarray":
        """Turns the numbers of an epoch's steps into what is told of them.

        Args:
            seen: What steps were reduced to, `(steps, numbers, names)`.

        Returns:
            An array `(steps, names, quantities)`.
        """


class Probe(Protocol):
    """Measures members of a pack between epochs.

    Attributes:
        names: What is measured.
    """

    names: Sequence[str]

    def __call__(self, program: "MemberProgram", state: "State", batch: tuple[Any, ...]) -> Any:
        """Measures one member on a batch, a pure function.

        Args:
            program: The members' program.
            state: The member's tensors.
            batch: Training rows, as `MemberProgram.train_step` takes them.

        Returns:
            A float32 tensor `(names,)`.
        """


class Watch(Protocol):
    """What is asked for of every trial.

    Attributes:
        every: Every so many steps of an epoch are kept, its first among them.
    """

    every: int

    def observer(self, model: "keras.Model") -> Observer | None:
        """Returns who looks at the steps of models like this one, if anyone is to."""

    def probe(self, model: "keras.Model") -> Probe | None:
        """Returns who measures models like this one between epochs, if anyone is to."""

    def callbacks(self, tell: Callable[[int, Names, "np.ndarray"], None]) -> "list[keras.callbacks.Callback]":
        """Returns callbacks for `fit` that tell, at the end of each epoch, what an observer would have seen.

        Args:
            tell: Takes the epoch (1 is the first), the names and the rows, `(steps, names, quantities)`.
        """

    def tell(self, epoch: int, names: Names, rows: Mapping[int, "np.ndarray"]) -> None:
        """Takes what was seen of an epoch, before the epoch itself is told of.

        Args:
            epoch: 1 is the first.
            names: The weights.
            rows: For each trial by its number, `(steps, names, quantities)`.
        """

    def tell_measures(self, epoch: int, names: Sequence[str], rows: Mapping[int, "np.ndarray"]) -> None:
        """Takes what a probe measured after an epoch.

        Args:
            epoch: 0 is before training.
            names: What was measured.
            rows: For each trial by its number, `(batches, names)`.
        """

    def tell_unmeasured(self, trials: Sequence[int], why: str) -> None:
        """Takes that trials cannot be measured between epochs.

        Args:
            trials: Their numbers.
            why: What stands in the way.
        """
