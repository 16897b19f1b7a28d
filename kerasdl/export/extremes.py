"""Extreme rows: zeros, huge, tiny and missing numbers, answered in one batch with ordinary rows between them.

- The ordinary rows must come out as ever, whatever their neighbours are: NaN stays in its row.
- Zeros, subnormal numbers and huge ones (a million times a feature's size): where Keras gives a finite value the file
  must give it too, within `absolute + relative * (the row's largest |output|)`; where Keras gives NaN or an infinity
  the file must give one of these. Some networks are not continuous so far out: attention that has to choose between
  keys of equal weight, a normalization that divides by a variance of rounding errors. So what Keras' own outputs of a
  row change by, when its numbers move by a few units of rounding or subnormal ones to their neighbours, is allowed too.
- Rows with NaN, and rows at float32's largest number: what a sum that overflows, or the maximum of NaN and 0, comes to
  depends on the order of additions and on the processor, in Keras' backends as well. A difference is recorded.
- Reduced precision has a smaller range: of huge rows, and with 8 bits of all extremes, a difference is a warning.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.export.result import ExportError

if TYPE_CHECKING:
    from kerasdl.export.samples import Samples
    from kerasdl.export.target import Target

Arrays = tuple[np.ndarray, ...]

ORDINARY = "ordinary"
# The rows of the batch of extremes. The ordinary ones among them must not be touched by their neighbours.
EXTREMES = (ORDINARY, "zeros", "huge", "NaN", ORDINARY, "subnormal", "one NaN", "overflow")
# Where different backends differ among themselves.
UNDEFINED = {"NaN", "one NaN", "overflow"}
# What reduced precision need not hold: 8 bits are fitted to the training rows, where zero may be far off.
OUT_OF_RANGE = {"float16": {"huge"}, "int8": {"zeros", "huge", "subnormal"}}

# A million times a feature's own size: far outside of any data, and still far from overflow in float32.
HUGE = 1e6
SUBNORMAL = 1e-42
OVERFLOW = 3e38

# How often a row is moved, and by how many units of rounding.
COPIES = 3
UNITS = 4


def extreme_rows(rows: Sequence[np.ndarray]) -> Arrays:
    """Makes the batch of extremes.

    Args:
        rows: Ordinary rows, one array per input.

    Returns:
        One array per input, a row for each name in `EXTREMES`; nothing where all inputs are whole numbers.
    """
    if not any(np.issubdtype(array.dtype, np.floating) for array in rows):
        return ()
    return tuple(_extreme(np.resize(array, (len(EXTREMES), *array.shape[1:])).copy()) for array in rows)


def _extreme(batch: np.ndarray) -> np.ndarray:
    # Whole numbers, such as classes, stay as they are: other ones have no meaning to the model.
    if not np.issubdtype(batch.dtype, np.floating):
        return batch
    sign = np.where(batch < 0, -1.0, 1.0)
    wild = {
        "zeros": np.zeros_like(batch),
        "huge": sign * np.maximum(np.abs(batch), 1.0) * HUGE,
        "NaN": np.full_like(batch, np.nan),
        "subnormal": sign * SUBNORMAL,
        "overflow": sign * OVERFLOW,
    }
    for position, name in enumerate(EXTREMES):
        if name in wild:
            with np.errstate(over="ignore"):
                batch[position] = wild[name][position].astype(batch.dtype)
        elif name == "one NaN":
            batch[position].reshape(-1)[0] = np.nan
    return batch


def near_rows(extremes: Arrays) -> Arrays:
    """Moves the rows of a batch of extremes by no more than rounding does.

    Args:
        extremes: What `extreme_rows` made.

    Returns:
        One array per input, `(COPIES * rows, ...)`: huge numbers a few units of rounding larger or smaller; subnormal
        ones zero, as processors that flush them take them, or the smallest normal number; the other rows as they are.
    """
    return tuple(np.concatenate([_moved(array, copy) for copy in range(COPIES)]) for array in extremes)


def _moved(array: np.ndarray, copy: int) -> np.ndarray:
    moved = array.copy()
    if not np.issubdtype(array.dtype, np.floating):
        return moved
    huge = EXTREMES.index("huge")
    signs = np.random.default_rng(copy).choice([-1.0, 1.0], array[huge].shape)
    with np.errstate(over="ignore", invalid="ignore"):
        moved[huge] = (array[huge] * (1 + signs * UNITS * np.finfo(array.dtype).eps)).astype(array.dtype)
    place = EXTREMES.index("subnormal")
    moved[place] = np.sign(array[place]) * np.finfo(array.dtype).tiny if copy % 2 else 0
    return moved


def slack(expected: Arrays, near: Arrays) -> Arrays:
    """Returns how far Keras' outputs move with the rows.

    Args:
        expected: Keras' outputs for the extremes, one array per output, `(rows, ...)`.
        near: Its outputs for `near_rows`, `(COPIES * rows, ...)`.

    Returns:
        One array per output, `(rows,)`: the largest change of any number of a row; infinite where it comes and goes.
    """
    return tuple(map(_slack, expected, near))


def _slack(expected: np.ndarray, near: np.ndarray) -> np.ndarray:
    copies = near.reshape(COPIES, *expected.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = np.abs(copies.astype("float64") - expected)
    kept = np.isfinite(copies) == np.isfinite(expected)
    moved = np.where(np.isfinite(copies) & np.isfinite(expected), moved, np.where(kept, 0.0, np.inf))
    return moved.max(axis=(0, *range(2, moved.ndim)))


def compare_extremes(samples: "Samples", actual: Arrays, target: "Target") -> tuple[dict[str, str], tuple[str, ...]]:
    """Compares the batch of extremes with what Keras gives, see the head of this file.

    Args:
        samples: The rows and Keras' answers.
        actual: The file's answers, one array per output.
        target: The tolerance and the precision.

    Returns:
        For each kind of row `"equal"` or what is different, and the differences that are no more than warnings.

    Raises:
        ExportError: A row differs that must not.
    """
    found: dict[str, str] = {}
    warnings: list[str] = []
    if not samples.extremes:
        return found, ()
    for position, name in enumerate(EXTREMES):
        rows = [
            (answers[position], outputs[position], 2 * float(moves[position]))
            for answers, moves, outputs in zip(samples.extremes_expected, samples.extremes_slack, actual, strict=True)
        ]
        different = _differs(rows, target)
        found[name] = found[name] if found.get(name, "equal") != "equal" else different or "equal"
        if different is None:
            continue
        if name == ORDINARY and not _dynamically_quantized(target):
            raise ExportError(f"the file lets rows of a batch influence each other: beside extreme rows {different}")
        if name in UNDEFINED:
            continue
        if name == ORDINARY or name in OUT_OF_RANGE.get(target.precision, ()):
            warnings.append(_explained(name, different, target))
        else:
            raise ExportError(f"row of extremes ({name}): {different}; nothing was written")
    return found, tuple(dict.fromkeys(warnings))


def _explained(name: str, different: str, target: "Target") -> str:
    if name == ORDINARY:
        return f"beside extreme rows in the same batch {different}"
    return f"rows of extremes ({name}) are out of the range of {target.precision}: {different}"


def _dynamically_quantized(target: "Target") -> bool:
    return target.precision == "int8" and target.quantization.method != "static"


def _differs(rows: list[tuple[np.ndarray, np.ndarray, float]], target: "Target") -> str | None:
    """Says how the file's outputs for one row differ from Keras', `None` where they do not.

    Args:
        rows: For each output Keras' numbers, the file's, and what may be added to the tolerance.
        target: The tolerance.
    """
    bounds = target.tolerance
    wrong, largest = 0, 0.0
    for left, right, allowed in rows:
        finite, given = np.isfinite(left), np.isfinite(right)
        lost, added = int((finite & ~given).sum()), int((given & ~finite).sum())
        if np.isinf(allowed):
            continue
        if lost:
            return f"the file gives NaN or infinity for {lost} of {left.size} outputs where Keras gives numbers"
        if added:
            return f"the file gives numbers for {added} of {left.size} outputs where Keras gives NaN or infinity"
        both = finite & given
        if not both.any():
            continue
        size = np.abs(left[both]).max()
        with np.errstate(over="ignore"):
            differences = np.abs(left[both] - right[both])
        off = ~(differences <= bounds.absolute + bounds.relative * size + allowed)
        wrong += int(off.sum()) if off.mean() > bounds.beyond else 0
        largest = max(largest, float(differences.max()))
    return f"the outputs differ from Keras' by up to {largest:.3g}" if wrong else None
