"""The last layer of classifiers."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def output(hidden: "keras.KerasTensor", classes: int, regularizer: Any = None) -> "keras.KerasTensor":
    """Adds the layer that gives probabilities: one unit a class, one unit alone for two classes.

    Args:
        hidden: float `(batch, features)`.
        classes: Number of classes.
        regularizer: Of the kernel.

    Returns:
        Probabilities `(batch, classes)`, or `(batch, 1)`, the probability of the second of two classes.
    """
    import keras

    units, last = (1, "sigmoid") if classes == 2 else (classes, "softmax")
    return keras.layers.Dense(units, activation=last, kernel_regularizer=regularizer, name="output")(hidden)
