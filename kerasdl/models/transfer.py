"""Transfer learning: a pretrained body and a head of one's own."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kerasdl.errors import UserError
from kerasdl.models.augmented import Augmentation
from kerasdl.models.backbones import Backbone, find_backbone
from kerasdl.models.frozen import dropouts
from kerasdl.models.images import Pooling, image_input, pooled
from kerasdl.models.mlp import Activation
from kerasdl.models.output import output

if TYPE_CHECKING:
    import keras

Mode = Literal["scratch", "probe", "fine-tune"]

# Smaller images are enlarged to this: every network takes it, and the last maps still have 3 x 3 places.
SHORTER_SIDE = 96

Unfreeze = Annotated[int, Field(ge=0)] | Annotated[float, Field(ge=0, le=1)]


def transfer(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    backbone: str = "efficientnet_lite0",
    mode: Mode = "probe",
    weights: str = "imagenet",
    resolution: Annotated[int, Field(ge=32)] | None = None,
    unfreeze: Unfreeze = 1.0,
    batch_statistics: bool = False,
    pooling: Pooling = "average",
    dense: Annotated[int, Field(ge=0)] = 0,
    activation: Activation = "relu",
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    augment: list[Augmentation] | None = None,
) -> "keras.Model":
    """Builds a classifier on a backbone. Images are taken in [0, 1]; the model scales them as the backbone was trained.

    Args:
        input_shape: `(height, width, channels)` or `(height, width)`; grey images are repeated to three channels.
        classes: Number of classes.
        backbone: Its name, see `kerasdl.models.backbones.find_backbone`.
        mode: `"scratch"`: random weights, all trained. `"probe"`: pretrained weights, frozen, and run as at inference
            even while training; only the head learns. `"fine-tune"`: pretrained weights, trained.
        weights: `"imagenet"`, or the path of a file of the backbone's weights without its classifier.
        resolution: Length of the shorter side to which images are resized, the other in proportion. By default images
            keep their size, and smaller ones than 96 are enlarged to that.
        unfreeze: How much of the body `"fine-tune"` trains, from its end: a whole number counts layers with weights, a
            share (1.0: all) is one of those layers.
        batch_statistics: Whether `"fine-tune"` runs the body as from scratch: its batch normalization learns and uses
            the batch's own statistics, which move its averages, and its dropout drops. By default that normalization
            stays as it was pretrained, averages, scale and offset, as small data sets and batches spoil it, and nothing
            is dropped.
        pooling: How the last maps become features: their `"average"` or `"max"` over all places, or `"flatten"`.
        dense: Units of one hidden layer between body and output; 0 for none.
        activation: Name of the hidden layer's activation.
        dropout: Share of features dropped while training, before the output.
        l2: Weight of the head's kernels' squared 2-norm in the loss.
        augment: Augmentation layers after the input, see `kerasdl.models.augmented`.

    Returns:
        An uncompiled model: float32 `(batch, *input_shape)` -> probabilities `(batch, classes)`, or `(batch, 1)`, the
        probability of the second of two classes.

    Raises:
        UserError: The backbone is unknown, its weights cannot be had, or the images are no images.
    """
    import keras

    pretrained = None if mode == "scratch" else weights
    chosen = find_backbone(backbone, pretrained)
    inputs, hidden = image_input(input_shape, augment, rgb=True)
    hidden = chosen.preprocessed(_resized(hidden, chosen, resolution))
    body = chosen.build(tuple(hidden.shape[1:]), pretrained)
    freeze(body, mode, unfreeze, batch_statistics)
    hidden = pooled(body(hidden), pooling)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    if dense:
        hidden = keras.layers.Dense(dense, activation, kernel_regularizer=regularizer, name="dense_1")(hidden)
    if dropout:
        hidden = keras.layers.Dropout(dropout, name="dropout_1")(hidden)
    return keras.Model(inputs, output(hidden, classes, regularizer), name="transfer")


def _resized(images: "keras.KerasTensor", backbone: Backbone, resolution: int | None) -> "keras.KerasTensor":
    import keras

    height, width = images.shape[1:3]
    shorter = min(height, width)
    wanted = resolution or max(shorter, SHORTER_SIDE)
    if wanted < backbone.smallest:
        raise UserError(f"resolution: {wanted} is too small for {backbone.name}; give at least {backbone.smallest}")
    if wanted == shorter:
        return images
    sides = (round(height * wanted / shorter), round(width * wanted / shorter))
    return keras.layers.Resizing(*sides, name="resizing")(images)


def freeze(body: "keras.Model", mode: Mode, unfreeze: int | float, batch_statistics: bool) -> None:
    """Freezes what does not learn of a body, and what would differ while training, as `transfer` describes it.

    It changes the layers themselves: Keras hands `training=True` on to layers that were called with `training=False`.
    """
    import keras

    if mode == "scratch":
        return
    body.trainable = mode == "fine-tune"
    layers = [layer for layer in body.layers if layer.weights]
    kept = round(unfreeze * len(layers)) if isinstance(unfreeze, float) else unfreeze
    for layer in layers[: max(len(layers) - kept, 0)]:
        layer.trainable = False
    if mode == "fine-tune" and batch_statistics:
        return
    for layer in body._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
        elif isinstance(layer, dropouts()):
            layer.rate = 0.0
