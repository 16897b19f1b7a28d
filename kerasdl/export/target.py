"""What an export should be: the checked contents of a TOML file in `export/`."""

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from kerasdl.errors import UserError, nearest
from kerasdl.export.formats.format import FORMATS, check_installed
from kerasdl.recipes import find

_STRICT = ConfigDict(extra="forbid", frozen=True)

# The kind of error that says which key does not go with which format.
_MISFIT = "misfit"

ENDS = ("input", "output")


class Tolerance(BaseModel):
    """How far an output may be from Keras': `absolute + relative * |Keras' output|`.

    Attributes:
        absolute: In the outputs' own unit.
        relative: A share of Keras' output.
        beyond: The share of all outputs that may be farther away; only where precision is reduced.
    """

    model_config = _STRICT

    absolute: float = Field(default=1e-4, ge=0.0)
    relative: float = Field(default=1e-3, ge=0.0)
    beyond: float = Field(default=0.0, ge=0.0, lt=1.0)


# The usual tolerance of reduced precision.
REDUCED = {
    "float16": Tolerance(absolute=5e-3, relative=1e-2, beyond=0.01),
    "int8": Tolerance(absolute=0.1, relative=0.1, beyond=0.05),
}


class Limit(BaseModel):
    """How much a file of reduced precision may lose.

    Attributes:
        metric_drop: The largest drop of the test metric (accuracy, or Dice of segmented images).
        changed_classes: The largest share of rows, or pixels, whose most probable class is another.
    """

    model_config = _STRICT

    metric_drop: float = Field(default=0.01, ge=0.0, le=1.0)
    changed_classes: float = Field(default=0.03, ge=0.0, le=1.0)


class Quantization(BaseModel):
    """How weights and activations become whole numbers of 8 bits.

    Attributes:
        method: `"static"`: the ranges of activations are measured on training rows beforehand. `"dynamic"`: they are
            taken from each batch, so that rows of a batch influence each other. `"auto"`: static, and dynamic where the
            network is recurrent or attends, where there are no rows, or where static is past the limit.
        rows: How many training rows are looked at.
        per_channel: Whether each output channel of a kernel has a range of its own.
        reduce_range: Whether weights take 7 bits, which keeps sums right on processors without VNNI.
    """

    model_config = _STRICT

    method: Literal["auto", "static", "dynamic"] = "auto"
    rows: int = Field(default=256, ge=8, le=100_000)
    per_channel: bool = True
    reduce_range: bool = True


class Benchmark(BaseModel):
    """How a file is measured by `python -m kerasdl.export benchmark`.

    Attributes:
        batch_sizes: Rows at once.
        seconds: How long each batch size is measured.
        threads: Threads on the CPU; 0 leaves the choice to the runtime.
    """

    model_config = _STRICT

    batch_sizes: list[Annotated[int, Field(ge=1, le=4096)]] = Field(default=[1, 8, 64, 256], min_length=1)
    seconds: float = Field(default=0.6, gt=0.0, le=3600.0)
    threads: int = Field(default=0, ge=0, le=1024)


