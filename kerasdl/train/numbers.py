"""The numbers in which members of a pack may differ: settings that Keras only ever calculates with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

# The last is there where a body learns slowly, see kerasdl.train.body.
_OF_OPTIMIZERS = ("weight_decay", "beta_1", "beta_2", "rho", "epsilon", "body_rate")
# Keras asks of these whether they are zero, or one, and builds another program where they are.
_ASKED_OF_OPTIMIZERS = ("momentum",)
# `clipvalue` is missing: Keras hands it to `jax.numpy.clip`, which takes no variable.
_LIMITS_OF_OPTIMIZERS = ("clipnorm", "global_clipnorm")
_ASKED_OF_DROPOUT = (("rate",), (0.0, 1.0))
# By the class of a layer or of a regularizer: its numbers, and for which values of them Keras asks.
_OF_LAYERS: dict[type, tuple[tuple[str, ...], tuple[float, ...]]] = {
    keras.regularizers.L1: (("l1",), ()),
    keras.regularizers.L2: (("l2",), ()),
    keras.regularizers.L1L2: (("l1", "l2"), (0.0, 1.0)),
    keras.layers.Dropout: _ASKED_OF_DROPOUT,
    keras.layers.SpatialDropout1D: _ASKED_OF_DROPOUT,
    keras.layers.SpatialDropout2D: _ASKED_OF_DROPOUT,
    keras.layers.SpatialDropout3D: _ASKED_OF_DROPOUT,
    keras.layers.AlphaDropout: _ASKED_OF_DROPOUT,
    keras.layers.GaussianNoise: (("stddev",), (0.0, 1.0)),
}
_ASKED_OF_LOSSES = ("label_smoothing",)
_OF_SCHEDULES: dict[type, tuple[str, ...]] = {
    keras.optimizers.schedules.ExponentialDecay: ("initial_learning_rate", "decay_steps", "decay_rate"),
    keras.optimizers.schedules.InverseTimeDecay: ("initial_learning_rate", "decay_steps", "decay_rate"),
    keras.optimizers.schedules.PolynomialDecay: (
        "initial_learning_rate",
        "decay_steps",
        "end_learning_rate",
        "power",
    ),
    keras.optimizers.schedules.CosineDecay: (
        "initial_learning_rate",
        "decay_steps",
        "alpha",
        "warmup_target",
        "warmup_steps",
    ),
}


@dataclass(frozen=True)
class Number:
    """One number of a model or an optimizer.

    Attributes:
        name: Where it is, the same in every model of the same architecture.
        owner: The object that has it.
        attribute: By which name.
        asked: The values that Keras asks for, which a number that differs between members must not have.
    """

    name: str
    owner: Any
    attribute: str
    asked: tuple[float, ...] = ()

    @property
    def value(self) -> Any:
        """The number as it is now: a Python number, or the tensor that Keras made of it."""
        return self.owner[self.attribute] if isinstance(self.owner, dict) else getattr(self.owner, self.attribute)

    def put(self, value: Any) -> None:
        """Puts another in its place, a tensor of a program perhaps."""
        if self.asked and keras.ops.is_tensor(value):
            value = Nonzero(value)
        if isinstance(self.owner, dict):
            self.owner[self.attribute] = value
        else:
            object.__setattr__(self.owner, self.attribute, value)


class Nonzero(keras.Variable):
    """A tensor that answers Keras' questions whether it is zero, or one where that is asked: it is neither.

    It is a `keras.Variable` because that is what Keras' operations on every backend take for its value.

    Args:
        tensor: A scalar above zero in every member.
    """

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        self._dtype = keras.backend.standardize_dtype(tensor.dtype)
        self._shape = ()
        self._autocast = False

    @property
    def value(self) -> Any:
        """The tensor."""
        return self._tensor

    def __getattr__(self, name: str) -> Any:
        # Called for what a Keras variable lacks: what the backend asks of a tensor.
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._tensor, name)

    def __repr__(self) -> str:
        return "<Nonzero>"

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __gt__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def unscaled(optimizer: keras.Optimizer) -> keras.Optimizer:
    """Returns the optimizer inside one that only scales the loss, or the optimizer itself."""
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if scales else optimizer


def of_optimizer(optimizer: keras.Optimizer) -> list[Number]:
    """Returns the numbers of an optimizer and of its schedule; a plain learning rate is one of its variables."""
    optimizer = unscaled(optimizer)
    if not type(optimizer).__module__.startswith("keras."):
        return []
    schedule = optimizer._learning_rate
    return [
        *_numbers("optimizer", optimizer, _OF_OPTIMIZERS),
        *_numbers("optimizer", optimizer, _ASKED_OF_OPTIMIZERS, (0, 1)),
        *_numbers("optimizer", optimizer, _LIMITS_OF_OPTIMIZERS, (0,)),
        *_numbers("schedule", schedule, numbers_of_schedule(schedule)),
    ]


def numbers_of_schedule(schedule: Any) -> tuple[str, ...]:
    """Returns the names of a schedule's numbers: a schedule of one's own lists them as `numbers` of its class."""
    return _OF_SCHEDULES.get(type(schedule)) or tuple(getattr(type(schedule), "numbers", ()))


def of_model(model: keras.Model) -> list[Number]:
    """Returns the numbers of a compiled model: those of its layers, of their regularizers and of its losses."""
    found: list[Number] = []
    seen: set[int] = set()
    for index, layer in enumerate(model._flatten_layers()):
        places = [("", layer), *sorted(vars(layer).items(), key=lambda item: item[0])]
        for place, owner in places:
            if type(owner) not in _OF_LAYERS or id(owner) in seen:
                continue
            own = _numbers(f"layer {index}.{place}", owner, *_OF_LAYERS[type(owner)])
            if own:
                seen.add(id(owner))
                found += own
    for index, loss in enumerate(keras.tree.flatten(model.loss)):
        settings = getattr(loss, "_fn_kwargs", None)
        if isinstance(settings, dict) and type(loss).__module__.startswith("keras."):
            found += _numbers(f"loss {index}", settings, _ASKED_OF_LOSSES, (0, 1))
    return found


def _numbers(place: str, owner: Any, names: Sequence[str], asked: tuple[float, ...] = ()) -> list[Number]:
    numbers = [Number(f"{place}.{name}", owner, name, asked) for name in names if _has(owner, name)]
    return [number for number in numbers if _can_differ(number)]


def _has(owner: Any, name: str) -> bool:
    return name in owner if isinstance(owner, dict) else hasattr(owner, name)


def _can_differ(number: Number) -> bool:
    value = number.value
    if isinstance(value, bool) or not (isinstance(value, int | float) or keras.ops.is_tensor(value)):
        return False
    return value not in number.asked


@contextmanager
def replaced(numbers: Sequence[Number], values: Sequence[Any]) -> Iterator[None]:
    """Puts other values in the place of numbers for a while, tensors of a program among them."""
    before = [number.value for number in numbers]
    try:
        for number, value in zip(numbers, values, strict=True):
            number.put(value)
        yield
    finally:
        for number, value in zip(numbers, before, strict=True):
            number.put(value)
