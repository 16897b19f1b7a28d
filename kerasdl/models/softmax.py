"""Softmax regression: one linear layer."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

if TYPE_CHECKING:
    import keras


def softmax(
    input_shape: tuple[int, ...], classes: int, *, l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
) -> "keras.Model":
    """Builds multinomial logistic regression.

    Args:
        input_shape: The shape of one row of features; images are flattened.
        classes: Number of classes.
        l2: Weight of the kernel's squared 2-norm in the loss.

    Returns:
        An uncompiled model: float32 `(batch, *input_shape)` -> probabilities `(batch, classes)`.
    """
    import keras

    inputs = keras.Input(input_shape, name="features")
    hidden = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    regularizer = keras.regularizers.L2(l2) if l2 else None
    outputs = keras.layers.Dense(classes, activation="softmax", kernel_regularizer=regularizer, name="output")(hidden)
    return keras.Model(inputs, outputs, name="softmax")
