"""What a trained model is worth on rows that it has not seen."""

import keras
import numpy as np


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
