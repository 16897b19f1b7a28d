"""How does a program use the winner without Keras? onnxruntime and NumPy are all that this one imports.

python examples/serve_onnx.py runs/mlp/best.onnx 48.85,2.35 52.52,13.40
"""

import argparse
import json

import numpy as np
import onnxruntime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the path of a best.onnx")
    parser.add_argument("rows", nargs="+", metavar="ROW", help="raw features, unscaled, with commas between them")
    options = parser.parse_args()

    session = onnxruntime.InferenceSession(options.model, providers=["CPUExecutionProvider"])
    known = session.get_modelmeta().custom_metadata_map
    classes = json.loads(known["classes"])
    (given,) = session.get_inputs()
    rows = np.array([row.split(",") for row in options.rows], "float32").reshape(-1, *given.shape[1:])

    (probabilities,) = session.run(None, {given.name: rows})
    if probabilities.shape[1] == 1:  # Two classes: the probability of the second.
        probabilities = np.hstack([1 - probabilities, probabilities])
    for row, chances in zip(options.rows, probabilities, strict=True):
        print(f"{row}: {classes[chances.argmax()]} ({chances.max():.0%})")


if __name__ == "__main__":
    main()
