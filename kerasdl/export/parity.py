"""Compares what an ONNX file gives with what Keras gives, on the same raw rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.graph.plan import is_graph
from kerasdl.export.open_sizes import answered, at_another_size, closed
from kerasdl.export.result import ExportError
from kerasdl.export.session import create_session

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target

Rows = np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray] | None

BATCH_SIZES = (1, 7, 64)

# Below this, an output's own size says nothing about how wrong it is: a softmax gives 1e-12 for "surely not".
SMALL = 1e-3


@dataclass(frozen=True)
class Parity:
    """How near the file's outputs are to Keras'; the fields are those of `Export`."""

    max_abs_diff: float
    p99_abs_diff: float
    max_rel_diff: float
    argmax_agreement: float | None
    batch_sizes: tuple[int, ...]
    providers: tuple[str, ...]


@dataclass(frozen=True)
class Samples:
    """Raw rows for each input of a model, and what Keras gives for them.

    Attributes:
        batches: For each batch size, one array per input, `(rows, *shape)`.
        expected: For each batch size, one float array per output.
    """

    batches: tuple[tuple[np.ndarray, ...], ...]
    expected: tuple[tuple[np.ndarray, ...], ...]


def take_samples(model: Any, scaling: "Scaling | None", rows: Rows, target: "Target") -> Samples:
    """Takes raw rows and lets Keras answer them, in inference mode.

    Args:
        model: The Keras model.
        scaling: How raw features become what the model sees.
        rows: Raw rows: an array, or one for each of several inputs by name or in order; seeded random ones by default.
        target: Says whether batches of several rows are meant to work.

    Returns:
        The rows in batches of 1, 7 and 64, and Keras' outputs; where sizes are open, two rows of another size, too.

    Raises:
        UserError: The rows do not fit the model, or its inputs cannot be told.
        ExportError: Keras' own outputs are not finite.
    """
    specifications = input_specifications(model)
    if scaling is not None and len(specifications) != 1:
        raise UserError(
            f"scaling is for one input, and model {model.name!r} has {len(specifications)}; give scaling=None"
        )
    given = _given_rows(rows, specifications) if rows is not None else _random_rows(model, specifications, scaling)
    largest = max(BATCH_SIZES)
    rows_in = [np.resize(array, (largest, *array.shape[1:])) for array in given]
    rows_out = keras_outputs(model, rows_in, scaling)
    if not all(np.isfinite(array).all() for array in rows_out):
        raise ExportError(
            f"model {model.name!r} gives values that are not finite in Keras itself: nothing to compare with; "
            "its training diverged, or the rows given are not such as it was trained on"
        )
    # At inference a row's outputs do not depend on its neighbours, so Keras answers all rows once.
    batches = [(0, 1), (1, 8), (0, largest)] if target.dynamic_batch else [(0, 1)]
    other = at_another_size(rows_in, specifications) if target.dynamic_batch else ()
    answers = answered(lambda rows: keras_outputs(model, rows, scaling), other)
    return Samples(
        (*(tuple(array[first:last] for array in rows_in) for first, last in batches), *([other] if answers else [])),
        (*(tuple(array[first:last] for array in rows_out) for first, last in batches), *([answers] if answers else [])),
    )


def keras_outputs(model: Any, batch: Sequence[np.ndarray], scaling: "Scaling | None" = None) -> tuple[np.ndarray, ...]:
    """Calls a Keras model in inference mode on raw rows, one array per input, and returns its outputs flat."""
    import keras

    inputs = [scaling.apply(array) if scaling is not None else array for array in batch]
    tensors = [keras.ops.convert_to_tensor(array) for array in inputs]
    # A graph takes its inputs as it was built: a list, a dictionary, or one alone.
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        outputs = model(keras.tree.pack_sequence_as(structure, tensors), training=False)
    else:
        outputs = model(tensors[0] if len(tensors) == 1 else tensors, training=False)
    return tuple(np.asarray(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(outputs))


def input_specifications(model: Any) -> list[tuple[str, tuple[int | None, ...], str]]:
    """Returns the name, Keras shape and dtype of each input of a model.

    Raises:
        UserError: The model was not built.
    """
    if is_graph(model):
        inputs = [(tensor._keras_history[0], tensor) for tensor in model.inputs]
        return [
            (getattr(layer, "name", tensor.name), tuple(tensor.shape), str(tensor.dtype)) for layer, tensor in inputs
        ]
    shapes = getattr(model, "_build_shapes_dict", None)
    if not model.built or not shapes:
        raise UserError(f"model {model.name!r} has not been built; call it once on a batch of rows before exporting it")
    specifications = []
    for name, shape in shapes.items():
        if not isinstance(shape, tuple | list) or not all(size is None or isinstance(size, int) for size in shape):
            raise UserError(f"model {model.name!r} is subclassed and takes a structure of inputs; give it plain arrays")
        specifications.append((name, (None, *shape[1:]), str(model.input_dtype)))
    return specifications


def _given_rows(rows: Any, specifications: list[tuple[str, tuple[int | None, ...], str]]) -> list[np.ndarray]:
    names = [name for name, _, _ in specifications]
    if isinstance(rows, Mapping):
        if set(rows) != set(names):
            raise UserError(f"rows are given for {', '.join(sorted(rows))}; the model's inputs are {', '.join(names)}")
        arrays = [np.asarray(rows[name]) for name in names]
    else:
        arrays = [np.asarray(rows)] if isinstance(rows, np.ndarray) else [np.asarray(array) for array in rows]
    if len(arrays) != len(names):
        raise UserError(f"rows hold {len(arrays)} arrays; the model has {len(names)} inputs: {', '.join(names)}")
    checked = []
    for array, (name, shape, dtype) in zip(arrays, specifications, strict=True):
        fits = array.ndim == len(shape) and all(
            size in (None, have) for size, have in zip(shape, array.shape, strict=True)
        )
        if not fits or not len(array):
            wanted = ", ".join("rows" if size is None else str(size) for size in shape)
            raise UserError(f"rows for {name!r} have the shape {array.shape}; the model takes ({wanted})")
        checked.append(array.astype(dtype))
    return checked


def _random_rows(
    model: Any, specifications: list[tuple[str, tuple[int | None, ...], str]], scaling: "Scaling | None"
) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    tables = [layer.input_dim for layer in model._flatten_layers() if type(layer).__name__ == "Embedding"]
    arrays = []
    for _, shape, dtype in specifications:
        sizes = [max(BATCH_SIZES), *closed(shape)]
        if dtype.startswith(("int", "uint")) or tables:
            arrays.append(generator.integers(0, min(tables, default=2), sizes).astype(dtype))
        else:
            standard = generator.standard_normal(sizes).astype(dtype)
            arrays.append(scaling.invert(standard) if scaling is not None else standard)
    return arrays


def compare(path: Path, samples: Samples, target: "Target") -> Parity:
    """Runs an ONNX file on the samples and compares its outputs with Keras'.

    Args:
        path: The ONNX file.
        samples: Raw rows, and what Keras gives for them.
        target: Holds the tolerance.

    Returns:
        The differences.

    Raises:
        ExportError: An output has another shape, or differs by more than the tolerance.
    """
    session = create_session(path)
    names = [each.name for each in session.get_inputs()]
    expected: list[np.ndarray] = []
    actual: list[np.ndarray] = []
    for batch, answers in zip(samples.batches, samples.expected, strict=True):
        try:
            outputs = session.run(None, dict(zip(names, batch, strict=True)))
        except Exception as error:  # onnxruntime raises a class of its own for every status
            raise ExportError(
                f"the file fails on {len(batch[0])} rows: {_first_line(error)}; nothing was written"
            ) from error
        shapes = [array.shape for array in outputs], [array.shape for array in answers]
        if shapes[0] != shapes[1]:
            raise ExportError(
                f"the file gives the shapes {shapes[0]} where Keras gives {shapes[1]}; nothing was written"
            )
        expected += answers
        actual += outputs
    parity = _measure(session, expected, actual, tuple(len(batch[0]) for batch in samples.batches))
    wrong = _count_wrong(expected, actual, target)
    if wrong:
        raise ExportError(
            f"the file's outputs differ from Keras' by up to {parity.max_abs_diff:.3g} "
            f"({parity.max_rel_diff:.3g} relative), {wrong} of them by more than {target.tolerance.absolute:g} + "
            f"{target.tolerance.relative:g} x |output|; nothing was written"
        )
    return parity


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _measure(session: Any, expected: list[np.ndarray], actual: list[np.ndarray], sizes: tuple[int, ...]) -> Parity:
    flat = np.concatenate([array.astype("float64").ravel() for array in expected])
    differences = np.abs(flat - np.concatenate([array.astype("float64").ravel() for array in actual]))
    return Parity(
        max_abs_diff=float(differences.max()),
        p99_abs_diff=float(np.quantile(differences, 0.99)),
        max_rel_diff=float((differences / np.maximum(np.abs(flat), SMALL)).max()),
        argmax_agreement=_agreement(session.get_outputs(), expected, actual),
        batch_sizes=sizes,
        providers=tuple(session.get_providers()),
    )


def _agreement(outputs: list[Any], expected: list[np.ndarray], actual: list[np.ndarray]) -> float | None:
    if len(outputs) != 1:
        return None
    if expected[0].ndim > 1 and expected[0].shape[-1] > 1:
        agree = [left.argmax(-1) == right.argmax(-1) for left, right in zip(expected, actual, strict=True)]
    elif outputs[0].name == "probabilities":
        agree = [(left > 0.5) == (right > 0.5) for left, right in zip(expected, actual, strict=True)]
    else:
        return None
    return float(np.concatenate([array.ravel() for array in agree]).mean())


def _count_wrong(expected: list[np.ndarray], actual: list[np.ndarray], target: "Target") -> int:
    bounds = target.tolerance
    wrong = 0
    for left, right in zip(expected, actual, strict=True):
        # Not finite in the file is a difference, too; written so that NaN counts as wrong.
        wrong += int((~(np.abs(left - right) <= bounds.absolute + bounds.relative * np.abs(left))).sum())
    return wrong
