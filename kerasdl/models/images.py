"""How images enter a model."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from kerasdl.errors import UserError
from kerasdl.models.augmented import Augmentation, augment_images

if TYPE_CHECKING:
    import keras

# How feature maps become one vector a row.
Pooling = Literal["flatten", "average", "max"]


def image_input(
    input_shape: tuple[int, ...], augment: Sequence[Augmentation] | None = None, *, rgb: bool = False
) -> tuple["keras.KerasTensor", "keras.KerasTensor"]:
    """Makes a model's input of images, and what changes them while training.

    Args:
        input_shape: `(height, width)` or `(height, width, channels)`.
        augment: Descriptions of augmentation layers, see `kerasdl.models.augmented`.
        rgb: Whether grey images are repeated to three channels; other numbers than 1 and 3 are then refused.

    Returns:
        The input, as it was asked for, and float `(batch, height, width, channels)`.

    Raises:
        UserError: The features are no images, or have a number of channels that cannot be.
    """
    import keras

    if len(input_shape) not in (2, 3):
        raise UserError(
            f"model: takes images of shape (height, width) or (height, width, channels), not features of shape "
            f"{input_shape}; choose mlp or softmax for tables"
        )
    inputs = keras.Input(input_shape, name="features")
    images = inputs
    if len(input_shape) == 2:
        images = keras.layers.Reshape((*input_shape, 1), name="channel")(images)
    channels = images.shape[-1]
    if rgb and channels not in (1, 3):
        raise UserError(f"model: the backbone takes images of 1 or 3 channels, not {channels}; drop or merge channels")
    if rgb and channels == 1:
        images = keras.layers.Concatenate(name="rgb")([images] * 3)
    return inputs, augment_images(images, augment)


def pooled(maps: "keras.KerasTensor", pooling: Pooling) -> "keras.KerasTensor":
    """Turns feature maps `(batch, height, width, channels)` into vectors `(batch, features)`."""
    import keras

    if pooling == "flatten":
        return keras.layers.Flatten(name="flatten")(maps)
    if pooling == "max":
        return keras.layers.GlobalMaxPooling2D(name="pooling")(maps)
    return keras.layers.GlobalAveragePooling2D(name="pooling")(maps)
