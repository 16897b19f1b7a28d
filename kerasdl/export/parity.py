"""Compares what a file gives with what Keras gives, on the same raw rows.

The rule: an output may be off by `absolute + relative * |Keras' output|`. For extreme rows see `extremes.py`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.export.change import check_change, measure_change
from kerasdl.export.extremes import compare_extremes
from kerasdl.export.formats.ends import Ends, name_ends
from kerasdl.export.formats.running import run_file
from kerasdl.export.result import Batch, Change, ExportError, Parity
from kerasdl.export.samples import CHUNK, Rows, Samples, input_specifications, take_samples
from kerasdl.export.target import Target, load_target

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling

# Below this, an output's own size says nothing about how wrong it is: a softmax gives 1e-12 for "surely not".
SMALL = 1e-3

Arrays = tuple[np.ndarray, ...]


def verify(
    path: str | Path,
    model: Any,
    target: str | Target = "onnx",
    *,
    scaling: "Scaling | None" = None,
    rows: Rows = None,
    labels: np.ndarray | None = None,
) -> Parity:
    """Compares a file with the Keras model that it should be.

    Args:
        path: The file.
        model: The Keras model.
        target: The name of a shipped target, the path of a TOML file, or a `Target`: format and tolerance.
        scaling: How raw features became what the model sees.
        rows: Raw rows to compare on, `(n, *shape)`, for several inputs one array each; seeded random ones by default.
        labels: The class of each row, by which the loss of reduced precision is measured.

    Returns:
        How near its outputs are to Keras'.

    Raises:
        ExportError: The file does not open, or its outputs differ by more than the target allows.
        UserError: The file is not there, or the rows do not fit the model.

    Example:
        >>> verify("model.onnx", model, scaling=data.scaling).max_abs_diff
        1.1e-07
    """
    chosen = target if isinstance(target, Target) else load_target(target)
    samples = take_samples(model, scaling, rows, chosen, labels)
    inputs = [name for name, _, _ in input_specifications(model)]
    return compare(Path(path), samples, chosen, name_ends(model, chosen, inputs, len(samples.expected[0])))


def compare(path: Path, samples: Samples, target: Target, ends: Ends) -> Parity:
    """Runs a file on the samples and compares its outputs with Keras'.

    Args:
        path: The file.
        samples: Raw rows, and what Keras gives for them.
        target: The format, the tolerance and the limit.
        ends: The names of inputs and outputs.

    Returns:
        The differences.

    Raises:
        ExportError: An output has another shape, or differs by more than the target allows.
    """
    batches = [*samples.batches, *_split(samples.extremes, target), *_chunks(samples.tested, target)]
    ran = run_file(target.format, path, batches, ends)
    plain = len(samples.batches)
    for batch, answers, outputs in zip(samples.batches, samples.expected, ran.outputs, strict=False):
        _check_shapes(batch, answers, outputs)
    actual = ran.outputs[:plain]
    compared = [
        _measure(answers, outputs, ran.probabilities) for answers, outputs in zip(samples.expected, actual, strict=True)
    ]
    together = _measure(
        tuple(array for answers in samples.expected for array in answers),
        tuple(array for outputs in actual for array in outputs),
        ran.probabilities,
        single=len(samples.expected[0]) == 1,
    )
    _refuse_differences(samples.expected, actual, together, target)
    count = len(_split(samples.extremes, target))
    extremes, warnings = compare_extremes(samples, _joined(ran.outputs[plain : plain + count]), target)
    change = None
    if samples.tested and len(samples.tested_expected) == 1:
        (tested,) = _joined(ran.outputs[plain + count :])
        change = measure_change(samples.tested_expected[0], tested, samples.labels, ran.probabilities)
        warnings += check_change(change, target)
    return _parity(together, compared, ran, extremes, change, warnings)


def _parity(
    together: Batch, compared: list[Batch], ran: Any, extremes: dict[str, str], change: Change | None, warnings: Any
) -> Parity:
    return Parity(
        max_abs_diff=together.max_abs_diff,
        p99_abs_diff=together.p99_abs_diff,
        max_rel_diff=together.max_rel_diff,
        p99_rel_diff=together.p99_rel_diff,
        argmax_agreement=together.argmax_agreement,
        batch_sizes=tuple(each.rows for each in compared),
        batches=tuple(compared),
        extremes=extremes,
        change=change,
        providers=ran.providers,
        runtime=ran.runtime,
        warnings=tuple(warnings),
    )


def _split(arrays: Arrays, target: Target) -> list[Arrays]:
    """Gives rows as one batch, or one by one where the file takes no more."""
    if not arrays:
        return []
    step = len(arrays[0]) if target.dynamic_batch else 1
    return [tuple(array[start : start + step] for array in arrays) for start in range(0, len(arrays[0]), step)]


def _chunks(arrays: Arrays, target: Target) -> list[Arrays]:
    if not arrays:
        return []
    step = CHUNK if target.dynamic_batch else 1
    return [tuple(array[start : start + step] for array in arrays) for start in range(0, len(arrays[0]), step)]


def _joined(outputs: tuple[Arrays, ...]) -> Arrays:
    return tuple(np.concatenate(parts) for parts in zip(*outputs, strict=True))


def _check_shapes(batch: Arrays, answers: Arrays, outputs: Arrays) -> None:
    shapes = [array.shape for array in outputs], [array.shape for array in answers]
    if shapes[0] != shapes[1]:
        raise ExportError(
            f"the file gives the shapes {shapes[0]} for {len(batch[0])} rows where Keras gives {shapes[1]}; "
            "nothing was written"
        )


def _measure(expected: Arrays, actual: Arrays, probabilities: bool, single: bool | None = None) -> Batch:
    flat = np.concatenate([array.astype("float64").ravel() for array in expected])
    differences = np.abs(flat - np.concatenate([array.astype("float64").ravel() for array in actual]))
    relative = differences / np.maximum(np.abs(flat), SMALL)
    return Batch(
        rows=len(expected[0]),
        max_abs_diff=float(differences.max()),
        p99_abs_diff=float(np.quantile(differences, 0.99)),
        max_rel_diff=float(relative.max()),
        p99_rel_diff=float(np.quantile(relative, 0.99)),
        argmax_agreement=_agreement(expected, actual, probabilities) if single or len(expected) == 1 else None,
    )


def _agreement(expected: Arrays, actual: Arrays, probabilities: bool) -> float | None:
    if expected[0].ndim > 1 and expected[0].shape[-1] > 1:
        agree = [left.argmax(-1) == right.argmax(-1) for left, right in zip(expected, actual, strict=True)]
    elif probabilities:
        agree = [(left > 0.5) == (right > 0.5) for left, right in zip(expected, actual, strict=True)]
    else:
        return None
    return float(np.concatenate([array.ravel() for array in agree]).mean())


def _refuse_differences(
    expected: tuple[Arrays, ...], actual: tuple[Arrays, ...], together: Batch, target: Target
) -> None:
    bounds = target.tolerance
    wrong = total = 0
    for answers, outputs in zip(expected, actual, strict=True):
        for left, right in zip(answers, outputs, strict=True):
            # Not finite in the file is a difference, too; written so that NaN counts as wrong.
            wrong += int((~(np.abs(left - right) <= bounds.absolute + bounds.relative * np.abs(left))).sum())
            total += left.size
    if wrong > bounds.beyond * total:
        allowed = f" ({bounds.beyond:.0%} may)" if bounds.beyond else ""
        raise ExportError(
            f"the file's outputs differ from Keras' by up to {together.max_abs_diff:.3g} "
            f"({together.max_rel_diff:.3g} relative), {wrong} of {total} by more than {bounds.absolute:g} + "
            f"{bounds.relative:g} x |output|{allowed}; nothing was written"
        )
