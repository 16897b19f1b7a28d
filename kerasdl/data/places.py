"""Finds image sets: in the user's folder, in Debian's package, in Keras' cache; else Keras downloads them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from kerasdl import backend
from kerasdl.data import cifar, idx, npz
from kerasdl.errors import UserError

Arrays = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Images and labels of the official training rows, and of the official test rows."""

_IDX_STEMS = (
    ("train-images", "idx3-ubyte"),
    ("train-labels", "idx1-ubyte"),
    ("t10k-images", "idx3-ubyte"),
    ("t10k-labels", "idx1-ubyte"),
)
_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Wanted:
    """What to look for.

    Attributes:
        name: The data set's name, which is also that of its module in `keras.datasets`.
        debian: Where Debian's package puts it, if there is one.
        what_to_put: What a folder must hold, for the message where nothing is found.
        download: Whether Keras' own download opens no pickle.
    """

    name: str
    debian: Path | None
    what_to_put: str
    download: bool = True


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        arrays: Images and labels as they are stored.
        place: Where, in words.
        passed: Places that a person named and that did not hold the data, and why.
    """

    arrays: Arrays
    place: str
    passed: tuple[str, ...] = ()


def keras_cache() -> Path:
    """Returns the folder where Keras keeps what it downloads: `$KERAS_HOME/datasets`, else `~/.keras/datasets`."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")).expanduser() / "datasets"


def find(wanted: Wanted, folder: Path | None) -> Found:
    """Looks for an image set, place by place, and lets Keras download it where no place has it.

    Args:
        wanted: What to look for.
        folder: A folder to look into first.

    Returns:
        The arrays and where they were.

    Raises:
        UserError: No place has the data and they cannot be downloaded, or a file that was found is damaged.
    """
    looked: list[str] = []
    for place, label in _places(wanted, folder):
        arrays, reason = _look(wanted, place)
        if arrays is not None:
            passed = tuple(looked[:1]) if folder is not None and place != folder else ()
            return Found(arrays, f"{label} {place}", passed)
        looked.append(f"{place} ({reason})")
    try:
        return Found(_download(wanted), "downloaded by Keras", tuple(looked[:1]) if folder is not None else ())
    except Exception as error:  # Keras raises a bare Exception where the network fails.
        cause = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{wanted.name}: found nowhere: looked in {', '.join(looked)}; then: {cause}; {wanted.what_to_put}"
        ) from error


def _places(wanted: Wanted, folder: Path | None) -> Iterator[tuple[Path, str]]:
    if folder is not None:
        yield folder, "the folder"
    if wanted.debian is not None:
        yield wanted.debian, "Debian's package in"
    yield keras_cache(), "Keras' cache"


def _look(wanted: Wanted, place: Path) -> tuple[Arrays | None, str]:
    """Returns the arrays of one place, or `None` and why it has none."""
    if not place.is_dir():
        return None, "no such folder"
    reasons = []
    look = _binary if wanted.name == "cifar10" else _idx
    for folder in _inside(wanted, place):
        arrays, reason = look(folder)
        if arrays is not None:
            return arrays, ""
        reasons.append(reason)
    for folder in (place, place / wanted.name):
        path = folder / f"{wanted.name}.npz"
        if path.is_file():
            return _npz(path), ""
    if wanted.name == "cifar10":
        reasons.extend(f"{path.name} is pickled, which kerasdl does not open" for path in _pickled(place))
    return None, next(filter(None, reasons), f"no files of {wanted.name}")


def _inside(wanted: Wanted, place: Path) -> list[Path]:
    # Keras and the distributors unpack into folders of their own below the one that is named.
    if wanted.name == "cifar10":
        below = ["cifar-10-batches-bin"]
    else:
        # The last is torchvision's.
        below = [wanted.name.replace("_", "-"), {"mnist": "MNIST/raw"}.get(wanted.name, "FashionMNIST/raw")]
    # A shared folder may hold the bare files of one set only, and those of Keras' cache are told apart by their folder.
    return [place / name for name in [wanted.name, *below]] + ([] if place == keras_cache() else [place])


def _idx(folder: Path) -> tuple[Arrays | None, str]:
    paths = []
    missing = []
    for stem, kind in _IDX_STEMS:
        candidates = [folder / f"{stem}{joint}{kind}{end}" for joint in "-." for end in (".gz", "")]
        present = [path for path in candidates if path.is_file()]
        paths.extend(present[:1])
        missing.extend([] if present else [candidates[0].name])
    if missing:
        return None, f"{folder.name} lacks {', '.join(missing)}" if paths else ""
    x_train, y_train, x_test, y_test = map(idx.read, paths)
    return ((x_train, y_train), (x_test, y_test)), ""


def _npz(path: Path) -> Arrays:
    stored = npz.read(path, _NPZ_KEYS)
    missing = [key for key in _NPZ_KEYS if key not in stored]
    if missing:
        raise UserError(f"{path}: lacks {', '.join(missing)}; it must hold {', '.join(_NPZ_KEYS)}")
    return (stored["x_train"], stored["y_train"]), (stored["x_test"], stored["y_test"])


def _binary(folder: Path) -> tuple[Arrays | None, str]:
    names = (*cifar.TRAIN_FILES, cifar.TEST_FILE)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        return None, f"{folder.name} lacks {', '.join(missing)}" if len(missing) < len(names) else ""
    batches = [cifar.read(folder / name) for name in cifar.TRAIN_FILES]
    train = np.concatenate([images for images, _ in batches]), np.concatenate([labels for _, labels in batches])
    return (train, cifar.read(folder / cifar.TEST_FILE)), ""


def _pickled(folder: Path) -> list[Path]:
    """Returns what a folder holds of the Python version of CIFAR-10."""
    return sorted([*folder.glob("cifar-10-batches-py*"), *folder.glob("data_batch_1")])


def _download(wanted: Wanted) -> Arrays:
    if not wanted.download:
        raise UserError("what Keras would download is pickled, which kerasdl does not open")
    backend.choose()
    (x_train, y_train), (x_test, y_test) = import_module(f"keras.datasets.{wanted.name}").load_data()
    return (x_train, y_train), (x_test, y_test)
