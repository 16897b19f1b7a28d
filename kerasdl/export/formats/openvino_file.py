"""Writes OpenVINO's intermediate representation from an ONNX graph."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError

# Seconds; the largest graph that ONNX holds fits.
PATIENCE = 900


def write_openvino(graph: Any, path: Path, properties: Mapping[str, object]) -> None:
    """Reads a graph with OpenVINO's front end for ONNX, and saves it with what is known about the model.

    `openvino.convert_model` does the same, and reports its use to OpenVINO's makers.

    Args:
        graph: The `onnx.ModelProto`.
        path: Where the .xml goes; the .bin with the weights lies beside it.
        properties: What is known about the model, for the file's section `model_info`.

    Raises:
        UserError: OpenVINO cannot convert the graph.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="kerasdl-openvino-") as folder:
        source, known = Path(folder) / "model.onnx", Path(folder) / "properties.json"
        onnx.save(graph, source)
        known.write_text(json.dumps(dict(properties)))
        # -P: the folder of the script holds modules of the same names as the runtimes.
        script = str(Path(__file__).with_name("openvino_writer.py"))
        command = [sys.executable, "-P", script, str(source), str(path.absolute()), str(known)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise UserError(f"OpenVINO did not convert the ONNX graph within {PATIENCE} s") from error
    if done.returncode != 0:
        last = next(reversed(done.stderr.strip().splitlines()), f"exit status {done.returncode}")
        raise UserError(f"OpenVINO cannot convert the ONNX graph: {last}")
