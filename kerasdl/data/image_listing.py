"""Finds the images of a folder, and says what it passes over."""

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from kerasdl.data.image_file import SUFFIXES
from kerasdl.errors import UserError

PARTS = {"train": ("train",), "validation": ("val", "validation", "valid"), "test": ("test",)}
"""The folders of data that are split already, by the split that they hold."""

_HIDDEN = (".", "__MACOSX")


@dataclass
class Passed:
    """What was passed over, for the notes.

    Attributes:
        hidden: Files whose names begin with a dot.
        others: Files that are no images by their name's end.
        loose: Images that lie in no folder that is learnt from, and folders of no use.
    """

    hidden: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)

    def notes(self, root: Path) -> list[str]:
        """Says what was passed over, a sentence a kind."""
        kinds = (
            ("hidden files", self.hidden),
            ("files that are no images", self.others),
            ("files and folders outside those that are learnt from", self.loose),
        )
        return [f"passed over {len(paths)} {kind}: {shown(paths, root)}" for kind, paths in kinds if paths]


def shown(paths: Collection[Path], root: Path, most: int = 3) -> str:
    """Names the first of some paths, relative to a folder."""
    first = sorted(paths)[:most]
    names = ", ".join(path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in first)
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")


def folders(path: Path) -> list[Path]:
    """Returns the folders directly under one, without hidden ones, in the order of their names."""
    try:
        return sorted(item for item in path.iterdir() if item.is_dir() and not item.name.startswith(_HIDDEN))
    except OSError as error:
        raise _unreadable(path, error) from None


def images(path: Path, passed: Passed, suffixes: tuple[str, ...] = SUFFIXES) -> list[Path]:
    """Returns the images in a folder and below it, in the order of their paths.

    Args:
        path: The folder.
        passed: Takes note of the other files.
        suffixes: What the names of images end in.

    Raises:
        UserError: A folder cannot be read.
    """
    found = []

    def refuse(error: OSError) -> None:
        raise _unreadable(Path(error.filename or path), error)

    for folder, below, names in os.walk(path, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith(_HIDDEN))
        for name in sorted(names):
            item = Path(folder, name)
            if name.startswith("."):
                passed.hidden.append(item)
            elif item.suffix.lower() in suffixes:
                found.append(item)
            else:
                passed.others.append(item)
    return sorted(found)


def loose(path: Path, passed: Passed) -> int:
    """Takes note of files that lie directly in a folder, and returns how many of them are images."""
    count = 0
    for item in sorted(path.iterdir()):
        if item.is_dir():
            continue
        if item.name.startswith("."):
            passed.hidden.append(item)
        elif item.suffix.lower() in SUFFIXES:
            passed.loose.append(item)
            count += 1
        else:
            passed.others.append(item)
    return count


def parts(path: Path, passed: Passed) -> dict[str, Path]:
    """Returns the folders of data that are split already, by split; nothing where the data are not split.

    A folder of one of these names that holds images and no folders is a class: there are pictures of trains.

    Args:
        path: The folder of the data.
        passed: Takes note of folders beside them.

    Raises:
        UserError: There is a folder for testing or validation and none for training, or two for one split.
    """
    below = folders(path)
    named = {
        split: [item for item in below if item.name.lower() in names and folders(item)]
        for split, names in PARTS.items()
    }
    if not any(named.values()):
        return {}
    for split, found in named.items():
        if len(found) > 1:
            raise UserError(f"{path}: {found[0].name}/ and {found[1].name}/ both stand for {split}; keep one")
    if not named["train"]:
        beside = next(found[0].name for found in named.values() if found)
        raise UserError(f"{path}: has {beside}/ and no train/ with folders; add train/, or take {beside}/ away")
    chosen = {split: found[0] for split, found in named.items() if found}
    passed.loose.extend(item for item in below if item not in chosen.values())
    loose(path, passed)
    return chosen


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions")
