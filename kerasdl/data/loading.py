"""Loads a data set from its specification."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from kerasdl.data.dataset import Dataset
from kerasdl.data.spec import NAMES, Spec, parse
from kerasdl.errors import UserError

# Each module has `load(spec: Spec, seed: int) -> Dataset`; one that is not asked for is not imported.
_MODULES = {
    "brain": "brain",
    "cifar10": "images",
    "countries": "countries",
    "csv": "tables",
    "digits": "digits",
    "fashion_mnist": "images",
    "fashion_pair": "fashion_pair",
    "folder": "image_folder",
    "mnist": "images",
    "npz": "arrays",
    "segmentation": "segmentation",
    "xor": "xor",
}


def names() -> list[str]:
    """Returns the names of the data sets that come with kerasdl or are found by it, sorted."""
    return sorted(NAMES)


def check(spec: str | Dataset, *, folder: str | Path | None = None, **parameters: object) -> None:
    """Checks a specification without loading anything: name, parameters, their ranges, and that its files exist.

    Args:
        spec: As for `load`.
        folder: As for `load`.
        **parameters: As for `load`.

    Raises:
        UserError: The specification cannot be loaded.
    """
    if isinstance(spec, Dataset):
        _refuse_parameters(folder, parameters)
        return
    parse(spec, folder=folder, **parameters).check_files()


def load(spec: str | Dataset, *, folder: str | Path | None = None, seed: int = 0, **parameters: object) -> Dataset:
    """Loads a data set: three scaled splits and the facts about them.

    Tables (`countries`, `csv:`, `npz:` with two dimensions) are standardized by the mean and the standard deviation of
    their training rows and split 64/16/20 % into train, validation and test. Image sets keep their official test set;
    validation is 10 % of the official training rows. Folders of images are split 64/16/20 % where they are not split
    already. Every split is stratified by class and drawn with `seed`. Pixels are scaled by their range to [0, 1];
    arrays of images that memory would not hold are memory maps.

    Args:
        spec: A name (`"countries"`, `"digits"`, `"fashion_mnist"`, `"fashion_pair"`, `"mnist"`, `"cifar10"`,
            `"brain"`, `"xor"`), with parameters if wanted (`"xor?rows=2000&noise=0.2"`), or one with a path:
            `"csv:PATH?target=COLUMN"`, `"npz:PATH"`, `"folder:PATH"`, `"segmentation:PATH"`. Values are
            percent-decoded. A `Dataset` is given back as it is.
        folder: The folder to look into first for `fashion_mnist`, `fashion_pair`, `mnist` and `cifar10`.
        seed: Draws the splits and samples, and the points of `xor`. The same seed gives the same arrays bit for bit.
        **parameters: The same parameters as in the text: `places` for `countries`; `rows` for image sets and `xor`;
            `noise` for `xor`; `target`, `features` and `separator` for `csv:`; for images `size` (`64` or
            `"HEIGHTxWIDTH"`), `channels` (1 or 3), `resize` (`"stretch"`, `"crop"` or `"pad"`) and `memory`
            (`"500MB"`, how much arrays may take before they are kept on disk); `pair` for `fashion_pair`; `axis` for
            `brain`; `corrupt` for folders of images; `classes` and `unpaired` for `segmentation:`. `None` means not
            given.

    Returns:
        The data set.

    Raises:
        UserError: The specification or the data cannot be used.

    Example:
        >>> data = load("xor?rows=200")
        >>> data.input_shape, len(data.train), data.classes
        ((2,), 200, ('same sign', 'different sign'))
    """
    if isinstance(spec, Dataset):
        _refuse_parameters(folder, parameters)
        return spec
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UserError(f"data {spec!r}: seed {seed!r} is not a whole number from 0 up")
    parsed = parse(spec, folder=folder, **parameters)
    parsed.check_files()
    module = import_module(f"kerasdl.data.{_MODULES[parsed.kind]}")
    return cast("Callable[[Spec, int], Dataset]", module.load)(parsed, seed)


def _refuse_parameters(folder: str | Path | None, parameters: dict[str, object]) -> None:
    given = sorted(name for name, value in {"folder": folder, **parameters}.items() if value is not None)
    if given:
        raise UserError(f"a Dataset that is already loaded takes no parameters; leave out {', '.join(given)}")
