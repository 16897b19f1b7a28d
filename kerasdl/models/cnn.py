"""Convolutional networks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kerasdl.errors import UserError
from kerasdl.models.augmented import Augmentation
from kerasdl.models.images import Pooling, image_input, pooled
from kerasdl.models.mlp import Activation, Initializer, Width
from kerasdl.models.output import output

if TYPE_CHECKING:
    import keras


def cnn(
    input_shape: tuple[int, ...],
    classes: int,
    *,
    filters: Sequence[Width] = (16, 32),
    kernel: Annotated[int, Field(ge=1)] = 3,
    padding: Literal["valid", "same"] = "valid",
    convolutions: Annotated[int, Field(ge=1)] = 1,
    activation: Activation = "relu",
    batch_norm: bool = False,
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    pooling: Pooling = "flatten",
    dense: Annotated[int, Field(ge=0)] | list[Width] = 0,
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0,
    initializer: Initializer = "glorot_uniform",
    augment: list[Augmentation] | None = None,
) -> "keras.Model":
    """Builds a convolutional network: stages of convolutions, each ended by a 2 x 2 max pool, then a classifier.

    By default it has two stages of one 3 x 3 convolution: 12,810 parameters for images (28, 28, 1) of 10 classes.

    Args:
        input_shape: `(height, width, channels)`, or `(height, width)` of grey images.
        classes: Number of classes.
        filters: Filters of each stage's convolutions; as many stages as numbers, none for a multilayer perceptron.
        kernel: Height and width of every convolution's kernel.
        padding: `"valid"`: a convolution takes `kernel - 1` rows and columns away; `"same"`: none.
        convolutions: Convolutions of each stage.
        activation: Name of the hidden layers' activation.
        batch_norm: Whether each hidden layer is normalized over the batch before its activation.
        dropout: Share of values dropped while training, after each pool and each hidden dense layer.
        pooling: How the last maps become features: `"flatten"`, or their `"average"` or `"max"` over all places.
        dense: Units of one hidden dense layer before the output, or a list with those of several; 0 for none.
        l2: Weight of the kernels' squared 2-norm in the loss.
        initializer: Name of the kernels' initializer.
        augment: Augmentation layers after the input, see `kerasdl.models.augmented`.

    Returns:
        An uncompiled model: float32 `(batch, *input_shape)` -> probabilities `(batch, classes)`, or `(batch, 1)`, the
        probability of the second of two classes.

    Raises:
        UserError: The images become smaller than a kernel or a pool, or are no images.
    """
    import keras

    inputs, hidden = image_input(input_shape, augment)
    _check_sizes(hidden.shape[1:3], len(filters), convolutions, kernel if padding == "valid" else 1)
    regularizer = keras.regularizers.L2(l2) if l2 else None
    weights: dict[str, Any] = {"kernel_initializer": initializer, "kernel_regularizer": regularizer}
    number = 0

    def activated(hidden: "keras.KerasTensor") -> "keras.KerasTensor":
        if batch_norm:
            hidden = keras.layers.BatchNormalization(name=f"batch_norm_{number}")(hidden)
        return keras.layers.Activation(activation, name=f"activation_{number}")(hidden)

    for stage, width in enumerate(filters, start=1):
        for _ in range(convolutions):
            number += 1
            layer = keras.layers.Conv2D(width, kernel, padding=padding, **weights, name=f"conv_{number}")
            hidden = activated(layer(hidden))
        hidden = keras.layers.MaxPooling2D(2, name=f"pool_{stage}")(hidden)
        if dropout:
            hidden = keras.layers.Dropout(dropout, name=f"dropout_{stage}")(hidden)
    hidden = pooled(hidden, pooling)
    for place, units in enumerate(dense if isinstance(dense, list) else [dense] if dense else [], len(filters) + 1):
        number += 1
        hidden = activated(keras.layers.Dense(units, **weights, name=f"dense_{number}")(hidden))
        if dropout:
            hidden = keras.layers.Dropout(dropout, name=f"dropout_{place}")(hidden)
    return keras.Model(inputs, output(hidden, classes, regularizer), name="cnn")


def _check_sizes(size: tuple[int, int], stages: int, convolutions: int, kernel: int) -> None:
    before = size
    for stage in range(1, stages + 1):
        after = tuple(side - convolutions * (kernel - 1) for side in size)
        if min(after) < 2:
            raise UserError(
                f"cnn: images of {before[0]} x {before[1]} are {size[0]} x {size[1]} at stage {stage} of {stages}, too "
                f"small for its convolutions and 2 x 2 pool; give fewer filters (stages), a smaller kernel, or "
                f"padding = 'same'"
            )
        size = (after[0] // 2, after[1] // 2)
