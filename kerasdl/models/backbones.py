"""Pretrained networks without their classifiers, by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kerasdl.errors import UserError, nearest
from kerasdl.models import applications, presets
from kerasdl.models.efficientnet_lite import efficientnet_lite0

if TYPE_CHECKING:
    import keras

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Backbone:
    """A network that turns images into feature maps.

    Attributes:
        name: Its name.
        build: Takes the input's shape and the weights: `"imagenet"`, the path of a file, or `None` for random ones.
        scale: What pixels in [0, 1] are multiplied by, one number or one a channel.
        offset: What is added then.
        smallest: The smallest height and width that it takes.
        bgr: Whether it takes blue, green, red; scale and offset come after the channels are turned round.
    """

    name: str
    build: Callable[[Shape, str | None], "keras.Model"]
    scale: float | Sequence[float]
    offset: float | Sequence[float]
    smallest: int = 32
    bgr: bool = False

    def preprocessed(self, images: "keras.KerasTensor") -> "keras.KerasTensor":
        """Scales images as the network was trained to see them.

        Args:
            images: float `(batch, height, width, 3)`, red, green, blue in [0, 1].
        """
        import keras

        if self.bgr:
            images = keras.ops.flip(images, axis=-1)
        return keras.layers.Rescaling(self.scale, self.offset, name="preprocessing")(images)


def names() -> list[str]:
    """Returns the names of the backbones that need no other package than their weights', sorted."""
    return sorted(["efficientnet_lite0", *applications.NAMES])


def find_backbone(name: str, weights: str | None) -> Backbone:
    """Finds a backbone.

    Args:
        name: `"efficientnet_lite0"`, a function of `keras.applications` (`"MobileNetV2"` or `"mobilenet_v2"`), a preset
            of KerasHub (`"resnet_18_imagenet"`) or the folder of one.
        weights: What it will be built with; some networks scale pixels otherwise with Keras' own weights.

    Returns:
        The backbone.

    Raises:
        UserError: There is none of this name, or its package is not installed.
    """
    if name == "efficientnet_lite0":
        return Backbone(name, _lite, scale=255 / 128, offset=-127 / 128)
    application = applications.find(name)
    if application is not None:
        scale, offset = applications.scaling(application, weights)
        return Backbone(
            application,
            lambda shape, weights: applications.build(application, shape, weights),
            scale,
            offset,
            applications.smallest(application),
            applications.mode(application) == "caffe",
        )
    if presets.installed() or Path(name).is_dir():
        scale, offset = presets.scaling(name)
        return Backbone(name, lambda shape, weights: presets.build(name, shape, weights), scale, offset)
    raise UserError(
        f"backbone: {name!r} is not known; {nearest(name, names())}; presets of KerasHub need the package keras-hub: "
        f"pip install 'kerasdl[hub]'"
    )


def _lite(shape: Shape, weights: str | None) -> "keras.Model":
    if weights not in (None, "imagenet"):
        raise UserError(f"efficientnet_lite0: weights {weights!r} cannot be; give 'imagenet', or set mode = 'scratch'")
    return efficientnet_lite0(shape, pretrained=weights is not None)
