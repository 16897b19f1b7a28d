"""Folders of images, one folder a class, split by us or already by the user."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np

from kerasdl.data import cache, image_listing
from kerasdl.data.dataset import Dataset
from kerasdl.data.decoding import Item, corrupt_notes, decode
from kerasdl.data.form import Form
from kerasdl.data.image_listing import Passed, shown
from kerasdl.data.image_splits import Part, assemble_images, file_facts, from_cache, key_of
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.data.split import require_rows
from kerasdl.data.splitting import missing_notes, sample, split_parts
from kerasdl.errors import UserError


def load(spec: Spec, seed: int) -> Dataset:
    """Loads class folders that lie directly in a folder, or in its train/, val/ and test/.

    PNG, JPEG, WebP and BMP are read, upright as their orientation tag says, palettes resolved, transparent pixels laid
    on white. Pixels are scaled by their range to [0, 1].

    Args:
        spec: The folder and its parameters: `size` (the images' own, where all have one), `resize`, `channels` (1 where
            every pixel of every image is grey, else 3); `corrupt`, `"skip"` to leave out files that cannot be read;
            `rows`, the size of a stratified sample of the images that are not split already, or of those in train/;
            `memory`, above which the arrays are mapped from disk.
        seed: Draws the sample and the splits that the folder does not hold: 64/16/20 %; beside test/, 10 % of train/
            for validation; beside val/, 20 % of train/ for test.

    Returns:
        The data set.

    Raises:
        UserError: The folder, its classes or its images cannot be used.
    """
    root, passed = spec.file, Passed()
    items, classes = _listed(root, passed)
    _require_enough(items, classes, str(root))
    generator = np.random.default_rng(seed)
    notes = [*passed.notes(root), *missing_notes(items)]
    items, sampled = sample(spec, items, len(classes), generator)
    notes += sampled
    key = key_of(*file_facts(spec, seed, [item.image for item in items]), classes, notes)
    entry = cache.find(key)
    if entry is not None:
        return from_cache(spec, entry)
    with ExitStack() as scratch:
        decoded = decode(spec, items, scratch)
        left_out = f", without the {len(decoded.corrupt)} files that cannot be read" if decoded.corrupt else ""
        _require_enough(decoded.items, classes, f"{root}{left_out}")
        splits = split_parts(decoded.labels, decoded.parts, generator)
        return assemble_images(
            spec,
            {name: Part(decoded.images, decoded.labels, rows) for name, rows in splits.items()},
            form=Form(channels=None if decoded.coloured else 1),
            scaling=by_range(np.iinfo(decoded.images.dtype).max),
            classes=classes,
            source=str(root),
            licence="not stated",
            notes=[*notes, *corrupt_notes(root, decoded.corrupt)],
            key=lambda: key,
        )


def _listed(root: Path, passed: Passed) -> tuple[list[Item], tuple[str, ...]]:
    """Finds the images of every class and split, and the names of the classes."""
    parts = image_listing.parts(root, passed)
    found = {part: _classes(folder, passed) for part, folder in (parts or {"": root}).items()}
    names = set(found["train" if parts else ""])
    for part, folder in parts.items():
        odd = sorted(names.symmetric_difference(found[part]))
        if odd:
            homes = {name: parts["train"].name if name in names else folder.name for name in odd}
            only = ", ".join(f"{name!r} is only in {home}/" for name, home in homes.items())
            raise UserError(
                f"{root}: {parts['train'].name}/ and {folder.name}/ differ in their classes: {only}; give both the same"
            )
    classes = tuple(sorted(names))
    items = [
        Item(path, part, label)
        for part, by_class in found.items()
        for label, name in enumerate(classes)
        for path in by_class[name]
    ]
    return items, classes


def _classes(folder: Path, passed: Passed) -> dict[str, list[Path]]:
    """Returns the images of each class folder."""
    directly = image_listing.loose(folder, passed)
    below = image_listing.folders(folder)
    if not below:
        there = f"{directly} images lie" if directly else "nothing to learn from lies"
        raise UserError(
            f"{folder}: has no class folders ({there} directly in it); put the images of each class into a folder of "
            "its own"
        )
    found = {}
    for item in below:
        others = len(passed.others)
        found[item.name] = image_listing.images(item, passed)
        if not found[item.name]:
            odd = passed.others[others:]
            instead = f" but {shown(odd, item)}" if odd else ""
            raise UserError(
                f"{item}: class folder {item.name!r} holds no images (PNG, JPEG, WebP or BMP){instead}; add some, or "
                "take the folder away"
            )
    return found


def _require_enough(items: list[Item], classes: tuple[str, ...], place: str) -> None:
    """Checks that each class has rows enough for the splits that we make of it, and one in those that were made."""
    present = {item.part for item in items}
    for part in sorted(present):
        # One for each split that is drawn from these, besides their own.
        least = 3 if part == "" else 4 - len(present) if part == "train" else 1
        labels = np.array([item.label for item in items if item.part == part], dtype="int64")
        require_rows(labels, classes, least, f"{place}, {part}" if part else place)
