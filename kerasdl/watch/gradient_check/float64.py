"""Has a model compute in float64 for a while, in this process and without a copy of it.

Nothing is rebuilt, saved or loaded, so that subclassed models and layers of any class take part. The model's values are
never changed: a check puts float64 tensors in the place of its variables (`keras.StatelessScope`), and what is replaced
here only says in which precision layers and losses compute.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import keras
from keras.src.backend.common import dtypes

from kerasdl.errors import UserError
from kerasdl.train.backends import current_backend

_FLOATS = ("float16", "bfloat16", "float32", "float64")


@contextmanager
def in_float64(model: keras.Model, compile_loss: Any) -> Iterator[None]:
    """Has the layers, the variables and the losses of a model be of type float64.

    Args:
        model: A built model.
        compile_loss: What computes its loss meanwhile, built; `None` where it was compiled without one.
    """
    replaced = [*_of_layers(model), *_of_variables(model)]
    if compile_loss is not None:
        replaced += [(model, "_compile_loss", compile_loss), *_of_losses([compile_loss])]
    floatx = keras.config.floatx()
    with ExitStack() as stack:
        stack.enter_context(_wide_arrays())
        for owner, attribute, value in replaced:
            stack.callback(object.__setattr__, owner, attribute, getattr(owner, attribute))
            object.__setattr__(owner, attribute, value)
        stack.callback(keras.config.set_floatx, floatx)
        keras.config.set_floatx("float64")
        # On torch and JAX, Keras makes float32 of whatever type two float64 tensors have in common.
        stack.callback(dtypes.BIT64_TO_BIT32_DTYPE.update, dict(dtypes.BIT64_TO_BIT32_DTYPE))
        dtypes.BIT64_TO_BIT32_DTYPE.update(float64="float64")
        yield


def _wide_arrays() -> AbstractContextManager[Any]:
    """JAX has no float64 unless it is told to; the other backends always have."""
    if keras.backend.backend() != "jax":
        return nullcontext()
    jax = current_backend().jax
    # Where it is not at the top yet, it is experimental still.
    place = jax if hasattr(jax, "enable_x64") else jax.experimental
    return place.enable_x64(True)


def check_policies(model: keras.Model) -> tuple[str, ...]:
    """Returns a note for each lower precision that the model computes in, as the check does not see it.

    Raises:
        UserError: A layer is quantized, or keeps its parameters where Keras cannot reach them.
    """
    lower: dict[str, list[str]] = {}
    for layer in model._flatten_layers():
        if layer.quantization_mode is not None:
            raise UserError(
                f"layer {layer.name!r} is quantized ({layer.quantization_mode}): it has no gradient to check; "
                "check the model before it is quantized"
            )
        if type(layer).__name__ == "TorchModuleWrapper":
            raise UserError(
                f"layer {layer.name!r} wraps a torch module, which does not read its parameters through Keras; "
                "check that module by torch.autograd.gradcheck"
            )
        if layer.compute_dtype in ("float16", "bfloat16") and layer.weights and not isinstance(layer, keras.Model):
            lower.setdefault(layer.compute_dtype, []).append(layer.name)
    return tuple(
        f"{_listed(names)} in {dtype}; all was checked in float64, so rounding to {dtype} is not part of the check"
        for dtype, names in lower.items()
    )


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return f"layer {names[0]!r} computes"
    return f"layer {names[0]!r} and {len(names) - 1} more compute"


def _of_layers(model: keras.Model) -> list[tuple[Any, str, Any]]:
    policy = keras.DTypePolicy("float64")
    found: list[tuple[Any, str, Any]] = []
    for layer in model._flatten_layers():
        if layer.compute_dtype in _FLOATS:
            found.append((layer, "_dtype_policy", policy))
        # Graphs cast what they are given to the type of their inputs, and they stand inside of other graphs too.
        graph = getattr(layer, "_functional", None) or layer
        inputs = [one for one in getattr(graph, "_inputs", []) if isinstance(one, keras.KerasTensor)]
        own = [layer] if isinstance(layer, keras.layers.InputLayer) else []
        found += [(one, "_dtype", "float64") for one in (*inputs, *own) if one._dtype in _FLOATS]
        found += _of_losses([value for value in vars(layer).values() if isinstance(value, keras.Loss)])
    return found


def _of_variables(model: keras.Model) -> list[tuple[Any, str, Any]]:
    return [(variable, "_dtype", "float64") for variable in model.variables if variable._dtype in _FLOATS]


def _of_losses(losses: list[Any]) -> list[tuple[Any, str, Any]]:
    """Reaches losses inside of losses too; each casts to its own type whatever it is given."""
    found, waiting, seen = [], list(losses), set()
    while waiting:
        loss = waiting.pop()
        if id(loss) in seen:
            continue
        seen.add(id(loss))
        found.append((loss, "_dtype", "float64"))
        waiting += [one.loss for one in getattr(loss, "_flat_losses", None) or []]
        waiting += [value for value in vars(loss).values() if isinstance(value, keras.Loss)]
    return found
