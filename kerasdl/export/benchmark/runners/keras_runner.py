"""Keras: `predict_on_batch`, and the model's call compiled by its backend, on the backend of this process."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.export.benchmark.runners.opened import Arrays, Input, Opened

Prepare = Callable[[Arrays], Callable[[], Any]]


def open_model(request: dict[str, Any]) -> Opened:
    """Opens a `.keras` file; `requested` is the backend, which `KERAS_BACKEND` holds already."""
    import keras

    from kerasdl.export.parity import input_specifications
    from kerasdl.safety import load_model

    model = load_model(Path(request["path"]))
    inputs = [Input(name, tuple(shape[1:]), dtype) for name, shape, dtype in input_specifications(model)]
    backend = keras.backend.backend()
    module = importlib.import_module(backend)
    prepare = COMPILED[backend](model) if request["mode"] == "compiled" else _predict(model)
    return Opened(
        inputs=inputs,
        prepare=prepare,
        fetch=lambda outputs: [np.asarray(array) for array in keras.tree.flatten(outputs)],
        provider=f"{backend} {_device(backend, model)}",
        facts={
            "versions": {"keras": keras.__version__, backend: module.__version__},
            "threads": module.get_num_threads() if backend == "torch" else None,
            "precision": _precision(model),
        },
    )


def _precision(model: Any) -> str:
    names = {getattr(layer, "compute_dtype", None) for layer in model._flatten_layers() if layer.weights}
    reduced = sorted(name for name in names if name not in {None, "float32"})
    return reduced[0] if reduced else "float32"


def _device(backend: str, model: Any) -> str:
    """Returns where the weights really are: `"cpu"`, `"gpu"`, `"cuda"`."""
    if not model.weights:
        return "unknown device"
    value = model.weights[0].value
    if backend == "jax":
        return str(next(iter(value.devices())).platform)
    if backend == "torch":
        return str(value.device.type)
    return str(value.device).rpartition("device:")[2].partition(":")[0].lower() or "cpu"


def _structured(model: Any, values: list[Any]) -> Any:
    """Packs flat inputs as the model was built to take them: alone, a list or a dictionary."""
    import keras

    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return keras.tree.pack_sequence_as(structure, values)
    return values[0] if len(values) == 1 else values


def _predict(model: Any) -> Prepare:
    def prepare(arrays: Arrays) -> Callable[[], Any]:
        batch = _structured(model, arrays)
        return lambda: model.predict_on_batch(batch)

    return prepare


def _jax(model: Any) -> Prepare:
    import jax
    import keras

    trainable = [variable.value for variable in model.trainable_variables]
    others = [variable.value for variable in model.non_trainable_variables]
    run = jax.jit(lambda one, two, batch: model.stateless_call(one, two, batch, training=False)[0])

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        batch = _structured(model, arrays)
        return lambda: keras.tree.map_structure(np.asarray, run(trainable, others, batch))

    return prepare


def _tensorflow(model: Any) -> Prepare:
    import keras
    import tensorflow

    run = tensorflow.function(lambda batch: model(batch, training=False), reduce_retracing=True)

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        def call() -> Any:
            # A NumPy array would be a constant of the program, which would be traced again for each.
            tensors = [tensorflow.convert_to_tensor(array) for array in arrays]
            return keras.tree.map_structure(lambda tensor: tensor.numpy(), run(_structured(model, tensors)))

        return call

    return prepare


def _torch(model: Any) -> Prepare:
    import keras
    import torch

    check_compiler()
    device = model.weights[0].value.device if model.weights else "cpu"
    run = torch.compile(lambda batch: model(batch, training=False))

    def prepare(arrays: Arrays) -> Callable[[], Any]:
        def call() -> Any:
            with torch.inference_mode():
                tensors = [torch.from_numpy(array).to(device) for array in arrays]
                return keras.tree.map_structure(lambda tensor: tensor.cpu().numpy(), run(_structured(model, tensors)))

        return call

    return prepare


def check_compiler() -> None:
    """Raises a `UserError` where torch.compile has no C++ compiler for the CPU."""
    import torch

    if not torch.cuda.is_available():
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()
        except Exception as error:  # of a class of its own
            raise UserError("torch.compile finds no C++ compiler here; install one, such as g++") from error


COMPILED: dict[str, Callable[[Any], Prepare]] = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
