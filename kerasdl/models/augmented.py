"""Augmentation by Keras' own layers."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    import keras

# Written down, not looked up, because a study is checked before Keras is imported; a test holds them against Keras.
# They move pixels, so that a mask of labels would have to move with the image.
GEOMETRIC = (
    "RandomElasticTransform",
    "RandomFlip",
    "RandomPerspective",
    "RandomRotation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
)
# They leave pixels where they are. Keras' RandomCrop, MixUp and CutMix are not among them: the first is no identity
# at inference, the others change labels too.
PHOTOMETRIC = (
    "AugMix",
    "GaussianDropout",
    "GaussianNoise",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomErasing",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPosterization",
    "RandomSaturation",
    "RandomSharpness",
)
NAMES = (*GEOMETRIC, *PHOTOMETRIC)

# Keras finds out while training only that these need red, green and blue, or never that a mode is misspelt.
_COLOURS = (
    "AugMix",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomGrayscale",
    "RandomHue",
    "RandomSaturation",
)
_FLIPS = ("horizontal", "vertical", "horizontal_and_vertical")


def _described(description: dict[str, Any]) -> dict[str, Any]:
    name = description.get("layer")
    if not isinstance(name, str):
        raise ValueError(f"{description!r} names no layer; write {{layer = 'RandomFlip', ...}}")
    if name not in NAMES:
        raise ValueError(f"{name!r} is not an augmentation layer; {nearest(name, NAMES)}")
    return description


# `{"layer": "RandomRotation", "factor": 0.1}`: a layer of keras.layers and its arguments.
Augmentation = Annotated[dict[str, Any], AfterValidator(_described)]


def augmented(augment: Sequence[Augmentation]) -> list["keras.Layer"]:
    """Makes augmentation layers from their descriptions.

    They act while training only: at inference each is the identity. Images are taken to lie in [0, 1], so layers that
    ask for a `value_range` get (0, 1) where the description names none.

    Args:
        augment: One description a layer, in order: `layer`, the name of a class of `keras.layers`, and its arguments.

    Returns:
        The layers, named `augment_1` and so on.

    Raises:
        UserError: A name or an argument is unknown, or a value cannot be.
    """
    return [_layer(number, description) for number, description in enumerate(augment, start=1)]


def _layer(number: int, description: dict[str, Any]) -> "keras.Layer":
    import keras

    place = f"augment, layer {number}"
    try:
        name = _described(description)["layer"]
    except ValueError as error:
        raise UserError(f"{place}: {error}") from error
    kind = getattr(keras.layers, name, None)
    if kind is None:
        raise UserError(f"{place}: Keras {keras.__version__} has no {name}; upgrade keras or choose another layer")
    arguments = {key: value for key, value in description.items() if key != "layer"}
    own = [key for key in inspect.signature(kind.__init__).parameters if key not in ("self", "kwargs", "name")]
    for key in arguments:
        if key not in own:
            raise UserError(f"{place}: {name} takes no {key!r}; {nearest(key, own)}")
    if name == "RandomFlip" and arguments.get("mode", _FLIPS[0]) not in _FLIPS:
        raise UserError(f"{place}: RandomFlip: mode {arguments['mode']!r}; {nearest(str(arguments['mode']), _FLIPS)}")
    if "value_range" in own:
        arguments.setdefault("value_range", (0, 1))
    try:
        return kind(**arguments, name=f"augment_{number}")
    except (TypeError, ValueError) as error:
        raise UserError(f"{place}: {name}: {' '.join(str(error).split())}") from error


def augment_images(images: "keras.KerasTensor", augment: Sequence[Augmentation] | None) -> "keras.KerasTensor":
    """Puts augmentation layers after images.

    Args:
        images: float `(batch, height, width, channels)`.
        augment: The layers' descriptions, if any.

    Returns:
        What comes out of the last layer, of the same shape.

    Raises:
        UserError: A layer cannot be made, or cannot take such images.
    """
    for number, layer in enumerate(augmented(augment or []), start=1):
        kind = type(layer).__name__
        if kind in _COLOURS and images.shape[-1] != 3:
            raise UserError(
                f"augment, layer {number}: {kind} needs images of 3 channels, not {images.shape[-1]}; leave it out"
            )
        try:
            changed = layer(images)
        except (TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"augment, layer {number}: {kind} cannot take images of shape {images.shape[1:]}: {reason}"
            ) from error
        if changed.shape != images.shape:
            raise UserError(
                f"augment, layer {number}: {kind} makes images of shape {changed.shape[1:]} out of "
                f"{images.shape[1:]}; leave it out"
            )
        images = changed
    return images


def photometric(augment: Sequence[Augmentation] | None) -> None:
    """Checks that layers leave pixels where they are, so that labels of pixels stay true.

    Raises:
        UserError: One moves pixels.
    """
    for number, description in enumerate(augment or [], start=1):
        if description.get("layer") in GEOMETRIC:
            raise UserError(
                f"augment, layer {number}: {description['layer']} moves the image and not its mask; "
                f"choose from {', '.join(PHOTOMETRIC)}, or augment the data set"
            )
