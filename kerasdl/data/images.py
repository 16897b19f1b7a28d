"""Image sets with an official test set: Fashion-MNIST, MNIST and CIFAR-10."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasdl.data.dataset import Dataset, Scaling
from kerasdl.data.form import Form
from kerasdl.data.image_splits import Part, assemble_images
from kerasdl.data.places import Wanted, find
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM, choose, hold_out, require_rows
from kerasdl.errors import UserError


@dataclass(frozen=True)
class _Facts:
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    origin: str
    licence: str
    wanted: Wanted


_FOUR_IDX = "the four IDX files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-...)"

_SETS = {
    "fashion_mnist": _Facts(
        shape=(28, 28, 1),
        classes=(
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        origin="Fashion-MNIST, Zalando SE",
        licence="MIT",
        wanted=Wanted(
            "fashion_mnist",
            debian=Path("/usr/share/datasets/fashion-mnist"),
            what_to_put="on Debian or Ubuntu: apt install dataset-fashion-mnist; elsewhere put "
            f"{_FOUR_IDX} or fashion_mnist.npz into a folder and name it with folder=PATH",
        ),
    ),
    "mnist": _Facts(
        shape=(28, 28, 1),
        classes=tuple("0123456789"),
        origin="MNIST, Yann LeCun and Corinna Cortes",
        licence="CC BY-SA 3.0",
        wanted=Wanted(
            "mnist",
            debian=None,
            what_to_put=f"put {_FOUR_IDX} or Keras' mnist.npz into a folder and name it with folder=PATH",
        ),
    ),
    "cifar10": _Facts(
        shape=(32, 32, 3),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        origin="CIFAR-10, Alex Krizhevsky, Vinod Nair and Geoffrey Hinton",
        licence="none stated; its authors ask to cite Krizhevsky (2009), Learning Multiple Layers of Features",
        wanted=Wanted(
            "cifar10",
            debian=None,
            what_to_put="unpack https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz (data_batch_1.bin to "
            "data_batch_5.bin, test_batch.bin) or put cifar10.npz into a folder and name it with folder=PATH",
            download=False,
        ),
    ),
}


@dataclass(frozen=True)
class Official:
    """An image set as its authors split it.

    Attributes:
        train: Raw images `(rows, height, width, channels)` and labels `(rows,)` of the official training rows.
        test: The same of the official test rows.
        scaling: From raw pixels to [0, 1].
        classes: The name of each class.
        source: Where the data come from.
        licence: Under which terms.
        notes: What a reader must know.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    scaling: Scaling
    classes: tuple[str, ...]
    source: str
    licence: str
    notes: list[str]


def load(spec: Spec, seed: int) -> Dataset:
    """Loads an image set; its test set is the official one.

    Args:
        spec: `folder`, where to look first; `rows`, the size of a stratified sample of the official training rows,
            from which 10 % go to validation; `size`, `channels` and `resize`, what images are brought to; `memory`.
        seed: Draws the sample and the validation rows.

    Returns:
        The data set: pixels scaled to [0, 1] by their type's range, channels last.

    Raises:
        UserError: The data are nowhere to be found, are damaged, or are fewer than `rows`.
    """
    found = official(spec.kind, spec.parameters.get("folder"))
    return from_training_rows(
        spec,
        found.train,
        found.test,
        np.random.default_rng(seed),
        held_out=0.1,
        scaling=found.scaling,
        classes=found.classes,
        source=found.source,
        licence=found.licence,
        notes=found.notes,
    )


