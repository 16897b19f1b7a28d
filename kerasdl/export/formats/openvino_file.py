"""Writes OpenVINO's intermediate representation from an ONNX graph."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError


def write_openvino(graph: Any, path: Path, properties: Mapping[str, object], *, half: bool) -> None:
    """Reads a graph with OpenVINO's front end for ONNX, and saves it with what is known about the model.

    `openvino.convert_model` does the same, and starts a process that reports the use of OpenVINO to its makers.

    Args:
        graph: The `onnx.ModelProto`.
        path: Where the .xml goes; the .bin with the weights lies beside it.
        properties: What is known about the model, for the file's section `model_info`.
        half: Whether weights are stored in float16.

    Raises:
        UserError: OpenVINO cannot convert the graph.
    """
    import onnx
    import openvino

    with tempfile.TemporaryDirectory(prefix="kerasdl-openvino-") as folder:
        source = Path(folder) / "model.onnx"
        onnx.save(graph, source)
        try:
            converted = openvino.Core().read_model(str(source))
        except Exception as error:  # OpenVINO raises RuntimeError and classes of its front ends
            line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
            raise UserError(f"OpenVINO cannot convert the ONNX graph: {line}") from error
        for key, value in properties.items():
            converted.set_rt_info(value if isinstance(value, str) else json.dumps(value), ["model_info", key])
        openvino.save_model(converted, str(path), compress_to_fp16=half)
