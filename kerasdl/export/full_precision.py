"""What a file is compared with: Keras in float32, all 24 bits of it, and a model in half precision as its float32 twin.

In float16 and bfloat16 every backend rounds in its own order, so that such a model's outputs cannot be compared
closely; its weights are kept in float32 under Keras' mixed policies, and they are what was trained.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.graph.plan import is_graph

HALF = {"bfloat16", "float16"}


def in_float32(model: Any) -> tuple[Any, tuple[str, ...]]:
    """Returns a model that computes in float32 throughout, with the same weights.

    Args:
        model: A built Keras model.

    Returns:
        The model itself and nothing to tell, or a copy and one sentence that names the precision and a layer.

    Raises:
        UserError: The model is subclassed, or a layer makes others of half precision in any case.
    """
    import keras

    first = _in_half(model)
    if first is None:
        return model, ()
    way_out = "build the model again under keras.config.set_dtype_policy('float32') and give it these weights"
    label = f"layer {first.name!r} computes in {first.compute_dtype}"
    if not is_graph(model):
        raise UserError(f"{label}, and a subclassed model cannot be copied; {way_out}")
    with _policy("float32"):
        twin = keras.models.clone_model(model, clone_function=_renewed, recursive=True)
    stubborn = _in_half(twin)
    if stubborn is not None:
        raise UserError(
            f"layer {stubborn.name!r} computes in {stubborn.compute_dtype} whatever its settings; {way_out}"
        )
    weights = [np.asarray(keras.ops.convert_to_numpy(weight)) for weight in model.weights]
    twin.set_weights([weight if weight.dtype.kind in "iub" else weight.astype("float32") for weight in weights])
    return twin, (f"{label}: exported, and compared, as the same model with the same weights in float32",)


def _in_half(model: Any) -> Any:
    return next((layer for layer in model._flatten_layers() if getattr(layer, "compute_dtype", None) in HALF), None)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Lets layers that a layer makes for itself follow a policy, too."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _renewed(layer: Any) -> Any:
    """Makes a layer again from its settings, in float32."""
    return type(layer).from_config(_without_half(layer.get_config()))


def _without_half(settings: Any) -> Any:
    if isinstance(settings, dict):
        if settings.get("class_name") in {"DTypePolicy", "FloatDTypePolicy"}:
            return "float32"
        return {key: _without_half(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return type(settings)(_without_half(value) for value in settings)
    return "float32" if settings in ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16") else settings


@contextlib.contextmanager
def exact_products() -> Iterator[None]:
    """Keeps GPUs from rounding factors to the 10 bits of TensorFloat-32, as backends let them do in convolutions."""
    import keras

    backend = keras.backend.backend()
    with contextlib.ExitStack() as stack:
        if backend == "jax":
            import jax

            if jax.default_backend() != "cpu":
                stack.enter_context(jax.default_matmul_precision("highest"))
        elif backend == "tensorflow":
            from tensorflow.config import experimental as settings

            stack.callback(settings.enable_tensor_float_32_execution, settings.tensor_float_32_execution_enabled())
            settings.enable_tensor_float_32_execution(False)
        elif backend == "torch":
            import torch

            cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
            if hasattr(cudnn, "conv"):
                _put(stack, [cuda.matmul, cudnn.conv, cudnn.rnn], "fp32_precision", "ieee")
            else:  # before 2.9
                _put(stack, [cuda.matmul, cudnn], "allow_tf32", False)
        yield


def _put(stack: contextlib.ExitStack, owners: Sequence[Any], name: str, value: Any) -> None:
    for owner in owners:
        stack.callback(setattr, owner, name, getattr(owner, name))
        setattr(owner, name, value)