def official(name: str, folder: Path | None) -> Official:
    """Finds an image set and checks it.

    Args:
        name: `"fashion_mnist"`, `"mnist"` or `"cifar10"`.
        folder: A folder to look into first.

    Returns:
        The images, unscaled, and the facts about them.

    Raises:
        UserError: The data are nowhere to be found, or are damaged.
    """
    facts = _SETS[name]
    found = find(facts.wanted, folder)
    (x_train, y_train), (x_test, y_test) = found.arrays
    train = _checked(f"{name}, training rows of {found.place}", x_train, y_train, facts)
    test = _checked(f"{name}, test rows of {found.place}", x_test, y_test, facts)
    if train[0].dtype != test[0].dtype:
        raise UserError(f"{name} of {found.place}: x_train and x_test are of two types; save them as one")
    return Official(
        train,
        test,
        scaling=by_range(np.iinfo(train[0].dtype).max),
        classes=facts.classes,
        source=f"{facts.origin}; {found.place}",
        licence=facts.licence,
        notes=[f"not found in the folder that was named: {reason}" for reason in found.passed],
    )


def from_training_rows(
    spec: Spec,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    generator: np.random.Generator,
    *,
    held_out: float,
    scaling: Scaling,
    classes: tuple[str, ...],
    source: str,
    licence: str,
    notes: list[str] | None = None,
) -> Dataset:
    """Samples training rows where `rows` asks for it, splits validation off, and puts the data set together.

    Args:
        spec: The specification, with `rows` or without.
        train: Raw images `(rows, height, width, channels)` and integer labels `(rows,)`.
        test: The same for the test rows.
        generator: Draws.
        held_out: The part of the training rows that goes to validation.
        scaling: From raw pixels to what the model sees.
        classes: The name of each class.
        source: Where the data come from.
        licence: Under which terms.
        notes: What a reader must know besides a sample.

    Returns:
        The data set.

    Raises:
        UserError: `rows` cannot be met, or a class has too few rows to be split.
    """
    x, y = train
    y = y.astype("int64")
    notes = list(notes or [])
    require_rows(y, classes, MINIMUM, f"{spec.kind}, training rows")
    rows = spec.parameters.get("rows", len(y))
    if not MINIMUM * len(classes) <= rows <= len(y):
        raise UserError(
            f"{spec.kind}: rows={rows} is out of range; there are {len(y)} training rows, and {len(classes)} classes "
            f"need {MINIMUM * len(classes)}"
        )
    sample = generator.permutation(len(y))
    if rows < len(y):
        notes.append(f"a sample, stratified by class: {rows} of {len(y)} training rows")
        sample, _ = choose(y, rows, generator, at_least=MINIMUM)
    kept, held = (sample[part] for part in hold_out(y[sample], held_out, generator))
    return assemble_images(
        spec,
        {
            "train": Part(x, y, kept),
            "validation": Part(x, y, held),
            "test": Part(*test, np.arange(len(test[0]))),
        },
        form=Form.of(spec.parameters),
        scaling=scaling,
        classes=classes,
        source=source,
        licence=licence,
        notes=notes,
    )


def _checked(place: str, x: np.ndarray, y: np.ndarray, facts: _Facts) -> tuple[np.ndarray, np.ndarray]:
    """Brings stored arrays to `(rows, height, width, channels)` and `(rows,)`, or says what is wrong with them."""
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.ndim != 4 or x.shape[1:] != facts.shape:
        raise UserError(f"{place}: images of shape {x.shape[1:]} where {facts.shape} is wanted; these are other data")
    if x.dtype not in (np.dtype("uint8"), np.dtype("uint16")):
        raise UserError(f"{place}: pixels of type {x.dtype} where uint8 is wanted; store them unscaled")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise UserError(f"{place}: labels of shape {y.shape} and type {y.dtype} where one whole number a row is wanted")
    if len(x) != len(y):
        raise UserError(f"{place}: {len(x)} images but {len(y)} labels; get the files anew")
    wrong = np.flatnonzero((y < 0) | (y >= len(facts.classes)))
    if len(wrong):
        raise UserError(
            f"{place}: row {wrong[0]} has label {y[wrong[0]]}, and the labels go from 0 to {len(facts.classes) - 1}"
        )
    return x, y
