"""The fresh process of the fallback: `python -m kerasdl.export.convert MODEL.keras OUT.onnx OPSET`.

`KERAS_BACKEND` says on which backend. The model is loaded in safe mode, so that no code comes out of the file.
"""

import sys
from pathlib import Path

import numpy as np

from kerasdl.backend import choose
from kerasdl.errors import UserError
from kerasdl.export.fallback import export_here
from kerasdl.export.samples import input_specifications, keras_outputs
from kerasdl.safety import load_model


def convert(source: Path, destination: Path, opset: int) -> str:
    """Loads a `.keras` file and exports it by Keras' own exporter.

    Args:
        source: The model.
        destination: Where the ONNX file goes.
        opset: The ONNX operator set.

    Returns:
        Who exported it: `"keras"` or `"torch.onnx"`.

    Raises:
        UserError: The model cannot be loaded or exported.
    """
    choose()
    model = load_model(source)
    # Keras exports only what has been called.
    keras_outputs(
        model,
        [np.ones((1, *(size or 1 for size in shape[1:])), dtype) for _, shape, dtype in input_specifications(model)],
    )
    return export_here(model, destination, opset)


def main() -> None:
    """Reads the command line; exit status 2 and one line on what went wrong."""
    try:
        print(convert(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
