"""Small ONNX files as exports write them, made without Keras, and the bundles of them."""

import importlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

LAND = ["inland", "coast", "sea"]
COLUMNS = {"mean": [48.0, 13.0], "spread": [5.0, 16.0], "low": [37.0, -27.0], "high": [62.0, 65.0]}

# Makes every import of what trained the model fail.
BARE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"kerasdl", "keras", "torch", "tensorflow", "jax", "onnx", *REFUSED}:
            raise ModuleNotFoundError(f"no {name} here")

sys.meta_path.insert(0, Refuse())
"""

# Runs one program.
ONE = """
import runpy
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""

# Runs one program after another, as it is told line by line: most of the time of a program is its start.
MANY = """
import contextlib, io, json, os, runpy

requests, replies, path = sys.stdin, sys.stdout, list(sys.path)
for line in requests:
    asked = json.loads(line)
    folder = asked["program"].rpartition("/")[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "inference"]:
        del sys.modules[name]
    sys.argv, sys.path = [asked["program"], *asked["arguments"]], [folder, *path]
    os.chdir(folder)
    os.environ.update(asked["variables"])
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(asked["given"].encode("latin-1"))))
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(asked["program"], run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                print(code, file=sys.stderr)
                code = 1
    for name in asked["variables"]:
        del os.environ[name]
    print(json.dumps([code, out.getvalue(), err.getvalue()]), file=replies, flush=True)
"""


def evaluation(rows=4000):
    """What a run of five repeats knows of its winner."""
    return {
        "objective": {"name": "val_accuracy", "direction": "max", "mean": 0.91, "low": 0.9, "high": 0.92},
        "test": {"accuracy": {"mean": 0.9, "low": 0.88, "high": 0.92}, "loss": {"mean": 0.3, "low": 0.2, "high": 0.4}},
        "repeats": 5,
        "folds": None,
        "rows": {"train": 12800, "validation": 3200, "test": rows},
        "trial": {"score": 0.93, "test": {"accuracy": 0.91, "loss": 0.25}, "accuracy_interval": [0.89, 0.93]},
        "classes": [
            {"recall": 0.9, "precision": 0.8},
            {"recall": 0.4, "precision": 0.7},
            {"recall": 1.0, "precision": 1.0},
        ],
        "baselines": {"most_frequent": 0.5},
        "parameters": 9,
        "notes": ["a sample"],
        "measured": {"backend": "jax", "device": "cpu", "platform": "Linux", "versions": {"keras": "3.15"}},
    }


