"""What an export should be: the checked contents of a TOML file in `export/`."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kerasdl.errors import UserError, nearest
from kerasdl.recipes import find


class Tolerance(BaseModel):
    """How far an output may be from Keras': `absolute + relative * |Keras' output|`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    absolute: float = Field(default=1e-4, ge=0.0)
    relative: float = Field(default=1e-3, ge=0.0)


class Target(BaseModel):
    """An export target.

    Attributes:
        title: What it is called in print.
        format: The file format.
        opset: The ONNX operator set.
        input: The name of the one input.
        output: The name of the one output; `"auto"` is `"probabilities"` after a softmax or sigmoid, else `"outputs"`.
        dynamic_batch: Whether the file takes any number of rows; else one.
        tolerance: How far its outputs may be from Keras'.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = "ONNX"
    format: Literal["onnx"]
    opset: int = Field(18, ge=18, le=21)
    input: str = Field("features", min_length=1)
    output: str = Field("auto", min_length=1)
    dynamic_batch: bool = True
    tolerance: Tolerance = Tolerance()


def load_target(name_or_path: str) -> Target:
    """Reads an export target.

    Args:
        name_or_path: A shipped name such as `"onnx"`, or the path of a TOML file.

    Returns:
        The target.

    Raises:
        UserError: There is no such target, or a key or value in it is wrong; the message names the file and the key.
    """
    path = find("export", name_or_path)
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as TOML ({error}); mend that line") from error
    try:
        return Target.model_validate(contents, strict=True)
    except ValidationError as error:
        raise UserError(_explain(path, error)) from error


def _explain(path: Path, error: ValidationError) -> str:
    """Says in one line what is wrong with the first wrong key."""
    first = error.errors(include_url=False)[0]
    places = [str(part) for part in first["loc"]]
    key = ".".join(places)
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Tolerance if places[0] == "tolerance" and len(places) > 1 else Target
        return f"{path}: key {key!r} is not known; {nearest(places[-1], model.model_fields)}"
    if first["type"] == "missing":
        return f'{path}: key {key!r} is missing; write {key} = "onnx"'
    if first["type"] == "literal_error":
        return f"{path}: key {key!r} is {first['input']!r}; {nearest(str(first['input']), ['onnx'])}"
    return f"{path}: key {key!r} is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"