class Target(BaseModel):
    """An export target.

    Attributes:
        name: What it is called: the name of its TOML file.
        title: What it is called in print.
        format: The file format.
        precision: In what the file computes or stores its weights.
        opset: The ONNX operator set; of formats that are made by way of ONNX.
        input: The name of the one input.
        output: The name of the one output; `"auto"` is `"probabilities"` after a softmax or sigmoid, else `"outputs"`.
        dynamic_batch: Whether the first axis is dynamic, so that the file takes any number of rows; else one. Other
            axes are dynamic where the model leaves them open.
        tolerance: How far its outputs may be from Keras'; by default more where precision is reduced.
        limit: How much may be lost by reduced precision.
        quantization: How the precision `"int8"` is reached.
        benchmark: How it is measured.
    """

    model_config = _STRICT

    name: str = ""
    title: str = ""
    format: Literal["onnx", "torchscript", "torch-export", "litert", "openvino", "keras"]
    precision: Literal["float32", "float16", "int8"] = "float32"
    opset: int = Field(18, ge=18, le=21)
    input: str = Field("features", min_length=1)
    output: str = Field("auto", min_length=1)
    dynamic_batch: bool = True
    tolerance: Tolerance = Tolerance()
    limit: Limit = Limit()
    quantization: Quantization = Quantization()
    benchmark: Benchmark = Benchmark()

    @property
    def reduced(self) -> bool:
        """Whether the file has less precision than the model."""
        return self.precision != "float32"

    @property
    def suffix(self) -> str:
        """The end of the file's name."""
        return FORMATS[self.format].suffix

    @property
    def file_name(self) -> str:
        """`model.onnx` of the target `onnx`, else `model-NAME.SUFFIX`."""
        name = self.name or self.format
        return "model.onnx" if name == "onnx" else f"model-{name}.{self.suffix}"

    @model_validator(mode="before")
    @classmethod
    def _tolerate(cls, contents: Any) -> Any:
        """Gives reduced precision a tolerance of its own where none is said."""
        if isinstance(contents, dict) and "tolerance" not in contents and contents.get("precision") in REDUCED:
            return {**contents, "tolerance": REDUCED[contents["precision"]]}
        return contents

    @model_validator(mode="after")
    def _fits(self) -> "Target":
        form = FORMATS[self.format]
        if self.precision not in form.precisions:
            raise _misfit("precision", f"{self.precision!r}; format {self.format!r} has {', '.join(form.precisions)}")
        for key, wrong, why in (
            ("opset", not form.by_onnx, "is for formats made by way of ONNX (onnx, openvino)"),
            *(
                (end, end not in form.names, f"names nothing: in the format {self.format!r} it goes by its place")
                for end in ENDS
            ),
            ("limit", not self.reduced, 'is for precision = "float16" or "int8"'),
            ("quantization", self.precision != "int8", 'is for precision = "int8"'),
        ):
            if wrong and key in self.model_fields_set:
                raise PydanticCustomError(_MISFIT, "key '{key}' {why}; leave it out", {"key": key, "why": why})
        if self.tolerance.beyond and not self.reduced:
            why = 'is for precision = "float16" or "int8"'
            raise PydanticCustomError(
                _MISFIT, "key '{key}' {why}; leave it out", {"key": "tolerance.beyond", "why": why}
            )
        return self


def _misfit(key: str, why: str) -> PydanticCustomError:
    return PydanticCustomError(_MISFIT, "key '{key}' is {why}", {"key": key, "why": why})


def load_target(name_or_path: str) -> Target:
    """Reads an export target.

    Args:
        name_or_path: A shipped name such as `"onnx"`, or the path of a TOML file.

    Returns:
        The target; it bears the name of the file.

    Raises:
        UserError: There is no such target, or a key or value in it is wrong; the message names the file and the key.
    """
    path = find("export", name_or_path)
    try:
        contents = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as TOML ({error}); mend that line") from error
    if "name" in contents:
        raise UserError(f"{path}: key 'name' is not known; a target is called as its file is")
    try:
        return Target.model_validate({**contents, "name": path.stem}, strict=True)
    except ValidationError as error:
        raise UserError(_explain(path, error)) from error


def load_targets(names_or_paths: Sequence[str]) -> list[Target]:
    """Reads several targets that are to lie in one folder, and checks that what writes them is installed.

    Args:
        names_or_paths: Shipped names, or paths of TOML files.

    Returns:
        The targets, in this order.

    Raises:
        UserError: One cannot be read or written here, or two would have the same file.
    """
    targets: list[Target] = []
    for given in names_or_paths:
        target = load_target(given)
        if any(target.file_name == other.file_name for other in targets):
            raise UserError(
                f"{given}: a second target named {target.name!r}; name each once, and own files differently"
            )
        check_installed(target.format)
        targets.append(target)
    return targets


def _explain(path: Path, error: ValidationError) -> str:
    """Says in one line what is wrong with the first wrong key."""
    first = error.errors(include_url=False)[0]
    if first["type"] == _MISFIT:
        return f"{path}: {first['msg']}"
    places = [str(part) for part in first["loc"]]
    key = ".".join(places)
    if first["type"] == "extra_forbidden":
        return f"{path}: key {key!r} is not known; {nearest(places[-1], _keys(places[:-1]))}"
    if first["type"] == "missing":
        return f'{path}: key {key!r} is missing; write {key} = "onnx"'
    if first["type"] == "literal_error":
        options = re.findall(r"'([^']*)'", str(first.get("ctx", {}).get("expected", "")))
        return f"{path}: key {key!r} is {first['input']!r}; {nearest(str(first['input']), options)}"
    return f"{path}: key {key!r} is {first['input']!r}; {first['msg'][0].lower()}{first['msg'][1:]}"


def _keys(places: Sequence[str]) -> list[str]:
    """Returns the keys of a table of a target."""
    model: Any = Target
    for place in places:
        model = model.model_fields[place].annotation
    return [key for key in model.model_fields if key != "name"]
