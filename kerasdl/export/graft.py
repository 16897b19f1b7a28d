"""Works on finished ONNX models: slims them, names their ends, puts the scaling in front, adds metadata, checks."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import kerasdl

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target


def slim(model: Any) -> Any:
    """Runs onnxslim (https://github.com/inisis/OnnxSlim), and keeps its result only where it has fewer nodes."""
    import onnx
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    slimmed = onnxslim.slim(copy)
    if slimmed is None or len(slimmed.graph.node) >= len(model.graph.node):
        return model
    # It takes copies for needless also where each of them is an output.
    made = {name for node in slimmed.graph.node for name in node.output}
    return slimmed if all(output.name in made for output in slimmed.graph.output) else model


def name_ends(model: Any, target: "Target", inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Renames the inputs and outputs of a foreign exporter's graph, in place.

    Args:
        model: The `onnx.ModelProto`.
        target: The names for a single input and output.
        inputs: The Keras names of several inputs.
        outputs: The Keras names of several outputs.
    """
    graph = model.graph
    if len(graph.output) == 1:
        last = next((node for node in graph.node if graph.output[0].name in node.output), None)
        probable = last is not None and last.op_type in {"Softmax", "Sigmoid"}
        automatic = "probabilities" if probable else "outputs"
        outputs = [automatic if target.output == "auto" else target.output]
    if len(graph.input) == 1:
        inputs = [target.input]
    old = [each.name for each in (*graph.input, *graph.output)]
    new = [*inputs, *outputs]
    if len(new) == len(old):
        # Through names that nothing has, so that a swap of two names is not lost.
        for stage in ([f"kerasdl:{name}" for name in new], new):
            _rename(graph, dict(zip(old, stage, strict=True)))
            old = stage
    batch = "batch" if target.dynamic_batch else None
    for each in (*graph.input, *graph.output):
        first = each.type.tensor_type.shape.dim[0]
        first.ClearField("dim_value")
        if batch is None:
            first.dim_value = 1
        else:
            first.dim_param = batch


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    for each in (*graph.input, *graph.output, *graph.value_info):
        each.name = names.get(each.name, each.name)
    for node in graph.node:
        for places in (node.input, node.output):
            for position, name in enumerate(places):
                places[position] = names.get(name, name)


def scale_input(model: Any, scaling: "Scaling") -> None:
    """Puts `(x - offset) / scale` between a graph's one input and its readers, in place."""
    from onnx import helper, numpy_helper

    graph = model.graph
    entry = graph.input[0].name
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name == entry:
                node.input[position] = "scaling/divide"
    constants = {"scaling/offset": scaling.offset, "scaling/scale": scaling.scale}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(constants[key], "float32"), key) for key in constants)
    subtract = helper.make_node("Sub", [entry, "scaling/offset"], ["scaling/subtract"], name="scaling/subtract")
    divide = helper.make_node("Div", ["scaling/subtract", "scaling/scale"], ["scaling/divide"], name="scaling/divide")
    graph.node.insert(0, subtract)
    graph.node.insert(1, divide)


def describe(model: Any, properties: Mapping[str, object]) -> None:
    """Writes the producer and what is known about the model into the file's metadata, in place.

    Args:
        model: The `onnx.ModelProto`.
        properties: Names and values; what is not text is written as JSON.
    """
    from onnx import helper

    model.producer_name, model.producer_version = "kerasdl", kerasdl.__version__
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in properties.items()}
    helper.set_model_props(model, texts)


def check(model: Any) -> Any:
    """Infers the shapes of all values and checks the model against the ONNX standard.

    Args:
        model: The `onnx.ModelProto`.

    Returns:
        The model with its shapes.

    Raises:
        onnx.checker.ValidationError: It is not valid.
    """
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(inferred, full_check=True)
    return inferred
