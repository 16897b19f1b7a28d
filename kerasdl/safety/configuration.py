"""Checks the configuration in a `.keras` file: which classes and functions it would have Keras look up and call.

Keras' safe mode refuses marshalled code; a configuration can also name what runs or reads something when it is built:
a function that downloads, a layer that opens a SavedModel, a vocabulary that is any file of the machine.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.safety.archive import leaves_folder

# What a model is made of; `keras.utils`, `keras.saving`, `keras.datasets` and `keras.config` are not.
PARTS = {
    "activations",
    "constraints",
    "dtype_policies",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "ops",
    "optimizers",
    "quantizers",
    "random",
    "regularizers",
    "trainers",
    "wrappers",
}
# Named in the top module itself.
TOP = {"DTypePolicy", "FloatDTypePolicy", "Functional", "Model", "QuantizedDTypePolicy", "Sequential", "DTypePolicyMap"}

# Keras layers whose contents another library opens or unpickles, code among them.
FOREIGN = {
    "FlaxLayer": "a pickled or serialized Flax module",
    "JaxLayer": "serialized functions",
    "TFSMLayer": "a TensorFlow SavedModel, whose graph may read and write files",
    "TorchModuleWrapper": "a pickled torch module",
}
OTHERS = ("keras_cv.", "keras_hub.", "keras_nlp.", "kerasdl.")

# A model of 10,000 layers takes a tenth of it.
LARGEST = 2**26


def check_configuration(path: Path, text: bytes, is_registered: Callable[[str], bool], *, compile: bool = True) -> None:
    """Checks the configuration of a model before Keras builds anything from it.

    Args:
        path: The file that it comes from, for messages.
        text: The contents of `config.json`.
        is_registered: Tells whether this process has registered a class or function under a name
            (`keras.saving.register_keras_serializable`): what the user has imported is the user's own.
        compile: Whether the optimizer, loss and metrics will be made, too.

    Raises:
        UserError: It cannot be read, or names something that is not part of a model.
    """
    if len(text) > LARGEST:
        raise UserError(f"{path}: refused, as its config.json takes {len(text):,} bytes")
    try:
        configuration = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: its config.json cannot be read ({type(error).__name__}: {str(error)[:100]})"
        ) from error
    if isinstance(configuration, dict) and not compile:
        configuration = {key: value for key, value in configuration.items() if key != "compile_config"}
    for node in _dictionaries(configuration):
        fault = _fault(node, is_registered)
        if fault is not None:
            raise UserError(f"{path}: refused, as {fault}")


def _dictionaries(configuration: Any) -> Iterator[dict[str, Any]]:
    stack = [configuration]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _fault(node: dict[str, Any], is_registered: Callable[[str], bool]) -> str | None:
    for key in ("vocabulary", "idf_weights"):
        if isinstance(node.get(key), str):
            return f"layer {_name(node)!r} would read its {key} from the file {node[key][:200]!r} of this machine"
    if isinstance(node.get("name"), str) and node["name"] and leaves_folder(node["name"]):
        return f"the name {node['name'][:200]!r} leads out of the folder of its weights"
    if "class_name" not in node:
        return None
    kind, module, inner = node["class_name"], node.get("module"), node.get("config")
    if not isinstance(kind, str) or not (module is None or isinstance(module, str)):
        return f"it names a class in a way that Keras does not write ({str(kind)[:100]!r})"
    if kind == "__lambda__":
        return f"it holds Python code (a lambda or marshalled function{_within(node)}); custom layers need {_WAY_OUT}"
    if kind == "Lambda" and not _is_named(inner.get("function") if isinstance(inner, dict) else None):
        return f"layer {_name(node)!r} (Lambda) holds Python code; custom layers need {_WAY_OUT}"
    if kind in FOREIGN:
        return f"layer {_name(node)!r} ({kind}) opens {FOREIGN[kind]}"
    return _lookup_fault(node, kind, module, is_registered)


_WAY_OUT = "export_model in Python, from a process that defines them"


def _lookup_fault(
    node: dict[str, Any], kind: str, module: str | None, is_registered: Callable[[str], bool]
) -> str | None:
    """Says what is wrong with the place where Keras would look a class or function up."""
    function = kind == "function"
    name = node.get("config") if function else kind
    own = name if function else node.get("registered_name", kind)
    if isinstance(own, str) and is_registered(own):
        return None
    if kind.startswith("__") or "module" not in node:
        return None
    if module is None:
        return f"the class of layer {_name(node)!r}, {kind[:100]}, is not Keras' own; custom layers need {_WAY_OUT}"
    plain = isinstance(name, str) and name.isidentifier()
    parts = module.split(".")
    if module == "builtins" or (plain and module.startswith(OTHERS)):
        return None
    if parts[0] == "keras" and plain:
        inner = parts[2:] if parts[1:2] == ["src"] else parts[1:]
        # Each backend has optimizers of its own: keras.src.backend.torch.optimizers.torch_adamw.
        if inner[:1] == ["backend"] and inner[2:3] == ["optimizers"]:
            return None
        if (inner and inner[0] in PARTS) or (not inner and name in TOP):
            return None
    label = f"{module}.{name}"[:200]
    if parts[0] == "keras":
        return f"it names {label}, which is no part of a model"
    what = "function" if function else f"class of layer {_name(node)!r},"
    return f"it names the {what} {label}, which is not Keras' own; custom layers need {_WAY_OUT}"


def _is_named(function: Any) -> bool:
    """Tells whether a Lambda layer names its function, which is then checked as all others are."""
    return isinstance(function, dict) and function.get("class_name") == "function"


def _name(node: dict[str, Any]) -> str:
    inner = node.get("config")
    name = node.get("name") or (inner.get("name") if isinstance(inner, dict) else None)
    return str(name if name is not None else node.get("class_name", "?"))[:100]


def _within(node: dict[str, Any]) -> str:
    inner = node.get("config")
    name = inner.get("name") if isinstance(inner, dict) else None
    return f" {name!r}" if isinstance(name, str) else ""
