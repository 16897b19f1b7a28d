"""What is known of each file format before any work."""

import importlib.util
from dataclasses import dataclass

from kerasdl.errors import UserError


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: The end of the file's name.
        precisions: In what its numbers can be, the usual first.
        backend: The Keras backend that converts; `None` where any can.
        needs: The modules that write and read it, each with the extra of kerasdl that brings it.
        by_onnx: Whether it is made from the ONNX graph.
        names: Which of its ends have names that can be chosen.
    """

    suffix: str
    precisions: tuple[str, ...] = ("float32",)
    backend: str | None = None
    needs: tuple[tuple[str, str], ...] = ()
    by_onnx: bool = False
    names: tuple[str, ...] = ("input", "output")


FORMATS = {
    "onnx": Format("onnx", ("float32", "float16", "int8"), by_onnx=True),
    "torchscript": Format("pt", backend="torch", needs=(("torch", "torch"),), names=()),
    "torch-export": Format("pt2", backend="torch", needs=(("torch", "torch"),), names=()),
    "litert": Format(
        "tflite",
        ("float32", "float16"),
        backend="tensorflow",
        needs=(("tensorflow", "litert"), ("ai_edge_litert", "litert")),
    ),
    "openvino": Format("xml", ("float32", "float16", "int8"), needs=(("openvino", "openvino"),), by_onnx=True),
    "keras": Format("keras", names=("input",)),
}


def check_installed(name: str) -> None:
    """Checks that what writes and reads a format is installed.

    Args:
        name: The format.

    Raises:
        UserError: A package is missing; the message names the extra that brings it.
    """
    for module, extra in FORMATS[name].needs:
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"format {name!r} needs {module}, which is not installed; install it: pip install 'kerasdl[{extra}]'"
            )
