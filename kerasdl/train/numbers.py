"""The numbers in which members of a pack may differ: settings that Keras only ever calculates with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

# Momentum, dropout rates and the two numbers of `L1L2` are not among them: Keras asks whether they are zero, which no
# number that differs between members can answer.
_OF_OPTIMIZERS = ("weight_decay", "beta_1", "beta_2", "rho", "epsilon")
_OF_REGULARIZERS = ((keras.regularizers.L1, "l1"), (keras.regularizers.L2, "l2"))


@dataclass(frozen=True)
class Number:
    """One number of a model or an optimizer.

    Attributes:
        name: Where it is, the same in every model of the same architecture.
        owner: The object that has it.
        attribute: By which name.
    """

    name: str
    owner: Any
    attribute: str

    @property
    def value(self) -> float:
        """The number as it is now."""
        return float(getattr(self.owner, self.attribute))


def of_optimizer(optimizer: keras.Optimizer) -> list[Number]:
    """Returns the numbers of an optimizer, its learning rate excepted: that is one of its variables."""
    if not type(optimizer).__module__.startswith("keras."):
        return []
    found = [name for name in _OF_OPTIMIZERS if isinstance(getattr(optimizer, name, None), float)]
    return [Number(f"optimizer.{name}", optimizer, name) for name in found]


def of_layers(model: keras.Model) -> list[Number]:
    """Returns the numbers of a model's layers: the weights of their L1 and L2 penalties."""
    found: list[Number] = []
    seen: set[int] = set()
    for index, layer in enumerate(model._flatten_layers()):
        for place, regularizer in sorted(vars(layer).items(), key=lambda item: item[0]):
            for kind, attribute in _OF_REGULARIZERS:
                if type(regularizer) is kind and id(regularizer) not in seen:
                    seen.add(id(regularizer))
                    found.append(Number(f"layer {index}.{place}.{attribute}", regularizer, attribute))
    return found


@contextmanager
def replaced(numbers: Sequence[Number], values: Sequence[Any]) -> Iterator[None]:
    """Puts other values in the place of numbers for a while, tensors of a program among them."""
    before = [getattr(number.owner, number.attribute) for number in numbers]
    try:
        for number, value in zip(numbers, values, strict=True):
            object.__setattr__(number.owner, number.attribute, value)
        yield
    finally:
        for number, value in zip(numbers, before, strict=True):
            object.__setattr__(number.owner, number.attribute, value)
