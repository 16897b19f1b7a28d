"""Takes raw rows, ordinary and extreme ones, and asks Keras what it gives for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.extremes import extreme_rows, near_rows, slack
from kerasdl.export.full_precision import exact_products
from kerasdl.export.graph.plan import is_graph
from kerasdl.export.open_sizes import answered, at_another_size, closed
from kerasdl.export.result import ExportError

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target

Rows = np.ndarray | Mapping[str, np.ndarray] | Sequence[np.ndarray] | None
Specification = tuple[str, tuple[int | None, ...], str]

BATCH_SIZES = (1, 7, 64)

# Rows that Keras answers in one call.
CHUNK = 256


@dataclass(frozen=True)
class Samples:
    """Raw rows for each input of a model, and what Keras gives for them.

    Attributes:
        batches: For each batch size, one array per input, `(rows, *shape)`.
        expected: For each batch size, one float array per output.
        extremes: One array per input, a row for each name in `EXTREMES`; empty where the inputs are whole numbers.
        extremes_expected: What Keras gives for these.
        extremes_slack: For each output how far Keras' own answer moves when a row moves by no more than rounding does.
        tested: Rows on which the loss of reduced precision is measured, one array per input; empty where it is not.
        tested_expected: What Keras gives for these.
        labels: The class of each of these rows (or pixels), `None` where not known.
        drawn: Whether the rows are random ones, because none were given.
    """

    batches: tuple[tuple[np.ndarray, ...], ...]
    expected: tuple[tuple[np.ndarray, ...], ...]
    extremes: tuple[np.ndarray, ...] = ()
    extremes_expected: tuple[np.ndarray, ...] = ()
    extremes_slack: tuple[np.ndarray, ...] = ()
    tested: tuple[np.ndarray, ...] = ()
    tested_expected: tuple[np.ndarray, ...] = ()
    labels: np.ndarray | None = None
    drawn: bool = False


def take_samples(
    model: Any, scaling: "Scaling | None", rows: Rows, target: "Target", labels: np.ndarray | None = None
) -> Samples:
    """Takes raw rows and lets Keras answer them, in inference mode.

    Args:
        model: The Keras model.
        scaling: How raw features become what the model sees.
        rows: Raw rows: an array, or one for each of several inputs by name or in order; seeded random ones by default.
        target: Says whether batches of several rows are meant to work, and whether precision is reduced.
        labels: The class of each row, where known.

    Returns:
        The rows in batches of 1, 7 and 64, extreme rows, and Keras' outputs; where sizes are open, two rows of another
        size, too.

    Raises:
        UserError: The rows do not fit the model, or its inputs cannot be told.
        ExportError: Keras' own outputs are not finite.
    """
    specifications = input_specifications(model)
    if scaling is not None and len(specifications) != 1:
        raise UserError(
            f"scaling is for one input, and model {model.name!r} has {len(specifications)}; give scaling=None"
        )
    given = _random_rows(model, specifications, scaling) if rows is None else given_rows(rows, specifications)
    largest = max(BATCH_SIZES)
    rows_in = tuple(np.resize(array, (largest, *array.shape[1:])) for array in given)
    rows_out = keras_outputs(model, rows_in, scaling)
    if not all(np.isfinite(array).all() for array in rows_out):
        raise ExportError(
            f"model {model.name!r} gives values that are not finite in Keras itself: nothing to compare with; "
            "its training diverged, or the rows given are not such as it was trained on"
        )
    # At inference a row's outputs do not depend on its neighbours, so Keras answers all rows once.
    batches = [(0, 1), (1, 8), (0, largest)] if target.dynamic_batch else [(0, 1)]
    batches_in = [tuple(array[first:last] for array in rows_in) for first, last in batches]
    batches_out = [tuple(array[first:last] for array in rows_out) for first, last in batches]
    other = at_another_size(rows_in, specifications) if target.dynamic_batch else ()
    other_out = answered(lambda rows: keras_outputs(model, rows, scaling), other)
    if other_out:
        batches_in.append(other)
        batches_out.append(other_out)
    extremes = () if _tables(model) else extreme_rows(rows_in)
    answers = _in_chunks(model, extremes, scaling, largest) if extremes else ()
    near = _in_chunks(model, near_rows(extremes), scaling, largest) if extremes else ()
    tested = given if target.reduced else ()
    return Samples(
        batches=tuple(batches_in),
        expected=tuple(batches_out),
        extremes=extremes,
        extremes_expected=answers,
        extremes_slack=slack(answers, near),
        tested=tested,
        tested_expected=_in_chunks(model, tested, scaling, CHUNK) if tested else (),
        labels=_checked_labels(labels, given),
        drawn=rows is None,
    )


def _checked_labels(labels: np.ndarray | None, given: Sequence[np.ndarray]) -> np.ndarray | None:
    if labels is None:
        return None
    array = np.asarray(labels)
    if len(array) != len(given[0]):
        raise UserError(f"labels has {len(array)} entries and rows {len(given[0])}; give one for each row")
    if not np.issubdtype(array.dtype, np.integer):
        raise UserError(f"labels are {array.dtype}; give the number of each row's class")
    return array


def _in_chunks(model: Any, rows: Sequence[np.ndarray], scaling: "Scaling | None", size: int) -> tuple[np.ndarray, ...]:
    """Lets Keras answer rows in batches of one size, the last filled up: JAX compiles for each new size."""
    parts = []
    for start in range(0, len(rows[0]), size):
        batch = [array[start : start + size] for array in rows]
        count = len(batch[0])
        answers = keras_outputs(model, [np.resize(array, (size, *array.shape[1:])) for array in batch], scaling)
        parts.append([array[:count] for array in answers])
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def keras_outputs(model: Any, batch: Sequence[np.ndarray], scaling: "Scaling | None" = None) -> tuple[np.ndarray, ...]:
    """Calls a Keras model in inference mode on raw rows, one array per input, and returns its exact outputs, flat."""
    import keras

    with np.errstate(all="ignore"):
        inputs = [scaling.apply(array) if scaling is not None else array for array in batch]
    tensors = [keras.ops.convert_to_tensor(array) for array in inputs]
    # A graph takes its inputs as it was built: a list, a dictionary, or one alone.
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        given = keras.tree.pack_sequence_as(structure, tensors)
    else:
        given = tensors[0] if len(tensors) == 1 else tensors
    with exact_products():
        outputs = model(given, training=False)
    return tuple(np.asarray(keras.ops.convert_to_numpy(output)) for output in keras.tree.flatten(outputs))


def input_specifications(model: Any) -> list[Specification]:
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


def given_rows(rows: Any, specifications: Sequence[Specification]) -> tuple[np.ndarray, ...]:
    """Checks rows that somebody gave, and returns one array per input, of the input's dtype.

    Args:
        rows: An array, or one for each of several inputs by name or in order.
        specifications: Name, shape and dtype of each input.

    Raises:
        UserError: They do not fit the model.
    """
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
    if len({len(array) for array in checked}) != 1:
        raise UserError(f"rows have {', '.join(str(len(array)) for array in checked)} entries; give as many for each")
    return tuple(checked)


def _random_rows(
    model: Any, specifications: Sequence[Specification], scaling: "Scaling | None"
) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(0)
    tables = _tables(model)
    arrays = []
    for _, shape, dtype in specifications:
        sizes = [max(BATCH_SIZES), *closed(shape)]
        if dtype.startswith(("int", "uint")) or tables:
            arrays.append(generator.integers(0, min(tables, default=2), sizes).astype(dtype))
        else:
            standard = generator.standard_normal(sizes).astype(dtype)
            arrays.append(scaling.invert(standard) if scaling is not None else standard)
    return tuple(arrays)


def _tables(model: Any) -> list[int]:
    """Returns how many rows each embedding of a model has."""
    return [layer.input_dim for layer in model._flatten_layers() if type(layer).__name__ == "Embedding"]
