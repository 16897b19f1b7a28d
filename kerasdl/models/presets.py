"""KerasHub's presets of image networks without their classifiers."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kerasdl.errors import UserError

if TYPE_CHECKING:
    import keras


def installed() -> bool:
    """Whether KerasHub is installed."""
    return importlib.util.find_spec("keras_hub") is not None


def scaling(name: str) -> tuple[float | Sequence[float], float | Sequence[float]]:
    """Returns the scale and offset that turn pixels in [0, 1] into those that a preset's network takes.

    Args:
        name: The preset's name or folder.

    Raises:
        UserError: KerasHub is not installed, or the preset cannot be had.
    """
    from_preset = _keras_hub().layers.ImageConverter.from_preset
    try:
        converter = from_preset(name)
    except ValueError:
        # A preset may bring no converter: its network then takes pixels in [0, 255].
        return 255.0, 0.0
    except Exception as error:
        raise _unavailable(name, error) from error
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    # KerasHub's converters take pixels in [0, 255].
    return ([255 * one for one in scale] if isinstance(scale, Sequence) else 255 * scale), offset


def build(name: str, shape: tuple[int, int, int], weights: str | None) -> "keras.Model":
    """Builds a preset's network.

    Args:
        name: The preset's name or folder.
        shape: `(height, width, 3)`.
        weights: `"imagenet"` for the preset's own weights, whatever they learnt from; `None` for random ones.

    Returns:
        A model that gives feature maps `(batch, height, width, channels)`.

    Raises:
        UserError: KerasHub is not installed, the preset cannot be had, or it gives no feature maps.
    """
    import keras

    if weights not in (None, "imagenet"):
        raise UserError(f"weights: {weights}: presets bring their own; leave weights out, or set mode = 'scratch'")
    from_preset = _keras_hub().models.Backbone.from_preset
    try:
        network = from_preset(name, load_weights=weights is not None, image_shape=shape)
    except Exception as error:
        raise _unavailable(name, error) from error
    output = network.output
    if not isinstance(output, keras.KerasTensor) or len(output.shape) != 4:
        raise UserError(f"backbone: {name!r} gives no feature maps (height, width, channels); choose an image network")
    # A plain model: it loads wherever its layers do.
    return keras.Model(network.inputs, output, name=network.name)


def _keras_hub() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"backbone: presets need keras-hub: {reason}; pip install 'kerasdl[hub]'") from error
    return keras_hub


def _unavailable(name: str, error: Exception) -> UserError:
    from kerasdl.errors import nearest
    from kerasdl.models.applications import NAMES

    reason = (" ".join(str(error).split()) or type(error).__name__)[:300]
    return UserError(
        f"backbone: {name!r} cannot be had from KerasHub ({reason}); {nearest(name, [*NAMES, 'efficientnet_lite0'])}; "
        f"presets need a network or the folder of one"
    )
