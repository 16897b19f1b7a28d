"""Parts a model into what is frozen and what learns, so that frozen features are computed once."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

# Layers that take `training` and do the same either way (the dense ones look at it where they are quantized).
_SAME_EITHER_WAY = ("CenterCrop", "Dense", "EinsumDense", "Resizing")


def split_frozen(model: "keras.Model") -> tuple["keras.Model", "keras.Model"] | None:
    """Parts a model where its frozen beginning ends.

    Frozen is what has no trainable weights and does the same while training as at inference: batch normalization that
    is not trainable, dropout of nothing, and layers that know no difference. Other dropout and augmentation end it,
    even where they were called with `training=False`: Keras hands its own value on. The cut lies as late as it can.

    Args:
        model: A built functional model.

    Returns:
        The body, `inputs -> features`, and the head, `features -> outputs`, which share the model's variables, so that
        `head(body(x))` is `model(x)`, while training too. `None` where no layer with weights is frozen at the model's
        beginning, where nothing is left to learn, or where more than one tensor crosses from frozen to trained (as the
        skips of a U-Net do).
    """
    import keras

    nodes = _nodes(model)
    if nodes is None:
        return None
    frozen: dict[int, Any] = {}
    crossing: dict[int, Any] = {}
    for node in nodes:
        if node.is_input or (all(id(one) in frozen for one in node.input_tensors) and _is_steady(node.operation)):
            frozen |= {id(one): one for one in node.outputs}
        else:
            crossing |= {id(one): one for one in node.input_tensors if id(one) in frozen}
    if len(crossing) != 1 or any(id(one) in frozen for one in keras.tree.flatten(model.output)):
        return None
    (features,) = crossing.values()
    body = keras.Model(model.input, features, name="body")
    if not body.weights:
        return None
    return body, _head(model, features, [node for node in nodes if not all(id(one) in frozen for one in node.outputs)])


def dropouts() -> tuple[Any, ...]:
    """Returns Keras' kinds of dropout, each with a `rate`."""
    import keras

    layers = keras.layers
    # The kinds for maps are subclasses of the first.
    return layers.Dropout, layers.AlphaDropout, layers.GaussianDropout


def _head(model: "keras.Model", features: Any, nodes: list[Any]) -> "keras.Model":
    """Calls the layers of the nodes after the cut again, on an input whose name is the same for every model."""
    import keras

    inputs = keras.Input(features.shape[1:], dtype=features.dtype, name="features")
    found = {id(features): inputs}
    for node in nodes:
        arguments, settings = node.arguments.fill_in(found)
        outputs = keras.tree.flatten(node.operation(*arguments, **settings))
        found |= {id(old): new for old, new in zip(node.outputs, outputs, strict=True)}
    outputs = keras.tree.map_structure(lambda one: found[id(one)], model.output)
    return keras.Model(inputs, outputs, name="head")


def _nodes(model: Any) -> list[Any] | None:
    """Returns the nodes of a functional model, each after those that it needs."""
    depths = getattr(model, "_nodes_by_depth", None)
    if depths is None:
        return None
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth]]


def _is_steady(operation: Any) -> bool:
    """Whether an operation has nothing to learn and does the same while training as at inference."""
    import keras

    if not isinstance(operation, keras.Layer):
        return True
    if operation.trainable_variables or getattr(operation, "activity_regularizer", None) is not None:
        return False
    if isinstance(operation, keras.Sequential):
        return all(_is_steady(layer) for layer in operation.layers)
    nodes = _nodes(operation)
    if nodes is not None:
        return all(_is_steady(node.operation) for node in nodes)
    if isinstance(operation, keras.layers.BatchNormalization):
        return not operation.trainable
    if isinstance(operation, dropouts()):
        return operation.rate == 0
    # What others' layers do is not known.
    own = type(operation).__module__.startswith(("keras.", "keras_hub."))
    return own and (not operation._call_has_training_arg or type(operation).__name__ in _SAME_EITHER_WAY)


def body_fingerprint(body: "keras.Model") -> str:
    """Returns what two bodies share where they give the same features.

    Args:
        body: What `split_frozen` gave.

    Returns:
        SHA-256, hexadecimal, of the layers' configurations, however they are named, and of all weights.
    """
    import keras

    config = json.loads(body.to_json())
    found: dict[str, str] = {}
    _collect_names(config, found)
    digest = hashlib.sha256(json.dumps(_renamed(config, found), sort_keys=True).encode())
    for variable in body.weights:
        value = keras.ops.convert_to_numpy(variable)
        digest.update(f"{value.dtype}{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _collect_names(config: Any, found: dict[str, str]) -> None:
    if isinstance(config, dict):
        name = config.get("name")
        if isinstance(name, str):
            found.setdefault(name, f"name {len(found)}")
        for value in config.values():
            _collect_names(value, found)
    elif isinstance(config, list):
        for value in config:
            _collect_names(value, found)


def _renamed(config: Any, found: dict[str, str]) -> Any:
    # Keras counts up the names that it gives, so that the second model built has others than the first.
    if isinstance(config, dict):
        return {key: _renamed(value, found) for key, value in config.items()}
    if isinstance(config, list):
        return [_renamed(value, found) for value in config]
    return found.get(config, config) if isinstance(config, str) else config
