"""Multilayer perceptrons."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kerasdl.models.output import output

if TYPE_CHECKING:
    import keras

Activation = Literal[
    "relu", "tanh", "sigmoid", "elu", "selu", "gelu", "silu", "leaky_relu", "softplus", "softsign", "mish", "linear"
]
Initializer = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
]
Width = Annotated[int, Field(ge=1)]


def mlp(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    depth: Annotated[int, Field(ge=0)] = 2,
    width: Width | list[Width] = 64,
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    initializer: Initializer = "glorot_uniform",
) -> "keras.Model":
    """Builds a multilayer perceptron: `depth` hidden layers, then one unit a class (one unit alone for two classes).

    Args:
        input_shape: The shape of one row of features; images are flattened.
        classes: Number of classes.
        depth: Number of hidden layers; 0 gives a linear model.
        width: Units of each hidden layer, or a list with the units of every one (`depth` is then its length).
        activation: Name of the hidden layers' activation.
        batch_norm: Whether each hidden layer is normalized over the batch before its activation.
        dropout: Share of hidden units dropped while training.
        l2: Weight of the kernels' squared 2-norm in the loss.
        initializer: Name of the kernels' initializer.

    Returns:
        An uncompiled model: float32 `(batch, *input_shape)` -> probabilities `(batch, classes)`, or `(batch, 1)`, the
        probability of the second of two classes.
    """
    import keras

    regularizer = keras.regularizers.L2(l2) if l2 else None
    widths = width if isinstance(width, list) else [width] * depth
    inputs = keras.Input(input_shape, name="features")
    hidden = keras.layers.Flatten(name="flatten")(inputs) if len(input_shape) > 1 else inputs
    for number, units in enumerate(widths, start=1):
        hidden = keras.layers.Dense(
            units, kernel_initializer=initializer, kernel_regularizer=regularizer, name=f"dense_{number}"
        )(hidden)
        if batch_norm:
            hidden = keras.layers.BatchNormalization(name=f"batch_norm_{number}")(hidden)
        hidden = keras.layers.Activation(activation, name=f"activation_{number}")(hidden)
        if dropout:
            hidden = keras.layers.Dropout(dropout, name=f"dropout_{number}")(hidden)
    return keras.Model(inputs, output(hidden, classes, regularizer), name="mlp")
