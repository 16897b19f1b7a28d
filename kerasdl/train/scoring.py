"""What a trained model is worth on rows that it has not seen."""

from typing import Any

import keras
import numpy as np

from kerasdl.data import Split


def test_scores(model: keras.Model, weights: list[np.ndarray], split: Split) -> dict[str, Any]:
    """Scores weights on rows that they were not chosen by.

    Args:
        model: The compiled model; it holds the weights afterwards.
        weights: In the order of `keras.Model.weights`.
        split: The rows; nothing is scored where there are none.

    Returns:
        `test`, the metrics by name, and `confusion`, as `kerasdl.train.Outcome` holds them.
    """
    if not len(split):
        return {}
    model.set_weights(weights)
    predictions = predict(model, split.x)
    return {
        "test": test_metrics(model, split.x, split.y, predictions),
        "confusion": confusion(split.y, predictions),
    }


def predict(model: keras.Model, x: np.ndarray, batch_size: int = 4096) -> np.ndarray:
    """Predicts in inference mode, a batch at a time, `(rows, *outputs)`."""
    starts = range(0, len(x), batch_size)
    parts = [model(keras.ops.convert_to_tensor(x[i : i + batch_size]), training=False) for i in starts]
    return np.concatenate([keras.ops.convert_to_numpy(part) for part in parts])


def test_metrics(model: keras.Model, x: np.ndarray, y: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Computes a model's compiled loss and metrics from its predictions.

    Args:
        model: The compiled model, holding the weights that predicted.
        x: float32, `(rows, *features)`.
        y: int64, `(rows,)`.
        predictions: float32, `(rows, *outputs)`.

    Returns:
        The value of each metric by its name, `"loss"` among them.
    """
    truth = keras.ops.convert_to_tensor(y)
    predicted = keras.ops.convert_to_tensor(predictions)
    loss = model.compute_loss(x=None, y=truth, y_pred=predicted, training=False)
    model.reset_metrics()
    metrics = {**model.compute_metrics(None, truth, predicted, None), "loss": loss}
    model.reset_metrics()
    return {name: float(keras.ops.convert_to_numpy(value)) for name, value in metrics.items()}


def confusion(y: np.ndarray, predictions: np.ndarray) -> np.ndarray | None:
    """Counts rows by true and predicted class.

    Args:
        y: int64, `(rows,)`.
        predictions: float32, `(rows, classes)`.

    Returns:
        int64, `(classes, classes)`, the truth first; `None` where the predictions are not one number a class.
    """
    if predictions.ndim != 2 or y.ndim != 1:
        return None
    classes = predictions.shape[1]
    if classes == 1:
        classes, predicted = 2, (predictions[:, 0] > 0.5).astype("int64")
    else:
        predicted = predictions.argmax(axis=1)
    pairs = y.astype("int64") * classes + predicted
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
