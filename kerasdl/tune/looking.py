"""Keeps the single rows that the report shows, when a run ends and its data are there."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from kerasdl.data import Dataset
from kerasdl.runs import answers, samples
from kerasdl.train.backends import set_seed

if TYPE_CHECKING:
    from kerasdl.runs import Run, RunWriter

# What the report has room for: rows on which the best and the worst disagree, pairs of classes, rows of each pair, and
# training images with their augmented selves.
DISAGREEMENTS = 8
PAIRS = 6
ROWS_OF_PAIR = 4
AUGMENTED = 8

_AUGMENTATION = re.compile(r"augment_\d+")


def keep_truth(writer: "RunWriter", dataset: Dataset) -> None:
    """Keeps the class of each test row, where rows have one."""
    if len(dataset.test) and dataset.task == "classification":
        kind = np.min_scalar_type(max(len(dataset.classes) - 1, 1))
        writer.record_array(answers.TRUTH, dataset.test.y.astype(kind))


def drop_answers(writer: "RunWriter", read: "Run", repeats: int) -> None:
    """Lets go of what trials answered that is not worth keeping, see `kerasdl.runs.answers.to_drop`."""
    sizes = read.answer_sizes()
    # Nothing is dropped before there is more than what is always kept.
    if sum(sizes.values()) > answers.MOST_BYTES:
        writer.drop_answers(answers.to_drop(read, repeats, sizes))


def keep_samples(writer: "RunWriter", read: "Run", dataset: Dataset, winner: keras.Model) -> None:
    """Keeps the rows that the report shows, no others.

    Args:
        writer: Who writes the run.
        read: The same run, to read: all its trials have ended.
        dataset: What they learned from.
        winner: The model that the run keeps.
    """
    if dataset.task == "segmentation":
        rows = _keep_masks(writer, read, dataset, winner)
    else:
        rows = _rows_by_class(read, dataset)
    if len(rows):
        writer.record_array(samples.ROWS, np.asarray(rows, dtype="int64"))
        writer.record_array(samples.RAW, raw(dataset, dataset.test.x[np.asarray(rows)]))
    _keep_augmented(writer, dataset, winner)


def _rows_by_class(read: "Run", dataset: Dataset) -> list[int]:
    if not len(dataset.test) or not _is_shown(dataset) or read.best is None or not read.answers(read.best.trial):
        return []
    found = [row for rows in read.confused(PAIRS)["rows"] for row in rows[:ROWS_OF_PAIR]]
    ends = answers.extremes(read.table())
    # A resumed run of an earlier version has answers of some trials only.
    if ends is not None and all(_has_answers(read, number) for number in ends):
        found += read.disagreements(n=DISAGREEMENTS)["row"].tolist()
    return sorted({int(row) for row in found})


def _has_answers(read: "Run", configuration: int) -> bool:
    return any(read.answers(trial) for trial in answers.ordered_trials(read, configuration))


def _is_shown(dataset: Dataset) -> bool:
    return bool(dataset.features) or len(dataset.input_shape) in (2, 3)


def _keep_masks(writer: "RunWriter", read: "Run", dataset: Dataset, winner: keras.Model) -> list[int]:
    """Keeps the masks of the best, the median and the worst test image; returns which these are."""
    best = read.best
    if best is None or "overlap" not in read.answers(best.trial):
        return []
    scores = read.image_scores()
    own = scores[scores["trial"] == best.trial].sort_values(["dice", "row"], ascending=[False, True])
    ranked = own["row"].tolist()
    rows = list(dict.fromkeys(ranked[place] for place in (0, len(ranked) // 2, -1)))
    numbers = np.asarray(rows, dtype="int64")
    # One at a time: an image may be large, and what a network makes of it larger.
    outputs = [_outputs(winner, dataset.test.x[[row]])[0] for row in rows]
    single = outputs[0].shape[-1] == 1
    predicted = [one[..., 0] > 0.5 if single else one.argmax(axis=-1) for one in outputs]
    writer.record_array(samples.MASKED, numbers)
    writer.record_array(samples.MASKS, dataset.test.y[numbers].astype("uint8"))
    writer.record_array(samples.PREDICTED, np.stack(predicted).astype("uint8"))
    return [int(row) for row in rows]


def _outputs(model: keras.Model, x: np.ndarray, *, training: bool = False) -> np.ndarray:
    found = model(keras.ops.convert_to_tensor(np.asarray(x, dtype="float32")), training=training)
    return np.asarray(keras.ops.convert_to_numpy(found), dtype="float32")


def _keep_augmented(writer: "RunWriter", dataset: Dataset, winner: keras.Model) -> None:
    last = _last(layer for layer in winner.layers if _AUGMENTATION.fullmatch(layer.name))
    if last is None or len(dataset.input_shape) not in (2, 3):
        return
    generator = np.random.default_rng(0)
    rows = np.sort(generator.permutation(len(dataset.train))[:AUGMENTED])
    x = np.asarray(dataset.train.x[rows], dtype="float32")
    set_seed(0)
    front = keras.Model(winner.inputs, last.output)
    for number, variable in enumerate(one for one in front.variables if one.name == "seed_generator_state"):
        variable.assign(np.asarray([0, number], dtype="uint32"))
    seen = _outputs(front, x, training=True)
    if seen.ndim == x.ndim + 1:
        # Grey images without channels have got one, or three where a backbone asks for them.
        seen, x = (seen[..., 0], x) if seen.shape[-1] == 1 else (seen, x[..., None])
    images = np.broadcast_to(x, seen.shape)
    writer.record_array(samples.ORIGINALS, raw(dataset, images))
    writer.record_array(samples.AUGMENTED, raw(dataset, seen, like=raw(dataset, images).dtype))


def _last(layers: Iterable[Any]) -> Any:
    return next(iter(reversed(list(layers))), None)


def raw(dataset: Dataset, x: np.ndarray, like: np.dtype | None = None) -> np.ndarray:
    """Gives back raw features as they were: of images whole numbers up to 65535 where all of them are whole.

    Args:
        dataset: What they belong to.
        x: float32, `(rows, *features)`, scaled.
        like: The type to round to, within its bounds; by default the smallest that loses nothing.
    """
    found = dataset.scaling.invert(x)
    if like is None:
        high = float(found.max(initial=0))
        whole = len(dataset.input_shape) in (2, 3) and bool((np.abs(found - np.rint(found)) < 1e-2).all())
        within = float(found.min(initial=0)) >= -0.5 and 1 <= high < 2**16
        like = np.min_scalar_type(round(high)) if whole and within else np.dtype("float32")
    if like.kind == "f":
        return found
    limits = np.iinfo(like)
    return np.clip(np.rint(found), limits.min, limits.max).astype(like)
