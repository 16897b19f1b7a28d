"""Finds what builds a model: a shipped function, or the user's own in a file."""

import ast
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from kerasdl.errors import UserError, nearest
from kerasdl.models.cnn import cnn
from kerasdl.models.mlp import mlp
from kerasdl.models.softmax import softmax
from kerasdl.models.transfer import transfer
from kerasdl.models.unet import unet

if TYPE_CHECKING:
    import keras

SHIPPED: dict[str, Callable[..., "keras.Model"]] = {
    "cnn": cnn,
    "mlp": mlp,
    "softmax": softmax,
    "transfer": transfer,
    "unet": unet,
}

# What kerasdl gives a builder that asks for it by name; everything else that it takes is a setting.
GIVEN = ("input_shape", "classes", "hp")


@dataclass(frozen=True)
class Builder:
    """What builds a model.

    Attributes:
        name: The shipped name, `"file.py:function"`, or the name of the function itself.
        parameters: The names of its arguments, those that kerasdl gives among them.
        any_setting: Whether it takes settings of any name (`**settings`).
        function: The function, where it is there already.
        path: The user's file, where it is not.
        required: The settings that have no default value.
    """

    name: str
    parameters: tuple[str, ...]
    any_setting: bool = False
    function: Callable[..., Any] | None = None
    path: Path | None = None
    required: tuple[str, ...] = ()

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the arguments that a study may set."""
        return tuple(name for name in self.parameters if name not in GIVEN)

    @property
    def shipped(self) -> bool:
        """Whether it is one of kerasdl's own."""
        return self.function in SHIPPED.values()

    @property
    def takes_hp(self) -> bool:
        """Whether it declares its search space itself, by KerasTuner's `hp` argument."""
        return "hp" in self.parameters

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the user's file or function, hexadecimal; `None` for shipped ones and where source is missing."""
        if self.path is not None:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        if self.shipped:
            return None
        try:
            return hashlib.sha256(inspect.getsource(self.function).encode()).hexdigest()  # type: ignore[arg-type]
        except (OSError, TypeError):
            return None

    def defaults(self) -> dict[str, Any]:
        """Returns the values of settings on which a study is silent; what JSON cannot hold is left to the function."""
        if self.function is None or self.takes_hp:
            return {}
        parameters = inspect.signature(self.function).parameters
        found = {name: parameters[name].default for name in self.settings if _has_default(parameters[name])}
        return {name: value for name, value in found.items() if isinstance(value, bool | int | float | str)}

    def load(self) -> Callable[..., Any]:
        """Returns the function, importing the user's file where it is one.

        Raises:
            UserError: The file raises an error of its own when imported.
        """
        if self.function is not None:
            return self.function
        assert self.path is not None
        module_name = f"kerasdl_user_{hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:12]}"
        module = sys.modules.get(module_name)
        if module is None:
            module = _import(self.path, module_name)
        function: Callable[..., Any] = getattr(module, self.name.rpartition(":")[2])
        return function

    def check(self, name: str, value: Any) -> Any:
        """Checks one setting against the builder's type hints.

        Returns:
            The value, as the hint has it.

        Raises:
            ValueError: It cannot be; the message says what could.
        """
        if self.function is None:
            return value
        hint = inspect.signature(self.function).parameters.get(name)
        if hint is None or hint.annotation is inspect.Parameter.empty or isinstance(hint.annotation, str):
            return value
        try:
            return TypeAdapter(hint.annotation).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"{value!r}: {error.errors()[0]['msg']}") from error


def names() -> list[str]:
    """Returns the names of the shipped models, sorted."""
    return sorted(SHIPPED)


def find(model: str | Callable[..., Any], folder: Path | None = None) -> Builder:
    """Finds a builder without importing Keras or running the user's code.

    Args:
        model: A shipped name, `"file.py:function"`, or a function.
        folder: Where a relative path starts; the current folder by default.

    Returns:
        The builder.

    Raises:
        UserError: No such model, file or function.
    """
    if callable(model):
        name = getattr(model, "__qualname__", type(model).__name__)
        return _from_function(name, model)
    if model in SHIPPED:
        return _from_function(model, SHIPPED[model])
    file, colon, function = model.rpartition(":")
    if not colon or not file.endswith(".py"):
        hint = nearest(model, SHIPPED)
        raise UserError(f"model: {model!r} is not a shipped model; {hint}, or give 'file.py:function'")
    path = (folder or Path()) / file
    if not path.is_file():
        raise UserError(f"model: {path}: no such file; give the path of a Python file, a colon and a function's name")
    return _from_source(model, path, function)


def _from_function(name: str, function: Callable[..., Any]) -> Builder:
    parameters = inspect.signature(function).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind not in (2, 4)]
    required = tuple(one.name for one in named if not _has_default(one) and one.name not in GIVEN)
    names = tuple(parameter.name for parameter in named)
    return Builder(name, names, any(one.kind == 4 for one in parameters), function, required=required)


def _from_source(name: str, path: Path, function: str) -> Builder:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise UserError(f"{path}, line {error.lineno}: {error.msg}; the file must be valid Python") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give a file that can be read") from error
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    if function not in found:
        hint = nearest(function, found) if found else "it defines no function at its top level"
        raise UserError(f"{path}: defines no function {function!r}; {hint}")
    arguments = found[function].args
    positional = [argument.arg for argument in [*arguments.posonlyargs, *arguments.args]]
    by_name = [argument.arg for argument in arguments.kwonlyargs]
    required = positional[: len(positional) - len(arguments.defaults)]
    required += [one for one, default in zip(by_name, arguments.kw_defaults, strict=True) if default is None]
    settings = tuple(one for one in required if one not in GIVEN)
    return Builder(name, (*positional, *by_name), arguments.kwarg is not None, path=path, required=settings)


def _import(path: Path, module_name: str) -> Any:
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    # As when the file is run: it may import what lies beside it, now or when it builds. Last, it hides nothing else.
    folder = str(path.absolute().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        message = " ".join(str(error).split())
        raise UserError(f"{path}: importing it failed: {type(error).__name__}: {message}; mend the file") from error
    return module


def _has_default(parameter: inspect.Parameter) -> bool:
    return parameter.default is not inspect.Parameter.empty


def call(function: Callable[..., Any], parameters: Mapping[str, Any], available: Mapping[str, Any]) -> Any:
    """Calls a builder with its settings and with what else of `available` it asks for by name."""
    asked = inspect.signature(function).parameters
    return function(**{name: value for name, value in available.items() if name in asked}, **parameters)
