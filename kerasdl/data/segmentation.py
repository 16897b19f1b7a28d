"""Images and a mask for each, whose pixels are classes."""

from contextlib import ExitStack

import numpy as np

from kerasdl.data import cache
from kerasdl.data.dataset import Dataset
from kerasdl.data.decoding import Item, corrupt_notes, decode
from kerasdl.data.form import Form
from kerasdl.data.image_listing import Passed
from kerasdl.data.image_splits import Part, assemble_images, file_facts, from_cache, key_of
from kerasdl.data.mask_pairs import paired
from kerasdl.data.mask_values import classes_of
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM
from kerasdl.data.splitting import missing_notes, sample, split_parts
from kerasdl.errors import UserError


def load(spec: Spec, seed: int) -> Dataset:
    """Loads images/ and masks/ of a folder, or of its train/, val/ and test/, paired by their names without endings.

    Masks are PNG or BMP, grey or with a palette, whose values are classes; 0 and 255 alone are background and class 1.
    Images are resized by averaging, masks by the nearest pixel, both with the same crop or padding.

    Args:
        spec: The folder and its parameters: `size`, `resize`, `channels`, `corrupt`, `rows` and `memory` as for
            `folder:`; `classes`, the name of each class in the order of their values; `unpaired`, `"skip"` to leave out
            images without a mask and masks without an image.
        seed: Draws the sample and the splits that the folder does not hold, stratified by which classes a mask holds.

    Returns:
        The data set: `y` is uint8, `(rows, height, width)`, the class of each pixel.

    Raises:
        UserError: The folder, an image or a mask cannot be used.
    """
    root, passed = spec.file, Passed()
    items, unpaired = paired(root, passed, skip=spec.parameters.get("unpaired") == "skip")
    _require_enough(items, items, str(root))
    generator = np.random.default_rng(seed)
    notes = [*passed.notes(root), *missing_notes(items), *unpaired]
    items, sampled = sample(spec, items, 1, generator)
    notes += sampled
    files = [path for item in items for path in (item.image, item.mask) if path is not None]
    key = key_of(*file_facts(spec, seed, files), notes)
    entry = cache.find(key)
    if entry is not None:
        return from_cache(spec, entry)
    with ExitStack() as scratch:
        decoded = decode(spec, items, scratch)
        left_out = f", without the {len(decoded.corrupt)} files that cannot be read" if decoded.corrupt else ""
        _require_enough(decoded.items, items, f"{root}{left_out}")
        values = np.flatnonzero(decoded.values.any(axis=0)).tolist()
        lookup, classes, remarks = classes_of(root, values, spec.parameters.get("classes"))
        if decoded.padded and values[0] != 0:
            raise UserError(
                f"{root}: resize=pad fills masks up with the value 0, which none of them holds; use resize=crop or "
                "resize=stretch"
            )
        splits = split_parts(_strata(decoded.values), decoded.parts, generator)
        return assemble_images(
            spec,
            {name: Part(decoded.images, decoded.masks, rows, lookup) for name, rows in splits.items()},
            form=Form(channels=None if decoded.coloured else 1),
            scaling=by_range(np.iinfo(decoded.images.dtype).max),
            classes=classes,
            source=str(root),
            licence="not stated",
            notes=[*notes, *corrupt_notes(root, decoded.corrupt), *remarks],
            key=lambda: key,
        )


def _require_enough(items: list[Item], found: list[Item], place: str) -> None:
    """Refuses too few items to learn from, of those that were found."""
    present = {item.part for item in found}
    open_items = sum(item.part in ("", "train") for item in items)
    least = MINIMUM if "" in present else 4 - len(present)
    if open_items < least:
        raise UserError(
            f"{place}: holds {open_items} images with a mask to learn from, and {least} are needed; add some"
        )


def _strata(values: np.ndarray) -> np.ndarray:
    """Returns what splits are stratified by: which values a mask holds, rare combinations with the commonest.

    Args:
        values: bool, `(masks, 256)`, the values of each.

    Returns:
        int64, `(masks,)`.
    """
    _, strata, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    strata = np.where(counts < 2 * MINIMUM, np.argmax(counts), np.arange(len(counts)))[strata.ravel()]
    return np.unique(strata, return_inverse=True)[1]