def write(path, inputs, outputs, nodes, weights, **properties):
    """Writes an ONNX file.

    Args:
        path: Where to.
        inputs: Type and shape of each input by its name.
        outputs: The same of the outputs.
        nodes: The nodes.
        weights: Arrays by name.
        **properties: The metadata.
    """

    def ends(described):
        return [helper.make_tensor_value_info(name, *each) for name, each in described.items()]

    graph = helper.make_graph(
        nodes,
        "small",
        ends(inputs),
        ends(outputs),
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.producer_name, model.producer_version = "kerasdl", "0.1.0"
    helper.set_model_props(
        model, {key: each if isinstance(each, str) else json.dumps(each) for key, each in properties.items()}
    )
    save(model, path)


def table(path, rows="batch", **properties):
    """Three classes of latitude and longitude."""
    known = {
        "classes": LAND,
        "features": ["latitude", "longitude"],
        "title": "Land or sea",
        "question": "Which point is where?",
        "study": "mlp",
        "task": "classification",
        "data": "countries?places=2000",
        "source": "GeoNames",
        "licence": "CC BY 4.0",
        "fingerprint": "00",
        "settings": {"width": 3, "learning_rate": 0.1},
        "evaluation": evaluation(),
        "preprocessing": {"columns": COLUMNS},
    }
    weights = {
        "offset": np.array([48, 13], "float32"),
        "kernel": np.array([[1, -1, 0.2], [0.1, 2, -1]], "float32"),
        "bias": np.array([0.1, 0, -0.1], "float32"),
    }
    nodes = [
        helper.make_node("Sub", ["features", "offset"], ["shifted"]),
        helper.make_node("Gemm", ["shifted", "kernel", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    write(
        path,
        {"features": (TensorProto.FLOAT, [rows, 2])},
        {"probabilities": (TensorProto.FLOAT, [rows, 3])},
        nodes,
        weights,
        **{**known, **properties},
    )


def digits(path, size=8, resize="stretch", **properties):
    """Ten classes of grey images, by a random matrix."""
    kernel = np.random.default_rng(0).normal(size=(size * size, 10)).astype("float32")
    image = {"height": size, "width": size, "channels": 1, "resize": resize, "range": [0.0, 16.0]}
    nodes = [
        helper.make_node("Flatten", ["features"], ["flat"]),
        helper.make_node("Div", ["flat", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "kernel"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    known = {
        "classes": list("0123456789"),
        "features": [],
        "title": "Digits",
        "study": "mlp",
        "task": "classification",
        "data": "digits",
        "preprocessing": {"image": image},
    }
    write(
        path,
        {"features": (TensorProto.FLOAT, ["batch", size, size, 1])},
        {"probabilities": (TensorProto.FLOAT, ["batch", 10])},
        nodes,
        {"kernel": kernel, "scale": np.float32(16)},
        **{**known, **properties},
    )


def pixels(path, size=4):
    """Two classes of each pixel of a coloured image, the second where red is strong."""
    kernel = np.array([[0, 0.1], [0, -0.01], [0, -0.01]], "float32")
    image = {"height": size, "width": size, "channels": 3, "resize": "stretch", "range": [0.0, 255.0]}
    nodes = [
        helper.make_node("MatMul", ["features", "kernel"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["probabilities"], axis=-1),
    ]
    write(
        path,
        {"features": (TensorProto.FLOAT, ["batch", size, size, 3])},
        {"probabilities": (TensorProto.FLOAT, ["batch", size, size, 2])},
        nodes,
        {"kernel": kernel, "bias": np.array([0, -12], "float32")},
        classes=["other", "red"],
        features=[],
        task="segmentation",
        preprocessing={"image": image},
    )


def one_output(path):
    """The probability of the second of two classes."""
    nodes = [
        helper.make_node("MatMul", ["features", "kernel"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probabilities"]),
    ]
    write(
        path,
        {"features": (TensorProto.FLOAT, ["batch", 2])},
        {"probabilities": (TensorProto.FLOAT, ["batch", 1])},
        nodes,
        {"kernel": np.array([[1.0], [-1.0]], "float32")},
        classes=["no", "yes"],
        features=[],
        title="Yes or no",
    )


def words(path):
    """Two inputs, one of them whole numbers that index a table, and two outputs; nothing is known about it."""
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["vectors"]),
        helper.make_node("ReduceMean", ["vectors", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "offset"], ["sum"]),
        helper.make_node("Relu", ["mean"], ["positive"]),
    ]
    write(
        path,
        {"tokens": (TensorProto.INT64, ["batch", None]), "offset": (TensorProto.FLOAT, ["batch", 2])},
        {"sum": (TensorProto.FLOAT, ["batch", 2]), "positive": (TensorProto.FLOAT, ["batch", 2])},
        nodes,
        {"table": np.arange(20, dtype="float32").reshape(10, 2) - 8, "axes": np.array([1])},
    )


MODELS = {"table": table, "digits": digits, "pixels": pixels, "one_output": one_output, "words": words}


def bundle(folder: Path, name: str, **options) -> Path:
    """Makes the bundle of one of these models."""
    from kerasdl.export.bundle import write_bundle

    folder.mkdir(parents=True, exist_ok=True)
    MODELS[name](folder / "model.onnx", **options)
    write_bundle(folder)
    return folder


@dataclass(frozen=True)
class Done:
    """How a program ended."""

    returncode: int
    stdout: str
    stderr: str


class Bare:
    """A process that runs programs of bundles and can import nothing that trained the model.

    Args:
        refused: What else it cannot import.
    """

    def __init__(self, *refused: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE.replace("REFUSED", repr(refused)) + MANY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=bare_environment(),
            text=True,
        )

    def run(self, program: Path, *arguments: str | Path, given: bytes = b"", **variables: str) -> Done:
        """Runs a program to its end."""
        asked = {"program": str(program), "arguments": [str(each) for each in arguments], "variables": variables}
        self._process.stdin.write(json.dumps({**asked, "given": given.decode("latin-1")}) + "\n")
        self._process.stdin.flush()
        return Done(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(20) == 0


def bare_environment(**variables: str) -> dict[str, str]:
    """The environment of a process that does not see this checkout."""
    left_out = ("PYTHONPATH", "KERAS_BACKEND")
    kept = {name: value for name, value in os.environ.items() if name not in left_out and not name.startswith("SERVE_")}
    return {**kept, **variables, "PYTHONDONTWRITEBYTECODE": "1"}


def reference(folder: Path, **arrays):
    """Runs the model by onnxruntime alone."""
    session = importlib.import_module("onnxruntime").InferenceSession(
        str(folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    return session.run(None, arrays)
