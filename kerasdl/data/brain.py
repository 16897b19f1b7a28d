"""Slices of the MNI152 template of the brain: which pixels are grey matter, which white?"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from kerasdl.data.dataset import Dataset
from kerasdl.data.form import Form
from kerasdl.data.image_splits import Part, assemble_images
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.errors import UserError

CLASSES = ("background", "grey matter", "white matter")

SIZE = (64, 64)
"""Height and width of slices where none is given."""

LEAST_BRAIN = 0.05
"""A slice with a smaller part of grey and white matter is left out."""

GAP = 5
"""Slices dropped between slabs of different splits, 1 mm each. Neighbours agree on the class of 0.90 of the pixels in
which either has grey or white matter; 6 mm apart it is 0.57, far apart 0.31."""

MARGIN = 4
"""Pixels of 1 mm left round the brain."""

_AXES = {"sagittal": 0, "coronal": 1, "axial": 2}
_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def load(spec: Spec, seed: int) -> Dataset:
    """Loads slices of the T1-weighted template and the tissue of each pixel.

    Slices are cut to the part that the brain takes. The class of a pixel is the likeliest of the template's tissue
    probabilities: grey matter, white matter, or the rest. The volume is cut into slabs across the axis, of each five
    slabs three for training, one for validation and one for test, with `GAP` slices dropped where two splits meet. Its
    halves mirror each other voxel by voxel, so that sagittal slices are of the left half alone.

    Args:
        spec: `size` of the slices, 64 where not given, filled up to it in their proportions; `axis`, `"axial"` where
            not given; `channels`; `memory`.
        seed: Draws which slabs make which split.

    Returns:
        The data set: images `(rows, height, width, 1)` in [0, 1], classes uint8 `(rows, height, width)`.

    Raises:
        UserError: nilearn, which brings the template, is not installed.
    """
    axis = str(spec.parameters.get("axis", "axial"))
    form = Form(spec.parameters.get("size", SIZE), 1, "pad")
    volumes = [_slices(_volume(kind), axis) for kind in ("t1", "gm", "wm")]
    tissue = volumes[1].astype("int16") + volumes[2]
    usable = np.flatnonzero((tissue > 127).mean(axis=(1, 2)) >= LEAST_BRAIN)
    splits, slabs = _slabs(usable, np.random.default_rng(seed))
    kept = np.sort(np.concatenate(list(splits.values())))
    inside = _box(tissue[usable] > 127)
    images, grey, white = (form.apply(volume[kept][:, *inside, np.newaxis]) for volume in volumes)
    labels = _classes(grey[..., 0], white[..., 0])
    halves = ", the left half, which the right mirrors" if axis == "sagittal" else ""
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    dataset = assemble_images(
        spec,
        {name: Part(images, labels, np.searchsorted(kept, rows)) for name, rows in splits.items()},
        form=Form(channels=spec.parameters.get("channels")),
        scaling=by_range(255),
        classes=CLASSES,
        source=f"MNI152 template (ICBM 2009a), 1 mm, via nilearn {_version()}",
        licence="free to use, copy, modify and distribute with its notice: copyright 1993-2009 Louis Collins, "
        "McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill University",
        notes=[
            f"{axis} slices{halves}: {counts}; {slabs} slabs with {GAP} slices dropped where two splits meet, "
            f"{len(usable) - len(kept)} in all; {len(tissue) - len(usable)} with less than {LEAST_BRAIN:.0%} of grey "
            "and white matter left out",
            "one template, an average of 152 persons: scores say nothing about other scans",
        ],
    )
    return replace(dataset, places=(splits["train"], splits["validation"]), gap=GAP)


def _volume(kind: str) -> np.ndarray:
    """Reads one packaged volume: uint8, left to right, back to front, bottom to top, 1 mm a voxel."""
    # The package's folder is found without importing it, which takes seconds and may log.
    package, reader = find_spec("nilearn"), find_spec("nibabel")
    if package is None or reader is None or not package.submodule_search_locations:
        raise UserError("brain: nilearn, which brings the template, is not installed; pip install 'kerasdl[images]'")
    import nibabel

    path = Path(package.submodule_search_locations[0]) / "datasets" / "data" / _FILE.format(kind)
    if not path.is_file():
        raise UserError(f"{path}: is not there; install a nilearn that brings it, pip install 'nilearn>=0.10'")
    volume = np.asanyarray(nibabel.load(path).dataobj)
    if volume.ndim != 3 or volume.dtype != np.uint8:
        raise UserError(f"{path}: is {volume.dtype} of shape {volume.shape} where bytes of a volume are wanted")
    return volume


def _version() -> str:
    from importlib.metadata import version

    return version("nilearn")


def _slices(volume: np.ndarray, axis: str) -> np.ndarray:
    """Returns slices `(slices, height, width)` with the top or the front of the head up."""
    if axis == "sagittal":
        volume = volume[: (len(volume) + 1) // 2]
    return np.rot90(np.moveaxis(volume, _AXES[axis], 0), axes=(1, 2))


def _box(brain: np.ndarray) -> tuple[slice, slice]:
    """Returns the rows and columns that hold the brain in any slice, and `MARGIN` round them."""
    found = []
    for axis in (1, 2):
        places = np.flatnonzero(brain.any(axis=(0, 3 - axis)))
        found.append(slice(max(int(places[0]) - MARGIN, 0), int(places[-1]) + 1 + MARGIN))
    return found[0], found[1]


def _classes(grey: np.ndarray, white: np.ndarray) -> np.ndarray:
    """Returns the likeliest class of each pixel, uint8, from probabilities in 0..255; the first of equal ones."""
    rest = 255 - grey.astype("int16") - white
    return np.argmax(np.stack([rest, grey, white]), axis=0).astype("uint8")


def _slabs(usable: np.ndarray, generator: np.random.Generator) -> tuple[dict[str, np.ndarray], int]:
    """Cuts slices into slabs, deals them out to the splits and drops the slices between slabs of different splits.

    Args:
        usable: The numbers of the slices, one after another.
        generator: Deals.

    Returns:
        The slices of each split, and the number of slabs.
    """
    fives = max(len(usable) // 60, 1)
    owners = np.concatenate(
        [generator.permutation(["train", "train", "train", "validation", "test"]) for _ in range(fives)]
    )
    slabs = np.array_split(usable, len(owners))
    kept: dict[str, list[np.ndarray]] = {"train": [], "validation": [], "test": []}
    for place, (slab, owner) in enumerate(zip(slabs, owners, strict=True)):
        before = place > 0 and owners[place - 1] != owner
        after = place + 1 < len(owners) and owners[place + 1] != owner
        # The slabs share the gap: the one below gives the greater half.
        kept[owner].append(slab[GAP // 2 if before else 0 : len(slab) - (GAP - GAP // 2 if after else 0)])
    return {name: np.concatenate(parts) for name, parts in kept.items()}, len(owners)
