"""Checks HDF5 weights: every value lies in the file itself, and there is as much of it as the file says."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.safety.archive import LARGEST_RATIO

# Packing that the HDF5 library brings itself; any other number makes it look for a plugin to load.
OWN_FILTERS = {1, 2, 3, 4, 5, 6}
HARMLESS = 2**20
MOST_OBJECTS = 1_000_000


def check_weights(path: Path, contents: bytes) -> int:
    """Checks the weights of a `.keras` file before Keras reads them.

    Args:
        path: The file that they come from, for messages.
        contents: The HDF5 file.

    Returns:
        How many bytes its arrays have together.

    Raises:
        UserError: It is not HDF5, links to other files or in circles, or declares more values than it holds.
    """
    import h5py

    try:
        with h5py.File(io.BytesIO(contents), "r") as file:
            return sum(_size(path, dataset) for dataset in _datasets(path, file))
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UserError(
            f"{path}: its weights cannot be read ({line}); get the file again from where it came"
        ) from error


def _datasets(path: Path, file: Any) -> Iterator[Any]:
    import h5py

    stack, seen, count = [file], {_address(file)}, 0
    while stack:
        group = stack.pop()
        for name in group:
            label, count = f"{group.name.rstrip('/')}/{name}"[:200], count + 1
            if count > MOST_OBJECTS:
                raise UserError(f"{path}: refused, as its weights are more than {MOST_OBJECTS:,} objects")
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise UserError(
                    f"{path}: refused, as its weights {label} are a link to the file {link.filename[:200]!r}"
                )
            if not isinstance(link, h5py.HardLink):
                raise UserError(f"{path}: refused, as its weights {label} are a link to another place")
            child = group[name]
            if isinstance(child, h5py.Dataset):
                yield child
            elif isinstance(child, h5py.Group):
                if _address(child) in seen:
                    raise UserError(f"{path}: refused, as the groups of its weights go in a circle at {label}")
                seen.add(_address(child))
                stack.append(child)


def _address(group: Any) -> int:
    import h5py

    return int(h5py.h5o.get_info(group.id).addr)


def _size(path: Path, dataset: Any) -> int:
    if dataset.is_virtual or dataset.external:
        raise UserError(f"{path}: refused, as its weights {dataset.name[:200]} lie in other files")
    layout = dataset.id.get_create_plist()
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if not filters <= OWN_FILTERS:
        raise UserError(
            f"{path}: refused, as its weights {dataset.name[:200]} are packed by a plugin ({sorted(filters)})"
        )
    declared, stored = int(dataset.size) * dataset.dtype.itemsize, int(dataset.id.get_storage_size())
    if declared > max(HARMLESS, LARGEST_RATIO * stored):
        raise UserError(
            f"{path}: refused, as its weights {dataset.name[:200]} claim the shape {dataset.shape}, "
            f"{declared:,} bytes, of which {stored:,} are stored"
        )
    return declared
