"""What a model answers for each test row, small enough to be kept of many trials."""

from collections.abc import Mapping, Sequence

import numpy as np

# By name: of rows that have a class, `predicted`, whole numbers `(rows,)`, and `probability`, float32 `(rows,)`, of
# that class; of images that are segmented, `overlap`, uint32 `(rows, classes, 2)`: pixels of a class both in the mask
# and in the prediction, and the sum of those in either.
Answers = Mapping[str, np.ndarray]


def answers(y: np.ndarray, predictions: np.ndarray) -> dict[str, np.ndarray]:
    """Sums up what a model predicts for some rows.

    Args:
        y: int64, `(rows,)`, or uint8, `(rows, height, width)`.
        predictions: float32, `(*y.shape, classes)`, or `(*y.shape, 1)`: of the second of two classes.

    Returns:
        The answers; none where the predictions are not one number a class.
    """
    if predictions.ndim < 2 or predictions.shape[:-1] != y.shape:
        return {}
    if y.ndim > 1:
        return {"overlap": _overlap(y, predictions)}
    likely = _probabilities(predictions)
    if likely.shape[1] == 1:
        # As the confusion matrix counts them.
        predicted = (predictions[:, 0] > 0.5).astype("int64")
        probability = np.where(predicted == 1, likely[:, 0], 1 - likely[:, 0])
    else:
        predicted = predictions.argmax(axis=1)
        probability = np.take_along_axis(likely, predicted[:, None], axis=1)[:, 0]
    kind = np.min_scalar_type(max(predictions.shape[1] - 1, 1))
    return {"predicted": predicted.astype(kind), "probability": probability.astype("float32")}


def joined(parts: Sequence[Answers]) -> dict[str, np.ndarray]:
    """Joins the answers for consecutive rows; none where a part has none."""
    names = set.intersection(*(set(part) for part in parts)) if parts else set()
    return {name: np.concatenate([part[name] for part in parts]) for name in sorted(names)}


def _probabilities(predictions: np.ndarray) -> np.ndarray:
    """Returns probabilities: the predictions as they are, or of logits their softmax or sigmoid."""
    values = predictions.astype("float64")
    inside = (values >= 0).all() and (values <= 1 + 1e-3).all()
    if values.shape[1] == 1:
        return values if inside else 1 / (1 + np.exp(-np.clip(values, -700, 700)))
    if inside and np.allclose(values.sum(axis=1), 1, atol=1e-2):
        return values
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))


def _overlap(masks: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    rows, classes = len(masks), predictions.shape[-1]
    if classes == 1:
        classes, predicted = 2, (predictions[..., 0] > 0.5).astype("int64")
    else:
        predicted = predictions.argmax(axis=-1)
    truth = masks.astype("int64")
    # Labels beyond the classes are pixels that count for nothing.
    known = truth < classes
    first = np.arange(rows).reshape(-1, *(1 for _ in masks.shape[1:])) * classes

    def count(labels: np.ndarray, where: np.ndarray) -> np.ndarray:
        return np.bincount((labels + first)[where], minlength=rows * classes).reshape(rows, classes)

    both = count(truth, known & (truth == predicted))
    total = count(truth, known) + count(predicted, known)
    return np.stack([both, total], axis=-1).astype("uint32")
