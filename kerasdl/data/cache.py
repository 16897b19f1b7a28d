"""Keeps arrays that are too large for memory on disk, where a memory map reads them."""

import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.caches import cache_folder
from kerasdl.errors import UserError

MOST_ENTRIES = 8
"""The entries that stay; when one more is written, the one that was used longest ago goes."""

ABANDONED = 3600.0
"""Seconds after which what a killed process left half-written is removed."""

_PARTIAL = "partial-"
_FACTS = "facts.json"


@dataclass(frozen=True)
class Entry:
    """What is kept under one key.

    Attributes:
        folder: Its folder, with one `.npy` file for each array.
        facts: What was kept beside the arrays, values that JSON can hold.
    """

    folder: Path
    facts: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """Returns the file of one array."""
        return self.folder / f"{name}.npy"

    def array(self, name: str, *, mapped: bool) -> np.ndarray:
        """Returns one array.

        Args:
            name: Its name.
            mapped: Whether as a memory map, which is read from disk where it is looked at, else in memory.
        """
        # Copy-on-write: the file is never changed, and backends take the array without warning that it is read-only.
        return np.load(self.path(name), mmap_mode="c" if mapped else None, allow_pickle=False)


def find(key: str) -> Entry | None:
    """Returns the entry of a key, or `None` where there is none or it is damaged.

    Args:
        key: Hexadecimal digits that stand for everything that the arrays depend on.
    """
    folder = cache_folder("arrays") / key
    try:
        facts = json.loads((folder / _FACTS).read_text("utf-8"))
        for name, (dtype, shape) in facts["arrays"].items():
            array = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            if (array.dtype.str, list(array.shape)) != (dtype, shape):
                return None
        # The time of the facts is that of the entry's last use.
        os.utime(folder / _FACTS)
    except (OSError, ValueError, KeyError):
        return None
    return Entry(folder, facts)


@contextmanager
def partial(needed: int) -> Iterator[Path]:
    """Gives a folder to write in, and removes it when the block ends.

    Args:
        needed: How many bytes will be written.

    Raises:
        UserError: The disk has no room for them, or the folder cannot be written.
    """
    root = cache_folder("arrays")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(root)
        free = shutil.disk_usage(root).free
        if free < needed:
            raise _full(root, f"{needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")
        folder = root / f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
    except OSError as error:
        raise _unwritable(root, error) from None
    try:
        yield folder
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(root, error.strerror) from None
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def keep(key: str, folder: Path, facts: Mapping[str, Any]) -> Entry:
    """Makes what was written to a partial folder the entry of a key.

    Args:
        key: The key.
        folder: The folder, from `partial`; its `.npy` files are the entry's arrays.
        facts: What to keep beside them.

    Returns:
        The entry; another process' one where that was done first.
    """
    arrays = {path.stem: np.load(path, mmap_mode="r", allow_pickle=False) for path in sorted(folder.glob("*.npy"))}
    described = {name: (array.dtype.str, list(array.shape)) for name, array in arrays.items()}
    with (folder / _FACTS).open("w", encoding="utf-8") as handle:
        json.dump({**facts, "arrays": described}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    del arrays
    root = folder.parent
    with suppress(OSError):
        if find(key) is None:
            shutil.rmtree(root / key, ignore_errors=True)
        folder.rename(root / key)
    entry = find(key)
    if entry is None:
        raise UserError(f"{root}: cannot be written; mend its permissions, or name another folder with KERASDL_CACHE")
    _remove_old(root)
    return entry


def remembered(
    key: str, make: Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, Any]]]
) -> tuple[Mapping[str, np.ndarray], Mapping[str, Any]]:
    """Returns arrays and facts of a key, made the first time; where they cannot be kept, every time.

    Args:
        key: The key.
        make: Makes arrays by name, small enough for memory, and facts.
    """
    entry = find(key)
    if entry is not None:
        return {name: entry.array(name, mapped=False) for name in entry.facts["arrays"]}, entry.facts
    arrays, facts = make()
    with suppress(UserError), partial(sum(array.nbytes for array in arrays.values())) as folder:
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        keep(key, folder, facts)
    return arrays, facts


def write_array(path: Path, shape: tuple[int, ...], dtype: str, blocks: Iterator[np.ndarray]) -> None:
    """Writes an array block by block, as `.npy`.

    A memory map that is written to kills the process where the disk is full; a file says so.

    Args:
        path: The file.
        shape: The array's shape.
        dtype: Its type.
        blocks: Its rows, in their order.
    """
    with path.open("wb") as handle:
        descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
        np.lib.format.write_array_header_1_0(handle, {"descr": descr, "fortran_order": False, "shape": shape})
        for block in blocks:
            handle.write(np.ascontiguousarray(block, dtype).data)
        handle.flush()
        os.fsync(handle.fileno())


def _remove_old(root: Path) -> None:
    entries = [path.parent for path in root.glob(f"*/{_FACTS}") if not path.parent.name.startswith(_PARTIAL)]
    for old in sorted(entries, key=_last_used, reverse=True)[MOST_ENTRIES:]:
        # A process that has mapped its arrays goes on reading them; where the system forbids removal, they stay.
        shutil.rmtree(old, ignore_errors=True)


def _last_used(entry: Path) -> float:
    try:
        return (entry / _FACTS).stat().st_mtime
    except OSError:
        return 0.0


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_PARTIAL}*"):
        with suppress(OSError):
            times = [path.stat().st_mtime for path in [folder, *folder.iterdir()]]
            if time.time() - max(times) > ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)


def _full(root: Path, fault: str | None) -> UserError:
    return UserError(
        f"{root}: the disk is full ({fault}); empty this folder or name another with KERASDL_CACHE, take a smaller "
        "size=, or fewer rows="
    )


def _unwritable(root: Path, error: OSError) -> UserError:
    return UserError(f"{root}: cannot be written ({error.strerror}); name another folder with KERASDL_CACHE")
