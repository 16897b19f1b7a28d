"""The form of images: their size, their channels, and how images of other sizes are brought to it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

LUMINANCE = (0.299, 0.587, 0.114)
"""What red, green and blue add to grey (ITU-R BT.601), as Pillow has it."""


@dataclass(frozen=True)
class Form:
    """What images are brought to.

    Attributes:
        size: Height and width in pixels; `None` leaves them as they are.
        channels: 1 for grey, 3 for colour; `None` leaves them as they are.
        resize: How images of another size get there: `"stretch"` gives up their proportions, `"crop"` cuts off what
            is too much on two sides alike, `"pad"` fills up with black (of masks, with the class of value 0).
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    resize: str = "stretch"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> "Form":
        """Returns the form that parameters of a specification ask for."""
        return cls(parameters.get("size"), parameters.get("channels"), parameters.get("resize", "stretch"))

    def shape(self, height: int, width: int, channels: int) -> tuple[int, int, int]:
        """Returns the shape that an image gets."""
        return (*(self.size or (height, width)), self.channels or channels)

    def pads(self, height: int, width: int) -> bool:
        """Whether an image of this size is filled up."""
        if self.resize != "pad" or self.size is None:
            return False
        return height * self.size[1] != width * self.size[0]

    def fit(self, image: "Image", *, nearest: bool = False) -> "Image":
        """Brings one image to the size, by bilinear interpolation that averages where it shrinks.

        Args:
            image: Of any mode that Pillow resizes.
            nearest: Whether to take the nearest pixel instead, as masks need it.

        Returns:
            An image of the same mode and of the size asked for.
        """
        from PIL import Image

        if self.size is None or (image.height, image.width) == self.size:
            return image
        height, width = self.size
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
        if self.resize == "crop":
            scale = min(image.width / width, image.height / height)
            left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
            # Rounding must not leave the image.
            right, bottom = min(left + width * scale, image.width), min(top + height * scale, image.height)
            return image.resize((width, height), method, box=(max(left, 0.0), max(top, 0.0), right, bottom))
        if not self.pads(image.height, image.width):
            return image.resize((width, height), method)
        scale = min(width / image.width, height / image.height)
        inner = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
        resized = image.resize(inner, method)
        # Zeros of the image's own mode; those of a palette are its first colour, a mask's class of value 0.
        filled = Image.new(image.mode, (width, height))
        filled.paste(resized, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        return filled

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Brings arrays of images to the form.

        Args:
            images: `(rows, height, width, channels)`, 1 or 3 channels of any number type.

        Returns:
            The same type, `(rows, *shape)`.
        """
        rows, height, width, channels = images.shape
        wanted = self.shape(height, width, channels)
        if wanted[2] < channels:
            grey = images @ np.array(LUMINANCE, "float32")
            images, channels = _as_type(grey, images.dtype)[..., np.newaxis], 1
        if wanted[:2] != (height, width):
            resized = np.empty((rows, *wanted[:2], channels), images.dtype)
            for image, place in zip(images, resized, strict=True):
                for channel in range(channels):
                    place[..., channel] = self._fit_plane(image[..., channel])
            images = resized
        return np.repeat(images, wanted[2], axis=3) if wanted[2] > channels else images

    def _fit_plane(self, plane: np.ndarray) -> np.ndarray:
        from PIL import Image

        # Pillow resizes uint8 and float32 alone.
        exact = plane if plane.dtype == np.uint8 else plane.astype("float32")
        return _as_type(np.asarray(self.fit(Image.fromarray(np.ascontiguousarray(exact)))), plane.dtype)


def _as_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if values.dtype == dtype or dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(dtype)
