"""Decodes the images of a folder, and their masks if they have some, into memory or into scratch files."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kerasdl.data import cache
from kerasdl.data.form import Form
from kerasdl.data.image_file import CorruptError, Header, header, read_image, read_mask
from kerasdl.data.image_listing import shown
from kerasdl.data.image_splits import memory_limit
from kerasdl.data.spec import Spec
from kerasdl.data.stored import Stored
from kerasdl.data.threads import in_threads
from kerasdl.errors import UserError

# What a pixel of a mask may hold, from 0.
VALUES = 256


@dataclass(frozen=True)
class Item:
    """One image of a folder.

    Attributes:
        image: The file.
        part: The split that its folder stands for; `""` where we split.
        label: The number of its class; 0 where pixels have classes.
        mask: The file whose pixels are classes.
    """

    image: Path
    part: str
    label: int = 0
    mask: Path | None = None


@dataclass
class Decoded:
    """What was decoded.

    Attributes:
        items: Those that could be read.
        images: `(items, height, width, channels)`, uint8 or uint16.
        masks: uint8, `(items, height, width)`, values; `(items, 0, 0)` where there are none.
        values: bool, `(items, 256)`, the values of each mask before it was resized.
        coloured: Whether an image has colour, or the channels were asked for.
        padded: Whether an image was filled up.
        corrupt: The files that cannot be read, and why.
    """

    items: list[Item]
    images: np.ndarray | Stored
    masks: np.ndarray | Stored
    values: np.ndarray
    coloured: bool
    padded: bool
    corrupt: dict[Path, CorruptError] = field(default_factory=dict)

    @property
    def parts(self) -> np.ndarray:
        """The split of each item by its folder, `(items,)`."""
        return np.array([item.part for item in self.items], dtype="U10")

    @property
    def labels(self) -> np.ndarray:
        """The class of each item, int64, `(items,)`."""
        return np.array([item.label for item in self.items], dtype="int64")


def decode(spec: Spec, items: Sequence[Item], scratch: ExitStack) -> Decoded:
    """Decodes images and their masks.

    Args:
        spec: The folder and its parameters.
        items: The images.
        scratch: Removes the scratch files, to which pixels are written that memory would not hold, when it closes.

    Returns:
        The pixels, unscaled.

    Raises:
        UserError: Files cannot be read and are not to be left out, have several sizes and none is asked for, or a mask
            has another size than its image.
    """
    root = spec.file
    found = list(in_threads(header, [item.image for item in items], "looking at images"))
    corrupt = {one.path: one for one in found if isinstance(one, CorruptError)}
    if corrupt and spec.parameters.get("corrupt") != "skip":
        # All are read, so that the message counts every damaged file and not those alone whose headers are.
        corrupt |= {one.path: one for one in in_threads(_attempt, items, "reading") if isinstance(one, CorruptError)}
        _refuse_corrupt(root, corrupt, items)
    good = [(item, one) for item, one in zip(items, found, strict=True) if not isinstance(one, CorruptError)]
    if not good:
        raise UserError(f"{root}: none of {len(items)} images can be read; mend them or name another folder")
    form, dtype = _settled(root, good, Form.of(spec.parameters))
    decoded = _filled(spec, good, form, dtype, scratch)
    decoded.corrupt |= corrupt
    if spec.parameters.get("corrupt") != "skip":
        _refuse_corrupt(root, decoded.corrupt, items)
    return decoded


def corrupt_notes(root: Path, corrupt: Mapping[Path, CorruptError]) -> list[str]:
    """Says which damaged files were left out."""
    if not corrupt:
        return []
    return [f"left out {len(corrupt)} files that cannot be read: {shown(list(corrupt), root, most=20)}"]


class _MaskSizeError(CorruptError):
    """A mask of another size than its image."""


class _Rows:
    """Rows of one shape that come one after another, in memory or in a file."""

    def __init__(self, count: int, shape: tuple[int, ...], dtype: str, path: Path | None, scratch: ExitStack) -> None:
        self._path, self._shape, self._dtype, self._filled = path, shape, dtype, 0
        self._memory = np.empty((count, *shape), dtype) if path is None else np.empty((0, *shape), dtype)
        self._handle: BinaryIO | None = None if path is None else scratch.enter_context(path.open("wb"))

    def append(self, row: np.ndarray) -> None:
        if self._handle is None:
            self._memory[self._filled] = row
        else:
            self._handle.write(np.ascontiguousarray(row, self._dtype).data)
        self._filled += 1

    def array(self) -> np.ndarray | Stored:
        """Returns the rows."""
        if self._handle is None or self._path is None or not self._filled or 0 in self._shape:
            return self._memory[: self._filled]
        self._handle.flush()
        return Stored(self._path, np.dtype(self._dtype), (self._filled, *self._shape))


def _attempt(item: Item) -> None:
    """Reads an image and its mask as far as it takes to know that they can be read."""
    read_image(item.image, Form((1, 1)), 1, "uint8")
    if item.mask is not None:
        read_mask(item.mask)


def _settled(root: Path, good: Sequence[tuple[Item, Header]], form: Form) -> tuple[Form, str]:
    """Settles what images become, and the type of their pixels."""
    sizes = Counter((one.height, one.width) for _, one in good)
    if form.size is None and len(sizes) > 1:
        examples = {(one.height, one.width): item.image for item, one in reversed(good)}
        often = [
            f"{size[0]}x{size[1]} ({count:,} images, such as {shown([examples[size]], root)})"
            for size, count in sizes.most_common(3)
        ]
        height, width = sizes.most_common(1)[0][0]
        raise UserError(
            f"{root}: images have {len(sizes)} sizes, most often {', '.join(often)}; say what to bring them to with "
            f"size=HEIGHTxWIDTH, such as size={height}x{width}, and how with resize=stretch, crop or pad"
        )
    channels = form.channels or (1 if all(one.grey for _, one in good) else 3)
    dtype = "uint16" if any(one.deep for _, one in good) else "uint8"
    return Form(form.size or next(iter(sizes)), channels, form.resize), dtype


def _filled(spec: Spec, good: Sequence[tuple[Item, Header]], form: Form, dtype: str, scratch: ExitStack) -> Decoded:
    shape = form.shape(0, 0, 0)
    mask_shape = shape[:2] if good[0][0].mask else (0, 0)
    pixels = len(good) * shape[0] * shape[1]
    needed = pixels * (shape[2] * (4 + np.dtype(dtype).itemsize) + 2 * bool(good[0][0].mask))
    folder = scratch.enter_context(cache.partial(needed)) if needed > memory_limit(spec.parameters) else None
    images = _Rows(len(good), shape, dtype, folder / "images" if folder else None, scratch)
    masks = _Rows(len(good), mask_shape, "uint8", folder / "masks" if folder else None, scratch)
    kept, values, corrupt, odd = [], [], {}, []
    coloured = spec.parameters.get("channels") is not None
    read = _reader(form, shape[2], dtype)
    for (item, _), one in zip(good, in_threads(read, good, "decoding images"), strict=True):
        if isinstance(one, _MaskSizeError):
            odd.append(f"{shown([one.path], spec.file)} ({one})")
        elif isinstance(one, CorruptError):
            corrupt[one.path] = one
        else:
            image, mask, held = one
            coloured = coloured or bool((image != image[..., :1]).any())
            images.append(image)
            masks.append(mask)
            kept.append(item)
            values.append(held)
    if odd:
        raise UserError(
            f"{spec.file}: {len(odd)} masks have another size than their image: {', '.join(odd[:3])}"
            f"{f' and {len(odd) - 3} more' if len(odd) > 3 else ''}; save each mask in its image's size"
        )
    padded = any(form.pads(one.height, one.width) for _, one in good)
    held = np.array(values, dtype=bool).reshape(len(kept), VALUES)
    return Decoded(kept, images.array(), masks.array(), held, coloured, padded, corrupt)


def _reader(
    form: Form, channels: int, dtype: str
) -> Callable[[tuple[Item, Header]], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns what reads one item: its image, its mask, and which values the mask holds."""

    def read(pair: tuple[Item, Header]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        item, known = pair
        image = read_image(item.image, form, channels, dtype)
        if item.mask is None:
            return image, np.empty((0, 0), "uint8"), np.zeros(VALUES, bool)
        mask = read_mask(item.mask)
        if (mask.height, mask.width) != (known.height, known.width):
            raise _MaskSizeError(
                item.mask, f"{mask.height}x{mask.width}, where the image is {known.height}x{known.width}"
            )
        held = np.bincount(np.asarray(mask).ravel(), minlength=VALUES) > 0
        return image, np.asarray(form.fit(mask, nearest=True)), held

    return read


def _refuse_corrupt(root: Path, corrupt: Mapping[Path, CorruptError], items: Iterable[Item]) -> None:
    if not corrupt:
        return
    looked = sum(1 + (item.mask is not None) for item in items)
    first = ", ".join(f"{shown([path], root)} ({corrupt[path]})" for path in sorted(corrupt)[:3])
    more = f" and {len(corrupt) - 3} more" if len(corrupt) > 3 else ""
    raise UserError(
        f"{root}: {len(corrupt)} of {looked} files cannot be read: {first}{more}; mend or remove them, or leave them "
        "out with corrupt=skip"
    )
