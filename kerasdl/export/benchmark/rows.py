"""The rows that models are called with, and how far the outputs of one file are from another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kerasdl.errors import UserError, nearest
from kerasdl.export.benchmark.runners import Input
from kerasdl.export.benchmark.sources import Source

# On how many rows two files are compared.
COMPARED = 256

Kind = tuple[tuple[tuple[int, ...], str], ...]


def settle_shapes(source: Source, inputs: Sequence[Input], shapes: Mapping[str, tuple[int, ...]]) -> list[Input]:
    """Fills the sizes that a file leaves open from what the person gave.

    Args:
        source: The file, for the message.
        inputs: Its inputs.
        shapes: Shapes without the batch axis by input; one input alone may have the name `""`.

    Returns:
        The inputs, every size known.

    Raises:
        UserError: A size is open and not given, or what was given does not fit.
    """
    settled = []
    for each in inputs:
        given = shapes.get(each.name, shapes.get("") if len(inputs) == 1 else None)
        shown = "x".join("?" if size is None else str(size) for size in each.shape) or "one value"
        if given is None:
            if None in each.shape:
                option = each.name + "=" if len(inputs) > 1 else ""
                raise UserError(
                    f"{source.path}: input {each.name!r} has the open shape {shown} a row; "
                    f"give it, as in --shape {option}{shown.replace('?', '32')}"
                )
            given = tuple(size for size in each.shape if size is not None)
        fits = len(given) == len(each.shape) and all(
            size in (None, have) for size, have in zip(each.shape, given, strict=True)
        )
        if not fits:
            raise UserError(f"{source.path}: input {each.name!r} takes {shown} a row, and --shape says {given}")
        settled.append(Input(each.name, given, each.dtype))
    return settled


def check_names(shapes: Mapping[str, tuple[int, ...]], names: Sequence[str]) -> None:
    """Raises a `UserError` where a shape is given for an input that no model has."""
    unknown = [name for name in shapes if name and name not in names]
    if unknown and names:
        raise UserError(f"--shape: no model here has an input {unknown[0]!r}; {nearest(unknown[0], names)}")


def kind(inputs: Sequence[Input]) -> Kind:
    """Returns what must be alike in two models that are called with the same rows."""
    found = []
    for each in inputs:
        shape = tuple(size for size in each.shape if size is not None)
        dtype = np.dtype(each.dtype) if each.dtype != "bfloat16" else np.dtype("float32")
        found.append((shape, "float" if dtype.kind == "f" else str(dtype) if dtype.kind in "bu" else dtype.kind))
    return tuple(found)


def random_rows(kinds: Kind, count: int, seed: int) -> list[np.ndarray]:
    """Draws rows: standard normal numbers, bytes of images, and small whole numbers, which every embedding knows."""
    generator = np.random.default_rng(seed)
    rows: list[np.ndarray] = []
    for shape, name in kinds:
        if name == "float":
            rows.append(generator.standard_normal((count, *shape), dtype="float32"))
        elif name == "uint8":
            rows.append(generator.integers(0, 256, (count, *shape)).astype("uint8"))
        elif name == "O":
            raise UserError("a model takes text: give rows of your own, as in --rows rows.npz")
        else:
            rows.append(generator.integers(0, 2, (count, *shape)))
    return rows


def read_rows(path: Path) -> list[np.ndarray]:
    """Reads rows of one's own: `.npy` for one input, `.npz` with an array for each input in order.

    Raises:
        UserError: It is no such file, or has no rows.
    """
    try:
        found = np.load(path, allow_pickle=False)
        arrays = [found] if isinstance(found, np.ndarray) else [found[name] for name in found.files]
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"--rows: {path} is no .npy or .npz file of arrays ({error})") from error
    if not arrays or any(array.ndim < 1 or not len(array) for array in arrays):
        raise UserError(f"--rows: {path} has no rows")
    return arrays


def check_rows(rows: Sequence[np.ndarray], source: Source, inputs: Sequence[Input]) -> None:
    """Raises a `UserError` where rows do not fit a model."""
    have = [tuple(array.shape[1:]) for array in rows]
    wanted = [tuple(each.shape) for each in inputs]
    if have != wanted:
        raise UserError(f"--rows: the rows have the shapes {have}, and {source.path} takes {wanted}")


@dataclass(frozen=True)
class Agreement:
    """How near a file's outputs are to those of the float32 file on the same rows.

    Attributes:
        reference: The float32 file.
        rows: How many were compared.
        same_class: The share of rows whose largest output is the same one; `None` where outputs are no classes.
        max_difference: The largest absolute difference.
        relative_error: Root mean square of the differences, divided by that of the reference about its mean.
    """

    reference: str
    rows: int
    same_class: float | None
    max_difference: float
    relative_error: float

    def good(self, share: float) -> bool:
        """Whether the file may be chosen: enough rows of the same class; without classes, an error up to 1 - share."""
        if not np.isfinite(self.max_difference):
            return False
        return self.relative_error <= 1 - share if self.same_class is None else self.same_class >= share


def compare(reference: str, expected: Sequence[np.ndarray], actual: Sequence[np.ndarray]) -> Agreement | None:
    """Compares outputs; `None` where they have other shapes, so that the files are not of the same model."""
    pairs = list(zip(expected, actual, strict=False))
    if len(expected) != len(actual) or any(one.shape[1:] != other.shape[1:] for one, other in pairs):
        return None
    count = min(len(pairs[0][0]), len(pairs[0][1]))
    pairs = [(one[:count].astype("float64"), other[:count].astype("float64")) for one, other in pairs]
    differences = np.concatenate([(one - other).ravel() for one, other in pairs])
    spread = np.concatenate([(one - one.mean()).ravel() for one, _ in pairs])
    scale = float(np.sqrt(np.mean(spread**2))) or 1.0
    finite = bool(np.isfinite(differences).all())
    return Agreement(
        reference=reference,
        rows=count,
        same_class=_same_class(pairs),
        max_difference=float(np.abs(differences).max()) if finite else float("inf"),
        relative_error=float(np.sqrt(np.mean(differences**2))) / scale if finite else float("inf"),
    )


def _same_class(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    if len(pairs) != 1 or pairs[0][0].ndim < 2 or pairs[0][0].shape[-1] < 2:
        return None
    one, other = pairs[0]
    return float(np.mean(one.argmax(-1) == other.argmax(-1)))
