"""Which layers are watched, and what they are called."""

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import keras

from kerasdl.errors import UserError, nearest

Choice: TypeAlias = str | int | keras.layers.Layer


class NamedLayer(NamedTuple):
    """A layer with the name it has in tables: its own, after those of the layers that hold it (`"encoder/dense"`)."""

    name: str
    layer: keras.layers.Layer
    holders: tuple[keras.layers.Layer, ...]


class NamedVariable(NamedTuple):
    """A trainable weight, by the layer that owns it and its own name."""

    layer: str
    variable: str
    value: keras.Variable


def named_layers(model: keras.Model) -> list[NamedLayer]:
    """Names all layers of a model, at every depth, each layer once.

    Args:
        model: Any Keras model; a layer that is used several times or held by two layers is found once.

    Returns:
        The model itself first, under its own name, then its layers from inputs to outputs as far as Keras knows their
        order. Where two layers would share a name, the later ones end in `#2`, `#3`...
    """
    found = [NamedLayer(model.name, model, ())]
    seen = {id(model)}
    taken: dict[str, int] = {}

    def walk(holder: keras.layers.Layer, prefix: str, holders: tuple[keras.layers.Layer, ...]) -> None:
        for layer in _held(holder):
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            name = _unique(prefix + layer.name, taken)
            found.append(NamedLayer(name, layer, holders))
            walk(layer, f"{name}/", (*holders, layer))

    walk(model, "", ())
    return found


def _held(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    return list(layer._flatten_layers(include_self=False, recursive=False))


def _unique(name: str, taken: dict[str, int]) -> str:
    taken[name] = taken.get(name, 0) + 1
    return name if taken[name] == 1 else f"{name}#{taken[name]}"


def choose_layers(model: keras.Model, choices: Choice | Sequence[Choice] | None, where: str) -> list[NamedLayer]:
    """Finds the layers that a person chose.

    Args:
        model: The model.
        choices: Names, patterns as of `fnmatch`, numbers in `model.layers` or layers; `None` for all. Whoever chooses a
            layer chooses those inside it. A name fits a layer at any depth, by itself or after those that hold it.
        where: Who asks, for messages.

    Returns:
        The chosen layers in the model's order.

    Raises:
        UserError: A choice fits no layer.
    """
    layers = named_layers(model)
    if choices is None:
        return layers
    if isinstance(choices, str | int | keras.layers.Layer):
        choices = [choices]
    chosen: set[int] = set()
    for choice in choices:
        hits = [named for named in layers if _fits(named, choice, model, where)]
        if not hits:
            raise UserError(f"{where}: the model has no layer {choice!r}; {_suggestion(choice, layers)}")
        chosen.update(id(named.layer) for named in hits)
    return [
        named for named in layers if id(named.layer) in chosen or any(id(holder) in chosen for holder in named.holders)
    ]


def _fits(named: NamedLayer, choice: Choice, model: keras.Model, where: str) -> bool:
    if isinstance(choice, keras.layers.Layer):
        return named.layer is choice
    if isinstance(choice, int) and not isinstance(choice, bool):
        if not -len(model.layers) <= choice < len(model.layers):
            raise UserError(
                f"{where}: there is no layer {choice}; the model has {len(model.layers)}, "
                f"0 to {len(model.layers) - 1} (or negative, from the end)"
            )
        return named.layer is model.layers[choice]
    if isinstance(choice, str):
        return fnmatch.fnmatchcase(named.name, choice) or fnmatch.fnmatchcase(named.layer.name, choice)
    raise UserError(
        f"{where}: {choice!r} chooses no layer; give a name, a pattern such as 'dense*', a number or a layer"
    )


def _suggestion(choice: Choice, layers: Iterable[NamedLayer]) -> str:
    names = {named.name for named in layers}
    return nearest(choice, names) if isinstance(choice, str) else f"choose from {', '.join(sorted(names))}"


def choose_variables(model: keras.Model, choices: Choice | Sequence[Choice] | None, where: str) -> list[NamedVariable]:
    """Finds the trainable weights of chosen layers.

    Args:
        model: A built model.
        choices: As for `choose_layers`.
        where: Who asks, for messages.

    Returns:
        Each weight that gradients move once, under the innermost layer that owns it.

    Raises:
        UserError: A choice fits no layer, or no chosen layer has a weight that is trained.
    """
    taken: dict[str, int] = {}
    found: dict[int, NamedVariable] = {}
    for owner, variable in _owned(choose_layers(model, choices, where)):
        if id(variable) not in found:
            name = _unique(f"{owner.name}/{variable.name}", taken).removeprefix(f"{owner.name}/")
            found[id(variable)] = NamedVariable(owner.name, name, variable)
    if not found:
        raise UserError(f"{where}: no weight of {_words(choices)} is trained; frozen layers have no gradient to watch")
    return list(found.values())


def _words(choices: Choice | Sequence[Choice] | None) -> str:
    return "this model" if choices is None else f"layers {choices!r}"


def _owned(layers: Iterable[NamedLayer]) -> Iterator[tuple[NamedLayer, keras.Variable]]:
    """Yields each layer's own trainable weights, without those of the layers inside it."""
    for named in layers:
        inner = {id(variable) for layer in _held(named.layer) for variable in layer.trainable_variables}
        for variable in named.layer.trainable_variables:
            # Such weights (float8 scales) are overwritten by what Keras hands on as their gradient.
            if id(variable) not in inner and not getattr(variable, "overwrite_with_gradient", False):
                yield named, variable
