"""Reads one image or mask: PNG, JPEG, WebP or BMP, as Pillow opens them."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.data.form import Form

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""What the names of images end in, in capitals or not."""

MASK_SUFFIXES = (".png", ".bmp")
"""What the names of masks end in: formats that keep every value."""

PAPER = 255
"""What shows through transparent pixels: white, as on a page."""

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_GREY = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N", "F")
_ORIENTATION = 0x0112
# What Pillow raises on damaged files, of which some break its parsers.
_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    struct.error,
    zlib.error,
)


class CorruptError(Exception):
    """A file that cannot be read as an image; its message is why.

    Args:
        path: The file.
        reason: Why.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are read.

    Attributes:
        height: In pixels, upright.
        width: In pixels, upright.
        grey: Whether its mode is one without colour.
        deep: Whether its pixels have 16 bits.
    """

    height: int
    width: int
    grey: bool
    deep: bool


def header(path: Path) -> Header:
    """Reads the header of an image.

    Raises:
        CorruptError: The file is no image that can be read.
    """
    with _opened(path) as image:
        # Other formats may keep the tag behind the pixels, which are not to be read here.
        tags = image.getexif() if image.format in ("JPEG", "MPO") or "exif" in image.info else {}
        width, height = image.size[::-1] if tags.get(_ORIENTATION, 1) >= 5 else image.size
        return Header(height, width, image.mode in _GREY, image.mode.startswith("I"))


def read_image(path: Path, form: Form, channels: int, dtype: str) -> np.ndarray:
    """Reads an image upright and in its form.

    Transparent pixels are laid on white, palettes are resolved, and 16 bits stay 16 bits where `dtype` has room for
    them.

    Args:
        path: The file.
        form: Its size and how it gets there.
        channels: 1 for grey, 3 for colour.
        dtype: `"uint8"` or `"uint16"`; eight bits in sixteen are spread over the range.

    Returns:
        `(height, width, channels)` of that type.

    Raises:
        CorruptError: The file is no image that can be read.
    """
    from PIL import ImageOps

    with _opened(path) as image:
        if form.size is not None and image.format == "JPEG":
            # JPEG halves while it decodes; twice the longer side leaves the averaging to `fit`, turned or not.
            side = 2 * max(form.size)
            image.draft(None, (side, side))
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            return _deep(upright, form, channels, dtype)
        flat = form.fit(_opaque(upright, channels))
        pixels = np.asarray(flat).reshape(flat.height, flat.width, channels)
    return pixels.astype("uint16") * 257 if dtype == "uint16" else pixels


def read_mask(path: Path) -> "Image":
    """Reads a mask: an image of mode `P` or `L` whose pixels are values, upright.

    Raises:
        CorruptError: The file is no image that can be read, or its pixels are no values.
    """
    from PIL import Image, ImageOps

    with _opened(path) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode in ("P", "L"):
            return upright.copy()
        if upright.mode == "1":
            return upright.convert("L")
        pixels = np.asarray(upright)
        if upright.mode.startswith("I"):
            if pixels.max() > 255:
                raise CorruptError(path, f"holds the value {pixels.max()}, and the values of a mask go up to 255")
            return Image.fromarray(pixels.astype("uint8"))
        colours = upright.mode in ("RGB", "RGBA")
        if not colours or (pixels[..., :3] != pixels[..., :1]).any() or (pixels[..., 3:] != 255).any():
            raise CorruptError(path, "is in colour or transparent, and masks are grey or have a palette")
        return Image.fromarray(pixels[..., 0])


@contextmanager
def _opened(path: Path) -> Iterator["Image"]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as image:
            if not image.width or not image.height:
                raise CorruptError(path, "has no pixels")
            yield image
    except UnidentifiedImageError:
        raise CorruptError(path, "is no PNG, JPEG, WebP or BMP file" if path.stat().st_size else "is empty") from None
    except Image.DecompressionBombError:
        raise CorruptError(path, "has more pixels than Pillow reads") from None
    except _FAULTS as error:
        fault = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CorruptError(path, " ".join(fault.split())) from None


def _opaque(image: "Image", channels: int) -> "Image":
    """Brings an image of eight bits to grey or colour."""
    from PIL import Image

    wanted = "L" if channels == 1 else "RGB"
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        # Before it is made smaller, or the colour under transparent pixels would bleed into their neighbours.
        pixels = image.convert("RGBA")
        paper = Image.new("RGBA", pixels.size, (PAPER, PAPER, PAPER, 255))
        return Image.alpha_composite(paper, pixels).convert(wanted)
    return image if image.mode == wanted else image.convert(wanted)


def _deep(image: "Image", form: Form, channels: int, dtype: str) -> np.ndarray:
    from PIL import Image

    values = np.clip(np.asarray(image), 0, 65535).astype("float32")
    fitted = np.asarray(form.fit(Image.fromarray(values)))
    grey = np.rint(fitted if dtype == "uint16" else fitted / 257).astype(dtype)
    return np.repeat(grey[..., np.newaxis], channels, axis=2)
