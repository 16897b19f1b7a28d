"""The body of a model, learning in smaller steps than its head, or later."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from kerasdl.train.numbers import unscaled

# By these, and no others, Keras' optimizers move variables; each takes them at this place.
_MOVING = (("_apply_weight_decay", 0), ("_backend_update_step", 1))


class Segment(NamedTuple):
    """Numbers of a variable that stand together and learn alike.

    Attributes:
        size: How many.
        start: The step from which they learn; `None` for those of a head, which learn at the full rate from the first.
    """

    size: int
    start: int | None


def slow_body(model: keras.Model, rate: float = 1.0, unfreeze_steps: int = 0) -> bool:
    """Lets a compiled model's body learn in smaller steps than its head, or its layers one after another.

    A step becomes `rate` times what the optimizer makes of it, weight decay included, which with every optimizer is
    what a learning rate so much smaller gives (discriminative fine-tuning; Howard and Ruder 2018,
    https://arxiv.org/abs/1801.06146, where layers are unfrozen from the last to the first, too). The optimizer itself
    is changed, not what is saved of it.

    Args:
        model: The model; its body is whatever learns of the models nested in it.
        rate: The body's share of the learning rate.
        unfreeze_steps: Steps after which all layers of the body learn: the last does from the start, the others follow
            evenly. What an optimizer remembers of gradients it remembers of waiting layers, too.

    Returns:
        Whether there is a model nested in it.
    """
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    layers = [
        layer
        for one in nested
        for layer in one._flatten_layers(include_self=False)
        if not list(layer._flatten_layers(include_self=False)) and layer.trainable_variables
    ]
    starts: dict[int, int] = {}
    for place, layer in enumerate(reversed(layers)):
        starts |= {id(variable): place * unfreeze_steps // len(layers) for variable in layer.trainable_variables}
    if starts:
        _slow(unscaled(model.optimizer), rate, starts)
    return bool(nested)


def starts_of(optimizer: keras.Optimizer, variables: Sequence[keras.Variable]) -> list[int | None] | None:
    """Returns from which step each variable learns: `None` for a head's, and for all where there is no slow body."""
    starts = getattr(optimizer, "body_starts", None)
    return None if starts is None else [starts.get(id(variable)) for variable in variables]


def slow_alike(optimizer: keras.Optimizer, model: keras.Model) -> None:
    """Slows the optimizer of a model down as another is, whose variables the model shares."""
    own = [id(variable) for variable in model.trainable_variables]
    starts = getattr(optimizer, "body_starts", {})
    if any(key in starts for key in own):
        _slow(unscaled(model.optimizer), optimizer.body_rate, {key: starts[key] for key in own if key in starts})


def _slow(optimizer: keras.Optimizer, rate: Any, starts: Mapping[int, int]) -> None:
    object.__setattr__(optimizer, "body_starts", dict(starts))
    shorten(optimizer, rate, {key: [Segment(1, start)] for key, start in starts.items()})


def shorten(optimizer: keras.Optimizer, rate: Any, segments: Mapping[int, Sequence[Segment]]) -> None:
    """Shortens an optimizer's steps.

    Args:
        optimizer: The optimizer; its attribute `body_rate` may be replaced by a tensor.
        rate: The share of a step that a body takes.
        segments: What of a variable learns, by the variable's `id`: one segment for all of it, or several of a flat
            one. Steps of other variables are left as they are.
    """
    object.__setattr__(optimizer, "body_rate", rate)
    for name, place in _MOVING:
        object.__setattr__(optimizer, name, _shortened(optimizer, getattr(optimizer, name), place, segments))


def _shortened(
    optimizer: keras.Optimizer, move: Callable[..., None], place: int, segments: Mapping[int, Sequence[Segment]]
) -> Callable[..., None]:
    def shortened(*arguments: Any) -> None:
        slow = [variable for variable in arguments[place] if id(variable) in segments]
        before = [keras.ops.copy(variable) for variable in slow]
        move(*arguments)
        for variable, old in zip(slow, before, strict=True):
            share = keras.ops.cast(_share(optimizer, segments[id(variable)]), old.dtype)
            variable.assign(old + share * (variable - old))

    return shortened


def _share(optimizer: keras.Optimizer, segments: Sequence[Segment]) -> Any:
    """Returns the share of a step: a scalar, or one for each number of a flat variable."""
    shares = [_share_from(optimizer, segment.start) for segment in segments]
    if len(segments) == 1:
        return shares[0]
    return keras.ops.concatenate(
        [keras.ops.broadcast_to(share, (segment.size,)) for share, segment in zip(shares, segments, strict=True)]
    )


def _share_from(optimizer: keras.Optimizer, start: int | None) -> Any:
    if start is None:
        return keras.ops.ones((), "float32")
    learns = keras.ops.greater_equal(keras.ops.convert_to_tensor(optimizer._iterations), start)
    return keras.ops.cast(learns, "float32") * optimizer.body_rate


def joined(segments: Sequence[Segment]) -> list[Segment]:
    """Joins neighbours that learn alike."""
    found: list[Segment] = []
    for segment in segments:
        if found and found[-1].start == segment.start:
            found[-1] = Segment(found[-1].size + segment.size, segment.start)
        else:
            found.append(segment)
    return found
