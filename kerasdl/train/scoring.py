"""What a trained model is worth on rows that it has not seen."""

from typing import Any

import keras
import numpy as np

from kerasdl.data import Split
from kerasdl.train.answers import answers, joined

# Bytes of one layer's outputs that are held at once while rows are scored.
SCORING_BYTES = 256 * 2**20


def test_scores(model: keras.Model, weights: list[np.ndarray], split: Split) -> dict[str, Any]:
    """Scores weights on rows that they were not chosen by.

    Args:
        model: The compiled model; it holds the weights afterwards.
        weights: In the order of `keras.Model.weights`.
        split: The rows; nothing is scored where there are none.

    Returns:
        `test`, the metrics by name, `confusion` and `answers`, as `kerasdl.train.Outcome` holds them.
    """
    if not len(split):
        return {}
    model.set_weights(weights)
    size = rows_at_once(model)
    model.reset_metrics()
    loss, metrics = 0.0, {}
    counts: Any = 0
    parts = []
    for start in range(0, len(split), size):
        x, y = split.x[start : start + size], split.y[start : start + size]
        predicted, truth = model(keras.ops.convert_to_tensor(x), training=False), keras.ops.convert_to_tensor(y)
        own = model.compute_loss(x=None, y=truth, y_pred=predicted, training=False)
        loss += float(keras.ops.convert_to_numpy(own)) * len(x) / len(split)
        metrics = model.compute_metrics(None, truth, predicted, None)
        outputs = keras.ops.convert_to_numpy(predicted)
        found = confusion(y, outputs)
        parts.append(answers(y, outputs))
        counts = None if found is None or counts is None else counts + found
    values = {name: float(keras.ops.convert_to_numpy(value)) for name, value in metrics.items()}
    model.reset_metrics()
    return {"test": {**values, "loss": loss}, "confusion": counts, "answers": joined(parts)}


def rows_at_once(model: keras.Model, members: int = 1) -> int:
    """Returns how many rows a model's widest layer lets be scored at once.

    Args:
        model: The model.
        members: How many of its kind score side by side.
    """
    shapes = [_output_shape(layer) for layer in model._flatten_layers(include_self=False)]
    widest = max((int(np.prod([side or 1 for side in shape[1:]])) for shape in shapes if shape), default=1)
    return max(1, SCORING_BYTES // (4 * widest * members))


def _output_shape(layer: keras.Layer) -> tuple[int | None, ...] | None:
    try:
        output = layer.output
    except (AttributeError, ValueError):
        return None
    return tuple(output.shape) if isinstance(output, keras.KerasTensor) else None


def confusion(y: np.ndarray, predictions: np.ndarray) -> np.ndarray | None:
    """Counts rows, or the pixels of images that are segmented, by true and predicted class.

    Args:
        y: int64, `(rows,)`, or uint8, `(rows, height, width)`.
        predictions: float32, `(*y.shape, classes)`.

    Returns:
        int64, `(classes, classes)`, the truth first; `None` where the predictions are not one number a class.
    """
    if predictions.ndim < 2 or predictions.shape[:-1] != y.shape:
        return None
    classes = predictions.shape[-1]
    if classes == 1:
        classes, predicted = 2, (predictions[..., 0] > 0.5).astype("int64")
    else:
        predicted = predictions.argmax(axis=-1)
    truth = y.astype("int64")
    # Labels beyond the classes are pixels that count for nothing.
    known = truth < classes
    pairs = truth[known] * classes + predicted[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
