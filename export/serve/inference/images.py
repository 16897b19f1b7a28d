"""Reads image files as the model was trained on them, with Pillow."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inference.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


def read_image(
    content: bytes, wanted: dict[str, Any] | None, place: str, *, invert: bool = False, most_pixels: int = 50_000_000
) -> np.ndarray:
    """Decodes an image and brings it to the form of the training images.

    It is turned upright, laid on white where it is transparent, made grey or coloured, resized by averaging, and its
    black and white become the ends of the range of the raw pixels that the model takes.

    Args:
        content: The bytes of a PNG, JPEG, WebP or BMP file.
        wanted: `preprocessing.image` of `model.json`.
        place: What the image is called in messages.
        invert: Whether black and white change places, for dark strokes on white paper.
        most_pixels: Larger images are not decoded.

    Returns:
        float32, `(height, width, channels)`.

    Raises:
        InputError: It cannot be read, is too large, or the model takes no images; or Pillow is not installed.
    """
    if wanted is None:
        raise InputError("takes_no_images", "this model takes rows of numbers, not images", place)
    if wanted["range"] is None:
        raise InputError(
            "range_unknown",
            "which numbers this model takes for black and white is not known; write them, such as [0, 255], into "
            "model.json as preprocessing.image.range, or give arrays of numbers as JSON",
            place,
        )
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise InputError("no_pillow", "images need Pillow: pip install pillow") from None
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.width * image.height > most_pixels:
                raise InputError(
                    "too_large", f"{image.width} x {image.height} pixels, and at most {most_pixels} are read", place
                )
            upright = ImageOps.exif_transpose(image)
            pixels = _share_of_white(upright, wanted, invert)
    except InputError:
        raise
    except Exception:  # noqa: BLE001 - damaged files break Pillow's parsers in many ways
        raise InputError("not_an_image", "cannot be read as a PNG, JPEG, WebP or BMP image", place) from None
    low, high = wanted["range"]
    return (low + pixels * (high - low)).astype("float32")


def looks_like_image(start: bytes) -> bool:
    """Tells by the first bytes of a file; `BM` alone may begin the header of a table."""
    bitmap = start.startswith(b"BM") and start[6:10] == bytes(4)
    return (
        bitmap or start.startswith((b"\x89PNG", b"\xff\xd8\xff")) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
    )


def write_mask(path: Path, mask: np.ndarray) -> None:
    """Writes numbers of classes, `(height, width)`, as the pixels of a PNG, with a palette to see them.

    Raises:
        InputError: Pillow is not installed, or there are more classes than a palette holds.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError("no_pillow", "masks need Pillow: pip install pillow") from None
    if mask.max() > 255:
        raise InputError("too_many_classes", "a mask holds 256 classes at most; ask for JSON instead")
    image = Image.fromarray(mask.astype("uint8"), mode="P")
    image.putpalette([value for number in range(256) for value in _colour(number)])
    image.save(path)


def _share_of_white(image: "Image", wanted: dict[str, Any], invert: bool) -> np.ndarray:
    """Returns the pixels as shares of white, float64, `(height, width, channels)`."""
    from PIL import Image, ImageOps

    channels = wanted["channels"]
    if image.mode.startswith("I"):
        # Sixteen bits, which Pillow would cut off at 255.
        deep = np.clip(np.asarray(image), 0, 65535).astype("float32")
        grey = np.asarray(_fit(Image.fromarray(65535 - deep if invert else deep), wanted)) / 65535
        return np.repeat(grey[..., np.newaxis], channels, axis=2)
    plain = _opaque(image, "L" if channels == 1 else "RGB")
    # Before it is filled up with black.
    flat = _fit(ImageOps.invert(plain) if invert else plain, wanted)
    return np.asarray(flat, "float64").reshape(flat.height, flat.width, channels) / 255


def _opaque(image: "Image", mode: str) -> "Image":
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Before it is made smaller, or the colour under transparent pixels would bleed into their neighbours.
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels).convert(mode)
    return image if image.mode == mode else image.convert(mode)


def _fit(image: "Image", wanted: dict[str, Any]) -> "Image":
    """Brings an image to the size, by bilinear interpolation that averages where it shrinks."""
    from PIL import Image

    height, width = wanted["height"], wanted["width"]
    if height is None or width is None or (image.height, image.width) == (height, width):
        return image
    method = Image.Resampling.BILINEAR
    if wanted["resize"] == "crop":
        scale = min(image.width / width, image.height / height)
        left, top = max((image.width - width * scale) / 2, 0), max((image.height - height * scale) / 2, 0)
        right, bottom = min(left + width * scale, image.width), min(top + height * scale, image.height)
        return image.resize((width, height), method, box=(left, top, right, bottom))
    if wanted["resize"] != "pad":
        return image.resize((width, height), method)
    scale = min(width / image.width, height / image.height)
    inner = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    filled = Image.new(image.mode, (width, height))
    filled.paste(image.resize(inner, method), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return filled


def _colour(number: int) -> tuple[int, int, int]:
    """Spreads colours so that numbers near each other look different; 0 is black (the VOC colour map)."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number & 1) << (7 - bit)
        green |= (number >> 1 & 1) << (7 - bit)
        blue |= (number >> 2 & 1) << (7 - bit)
        number >>= 3
    return red, green, blue
