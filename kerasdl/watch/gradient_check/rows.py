"""Draws rows that a model can take, where nobody gave any."""

from typing import Any

import keras
import numpy as np

from kerasdl.errors import UserError

# How long an input is where its model leaves it open: a sequence of any length.
OPEN_SIZE = 8


def random_rows(model: keras.Model, rows: int, seed: int) -> tuple[Any, np.ndarray]:
    """Draws features and targets at random.

    Args:
        model: A built and compiled graph with one output, `keras.Sequential` or functional.
        rows: How many rows.
        seed: Draws them.

    Returns:
        Features as the model takes them: standard normal, or whole numbers that its embeddings know; and targets that
        its loss can be asked about.

    Raises:
        UserError: The model's inputs or targets cannot be told.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs or len(model.outputs) != 1:
        raise UserError(
            f"model {model.name!r}: no rows can be made up for it, as it is no graph with one output; "
            "call check_gradients(model, x, y) in Python"
        )
    generator = np.random.default_rng(seed)
    drawn = [_features(model, tensor, rows, generator) for tensor in inputs]
    structure = getattr(model, "_inputs_struct", None)
    x = keras.tree.pack_sequence_as(structure, drawn) if structure is not None else drawn[0]
    return x, _targets(model, rows, generator)


def _features(model: keras.Model, tensor: Any, rows: int, generator: np.random.Generator) -> np.ndarray:
    shape = (rows, *(size or OPEN_SIZE for size in tensor.shape[1:]))
    embeddings = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Embedding) and layer.input is tensor
    ]
    if embeddings:
        return generator.integers(0, min(layer.input_dim for layer in embeddings), shape)
    if not str(tensor.dtype).startswith(("float", "bfloat")):
        raise UserError(
            f"model {model.name!r}: nothing is known of what its input {tensor.name!r} of type {tensor.dtype} may be; "
            "give --data, or call check_gradients(model, x, y) in Python"
        )
    return generator.normal(size=shape).astype("float32")


def _targets(model: keras.Model, rows: int, generator: np.random.Generator) -> np.ndarray:
    name = _loss_name(model)
    shape = (rows, *(size or OPEN_SIZE for size in model.outputs[0].shape[1:]))
    if name.startswith("sparse_categorical"):
        return generator.integers(0, shape[-1], shape[:-1])
    if name.startswith(("categorical", "kl_divergence")):
        return np.eye(shape[-1], dtype="float32")[generator.integers(0, shape[-1], shape[:-1])]
    if name.startswith("binary"):
        return generator.integers(0, 2, shape).astype("float32")
    if name.endswith("hinge"):
        return (2 * generator.integers(0, 2, shape) - 1).astype("float32")
    if name.startswith(("mean", "mae", "mse", "huber", "log_cosh")):
        return np.abs(generator.normal(size=shape)).astype("float32")
    raise UserError(
        f"model {model.name!r}: no targets can be made up for its loss {name!r}; "
        "give --data, or call check_gradients(model, x, y) in Python"
    )


def _loss_name(model: keras.Model) -> str:
    loss = model.loss
    while isinstance(loss, list | tuple | dict) and len(loss) == 1:
        loss = next(iter(loss.values() if isinstance(loss, dict) else loss))
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    return str(getattr(loss, "name", None) or getattr(loss, "__name__", loss))
