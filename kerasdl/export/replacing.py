"""Puts files in their place only once they are whole."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a file of the same name in a folder beside, which takes the path's place if nothing was raised.

    Args:
        path: Where the file is to be, and what is written beside it.
    """
    # Not by mkdtemp, whose files only their owner can read: this one is to have the rights of any other new file.
    folder = path.with_name(f".export-{secrets.token_hex(8)}")
    folder.mkdir()
    try:
        yield folder / path.name
        # What belongs to the file comes before it.
        for each in reversed(files_of(folder / path.name)):
            each.replace(path.with_name(each.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def files_of(path: Path) -> list[Path]:
    """Lists a file and those that were written beside it, the file first.

    Args:
        path: The file, in a folder of its own.
    """
    return sorted(path.parent.iterdir(), key=lambda each: (each != path, each.name))
