"""U-Nets: a class for every pixel."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kerasdl.errors import UserError
from kerasdl.models.augmented import Augmentation, photometric
from kerasdl.models.backbones import find_backbone
from kerasdl.models.images import image_input
from kerasdl.models.mlp import Activation, Initializer, Width
from kerasdl.models.skips import skips
from kerasdl.models.transfer import Mode, Unfreeze, freeze

if TYPE_CHECKING:
    import keras


def unet(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    encoder: str = "plain",
    filters: Sequence[Width] = (16, 32, 64),
    depth: Annotated[int, Field(ge=1)] | None = None,
    convolutions: Annotated[int, Field(ge=1)] = 2,
    kernel: Annotated[int, Field(ge=1)] = 3,
    upsampling: Literal["nearest", "bilinear", "transpose"] = "nearest",
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    initializer: Initializer = "he_normal",
    mode: Mode = "fine-tune",
    weights: str = "imagenet",
    unfreeze: Unfreeze = 1.0,
    batch_statistics: bool = False,
    augment: list[Augmentation] | None = None,
) -> "keras.Model":
    """Builds a U-Net (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597) that keeps the image's size.

    Images of any size are taken: inside they are padded with zeros on all sides and the answer is cropped.

    Args:
        input_shape: `(height, width, channels)`, or `(height, width)` of grey images.
        classes: Number of classes of pixels, the background among them.
        encoder: `"plain"`, or the name of a backbone (see `kerasdl.models.backbones.find_backbone`), which takes images
            in [0, 1] and gives its maps at every halving of the resolution.
        filters: Filters of each level, from the image's own resolution down; the last is doubled for each level beyond.
        depth: How often the resolution is halved; by default `len(filters) - 1`, or as often as the backbone halves it.
        convolutions: Convolutions of each level, down and up.
        kernel: Height and width of their kernels.
        upsampling: How maps are enlarged: by repeating, by interpolating, or by a transposed convolution.
        activation: Name of the hidden layers' activation.
        batch_norm: Whether each convolution is normalized over the batch before its activation.
        dropout: Share of the coarsest maps' values dropped while training.
        l2: Weight of the kernels' squared 2-norm in the loss; not of a backbone's.
        initializer: Name of the kernels' initializer.
        mode: Of a backbone, as in `kerasdl.models.transfer`: `"scratch"`, `"probe"` or `"fine-tune"`.
        weights: Of a backbone: `"imagenet"`, or the path of a file.
        unfreeze: How much of a backbone `"fine-tune"` trains, as in `kerasdl.models.transfer`.
        batch_statistics: Whether a fine-tuned backbone runs as from scratch, as in `kerasdl.models.transfer`.
        augment: Augmentation layers after the input; only such as leave pixels where they are, as masks do not move.

    Returns:
        An uncompiled model: float32 `(batch, *input_shape)` -> probabilities `(batch, height, width, classes)`, softmax
        over the last axis for two classes too.

    Raises:
        UserError: The backbone is unknown, its weights cannot be had, the features are no images, the network is deeper
            than the backbone, or an augmentation layer moves pixels.
    """
    import keras

    photometric(augment)
    inputs, images = image_input(input_shape, augment, rgb=encoder != "plain")
    regularizer = keras.regularizers.L2(l2) if l2 else None
    convolution = {"padding": "same", "kernel_initializer": initializer, "kernel_regularizer": regularizer}
    blocks = _Blocks(convolutions, kernel, activation, batch_norm, upsampling, convolution)
    if encoder == "plain":
        levels = depth or max(len(filters) - 1, 1)
        hidden, margins = _padded(images, 2**levels)
        wide = _widths(filters, levels)
        maps, coarsest = _plain_encoder(blocks, hidden, wide)
    else:
        pretrained = None if mode == "scratch" else weights
        backbone = find_backbone(encoder, pretrained)
        hidden, margins = _padded(images, 2 ** (depth or 5), backbone.smallest)
        body = backbone.build(tuple(hidden.shape[1:]), pretrained)
        found = skips(body)
        if depth is not None and depth > len(found):
            raise UserError(
                f"depth: {encoder} halves the resolution {len(found)} times, not {depth}; give at most that"
            )
        body = keras.Model(body.inputs, found[:depth], name=body.name)
        freeze(body, mode, unfreeze, batch_statistics)
        *maps, coarsest = keras.tree.flatten(body(backbone.preprocessed(hidden)))
        wide = _widths(filters, len(maps) + 1)
        maps = [blocks.convolved(hidden, wide[0], "image"), *maps]
    hidden = keras.layers.Dropout(dropout, name="dropout")(coarsest) if dropout else coarsest
    for level in reversed(range(len(maps))):
        hidden = blocks.joined(hidden, maps[level], wide[level], f"up_{level}")
    if any(sum(margin) for margin in margins):
        hidden = keras.layers.Cropping2D(margins, name="crop")(hidden)
    outputs = keras.layers.Conv2D(classes, 1, activation="softmax", kernel_regularizer=regularizer, name="output")(
        hidden
    )
    return keras.Model(inputs, outputs, name="unet")


def _widths(filters: Sequence[int], levels: int) -> list[int]:
    widths = list(filters)
    while len(widths) <= levels:
        widths.append(2 * widths[-1])
    return widths


def _padded(
    images: "keras.KerasTensor", multiple: int, smallest: int = 1
) -> tuple["keras.KerasTensor", tuple[tuple[int, int], tuple[int, int]]]:
    import keras

    sides = images.shape[1:3]
    missing = [-(-max(side, smallest) // multiple) * multiple - side for side in sides]
    margins = ((missing[0] // 2, missing[0] - missing[0] // 2), (missing[1] // 2, missing[1] - missing[1] // 2))
    if any(missing):
        images = keras.layers.ZeroPadding2D(margins, name="pad")(images)
    return images, margins


class _Blocks:
    """The layers of one level, all of one make."""

    def __init__(
        self,
        convolutions: int,
        kernel: int,
        activation: str,
        batch_norm: bool,
        upsampling: str,
        convolution: dict[str, Any],
    ) -> None:
        self._convolutions = convolutions
        self._kernel = kernel
        self._activation = activation
        self._batch_norm = batch_norm
        self._upsampling = upsampling
        self._convolution = convolution

    def convolved(self, hidden: "keras.KerasTensor", filters: int, name: str) -> "keras.KerasTensor":
        """A level's convolutions."""
        import keras

        for number in range(1, self._convolutions + 1):
            layer = keras.layers.Conv2D(filters, self._kernel, **self._convolution, name=f"{name}_conv_{number}")
            hidden = layer(hidden)
            if self._batch_norm:
                hidden = keras.layers.BatchNormalization(name=f"{name}_batch_norm_{number}")(hidden)
            hidden = keras.layers.Activation(self._activation, name=f"{name}_activation_{number}")(hidden)
        return hidden

    def joined(
        self, coarse: "keras.KerasTensor", skip: "keras.KerasTensor", filters: int, name: str
    ) -> "keras.KerasTensor":
        """Coarse maps enlarged to a skip's size, beside it, and convolved."""
        import keras

        if self._upsampling == "transpose":
            coarse = keras.layers.Conv2DTranspose(filters, 2, strides=2, **self._convolution, name=f"{name}_transpose")(
                coarse
            )
        else:
            coarse = keras.layers.UpSampling2D(2, interpolation=self._upsampling, name=f"{name}_upsampling")(coarse)
        if coarse.shape[1:3] != skip.shape[1:3]:
            # Backbones without padding have maps that are not exactly twice as large.
            coarse = keras.layers.Resizing(*skip.shape[1:3], name=f"{name}_resizing")(coarse)
        both = keras.layers.Concatenate(name=f"{name}_skip")([coarse, skip])
        return self.convolved(both, filters, name)


def _plain_encoder(
    blocks: _Blocks, hidden: "keras.KerasTensor", filters: list[int]
) -> tuple[list["keras.KerasTensor"], "keras.KerasTensor"]:
    import keras

    maps = []
    for level, width in enumerate(filters[:-1]):
        hidden = blocks.convolved(hidden, width, f"down_{level}")
        maps.append(hidden)
        hidden = keras.layers.MaxPooling2D(2, name=f"pool_{level}")(hidden)
    return maps, blocks.convolved(hidden, filters[-1], "bottom")
