"""Finds the mask of each image."""

from collections import Counter
from pathlib import Path

from kerasdl.data import image_listing
from kerasdl.data.decoding import Item
from kerasdl.data.image_file import MASK_SUFFIXES, SUFFIXES
from kerasdl.data.image_listing import Passed, shown
from kerasdl.errors import UserError

_IMAGES, _MASKS = "images", "masks"


def paired(root: Path, passed: Passed, *, skip: bool) -> tuple[list[Item], list[str]]:
    """Pairs what lies in images/ and masks/ by path and name without ending.

    Args:
        root: The folder, with images/ and masks/ in it or in its train/, val/ and test/.
        passed: Takes note of files of no use.
        skip: Whether images without a mask and masks without an image are left out.

    Returns:
        The pairs, and what a reader must know.

    Raises:
        UserError: A folder is missing, two files have one name, or something has no partner and is not to be left out.
    """
    parts: dict[str, Path] = image_listing.parts(root, passed) or {"": root}
    items, alone_images, alone_masks = [], [], []
    for part, folder in parts.items():
        inner = _inner(folder)
        passed.loose.extend(item for item in image_listing.folders(folder) if item not in inner.values())
        image_listing.loose(folder, passed)
        images = _by_stem(inner[_IMAGES], passed, SUFFIXES)
        masks = _by_stem(inner[_MASKS], passed, MASK_SUFFIXES)
        items += [Item(images[stem], part, mask=masks[stem]) for stem in sorted(images) if stem in masks]
        alone_images += [images[stem] for stem in sorted(images) if stem not in masks]
        alone_masks += [masks[stem] for stem in sorted(masks) if stem not in images]
    sentences = [
        f"{len(paths)} {fault}: {shown(paths, root, most=10)}"
        for paths, fault in ((alone_images, "images have no mask"), (alone_masks, "masks have no image"))
        if paths
    ]
    if sentences and not skip:
        raise UserError(
            f"{root}: {'; '.join(sentences)}; an image and its mask have the same name without the ending, masks end "
            "in png or bmp; add what is missing, or leave these out with unpaired=skip"
        )
    if not items:
        raise UserError(f"{root}: no image has a mask; give both the same name without the ending")
    return items, [f"left out: {sentence}" for sentence in sentences]


def _inner(folder: Path) -> dict[str, Path]:
    """Returns the folders of images and of masks."""
    below = {item.name.lower(): item for item in image_listing.folders(folder)}
    missing = [name for name in (_IMAGES, _MASKS) if name not in below]
    if missing:
        raise UserError(
            f"{folder}: has no {' and no '.join(f'{name}/' for name in missing)}; put the images into images/ and "
            "their masks into masks/, in this folder or in its train/, val/ and test/"
        )
    return {name: below[name] for name in (_IMAGES, _MASKS)}


def _by_stem(folder: Path, passed: Passed, suffixes: tuple[str, ...]) -> dict[str, Path]:
    found = image_listing.images(folder, passed, suffixes)
    stems = [path.relative_to(folder).with_suffix("").as_posix() for path in found]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        both = [path for path, stem in zip(found, stems, strict=True) if stem == twice[0]]
        raise UserError(
            f"{folder}: {shown(both, folder)} differ in their endings alone; keep one ({len(twice)} such names)"
        )
    return dict(zip(stems, found, strict=True))
