"""The networks of keras.applications without their classifiers."""

import math
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kerasdl.errors import UserError

if TYPE_CHECKING:
    import keras

# How a network was trained to see pixels, Keras' words: "tf": in [-1, 1]; "torch": by ImageNet's mean and deviation;
# "caffe": blue, green, red less their means; "included": in [0, 255], the network scales them itself.
Mode = Literal["tf", "torch", "caffe", "included"]

# Written down, not looked up, so that names are known before Keras is imported; a test holds them against Keras.
_MODES: dict[Mode, tuple[str, ...]] = {
    "tf": (
        "InceptionResNetV2",
        "InceptionV3",
        "MobileNet",
        "MobileNetV2",
        "NASNetLarge",
        "NASNetMobile",
        "ResNet101V2",
        "ResNet152V2",
        "ResNet50V2",
        "Xception",
    ),
    "torch": ("DenseNet121", "DenseNet169", "DenseNet201"),
    "caffe": ("ResNet101", "ResNet152", "ResNet50", "VGG16", "VGG19"),
    "included": (
        *(f"ConvNeXt{size}" for size in ("Base", "Large", "Small", "Tiny", "XLarge")),
        *(f"EfficientNetB{number}" for number in range(8)),
        *(f"EfficientNetV2{size}" for size in ("B0", "B1", "B2", "B3", "L", "M", "S")),
        "MobileNetV3Large",
        "MobileNetV3Small",
    ),
}
NAMES = tuple(name for names in _MODES.values() for name in names)

_SMALLEST = {"InceptionResNetV2": 75, "InceptionV3": 75, "Xception": 71}

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_MEAN_BGR = (103.939, 116.779, 123.68)


def find(name: str) -> str | None:
    """Returns a network's function name, however it is written (`"mobilenet_v2"`); `None` where there is none."""
    plain = {one.lower(): one for one in NAMES}
    return plain.get(name.replace("_", "").lower())


def mode(name: str) -> Mode:
    """Returns how a network was trained to see pixels."""
    return next(mode for mode, names in _MODES.items() if name in names)


def smallest(name: str) -> int:
    """Returns the smallest height and width that a network takes."""
    return _SMALLEST.get(name, 32)


def scaling(name: str, weights: str | None) -> tuple[float | Sequence[float], float | Sequence[float]]:
    """Returns the scale and offset that turn pixels in [0, 1] into those that a network takes.

    Args:
        name: The function's name.
        weights: What it is built with.
    """
    kind = mode(name)
    if kind == "tf":
        return 2.0, -1.0
    if kind == "torch":
        scales, offsets = zip(*((1 / s, -m / s) for m, s in zip(_MEAN, _DEVIATION, strict=True)), strict=True)
        return list(scales), list(offsets)
    if kind == "caffe":
        return 255.0, [-mean for mean in _MEAN_BGR]
    if name.startswith("EfficientNetB") and weights not in (None, "imagenet"):
        # Keras divides once more by the deviation's root, but only where it fetches the weights itself.
        roots = [math.sqrt(deviation) for deviation in _DEVIATION]
        shifts = [255 * (mean - mean / root) for mean, root in zip(_MEAN, roots, strict=True)]
        return [255 / root for root in roots], shifts
    return 255.0, 0.0


def build(name: str, shape: tuple[int, int, int], weights: str | None) -> "keras.Model":
    """Builds a network without its classifier.

    Args:
        name: The function's name.
        shape: `(height, width, 3)`.
        weights: `"imagenet"`, which Keras fetches where it has not yet; the path of a file of the same weights; or
            `None`.

    Returns:
        A model that gives feature maps.

    Raises:
        UserError: The weights cannot be fetched or read.
    """
    import keras

    if weights not in (None, "imagenet") and not Path(str(weights)).is_file():
        raise UserError(f"weights: {weights}: no such file; give 'imagenet' or the path of a weights file for {name}")
    function = getattr(keras.applications, name)
    with warnings.catch_warnings():
        # MobileNets say that weights of 224 x 224 are taken at other sizes, which is what is asked for.
        warnings.filterwarnings("ignore", message=".*`input_shape` is undefined or non-square", category=UserWarning)
        try:
            return function(include_top=False, weights=weights, input_shape=shape)
        # Keras raises a bare Exception where a download fails, and whatever h5py raises where a file is another's.
        except Exception as error:
            raise UserError(_reason(name, weights, " ".join(str(error).split()))) from error


def _reason(name: str, weights: str | None, message: str) -> str:
    failed = re.search(r"URL fetch failure on (\S+): (.*)", message)
    if failed:
        address = failed[1]
        file = address.rpartition("/")[2]
        return (
            f"{name}: the ImageNet weights cannot be fetched from {address} ({failed[2]}); connect to the network, put "
            f"the file there as ~/.keras/models/{file}, choose backbone = 'efficientnet_lite0', whose weights are a "
            f"Python package, or set mode = 'scratch'"
        )
    if weights not in (None, "imagenet"):
        return f"weights: {weights}: not the weights of {name} without its classifier: {message}; give another file"
    return f"{name}: {message}"
