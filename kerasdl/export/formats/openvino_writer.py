"""Converts in a process of its own: `python openvino_writer.py MODEL.onnx MODEL.xml PROPERTIES.json`.

Importing OpenVINO forks, which a process with a running backend cannot bear, and reports its use to its makers.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Reads the command line; exit status 2 and one line on what went wrong."""
    source, path, properties = map(Path, sys.argv[1:])
    # The report is left out where its package is missing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    try:
        model = openvino.Core().read_model(source)
    except Exception as error:  # OpenVINO raises RuntimeError and classes of its front ends
        print(next(iter(str(error).strip().splitlines()), type(error).__name__)[:300], file=sys.stderr)
        raise SystemExit(2) from error
    for key, value in json.loads(properties.read_text()).items():
        model.set_rt_info(value if isinstance(value, str) else json.dumps(value), ["model_info", key])
    # Half precision is in the graph where it is wanted; OpenVINO would round the scaling's constants, too.
    openvino.save_model(model, path, compress_to_fp16=False)


if __name__ == "__main__":
    main()
