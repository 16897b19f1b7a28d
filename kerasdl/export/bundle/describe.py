"""Describes a model for programs: what `model.json` holds."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from kerasdl.errors import UserError
from kerasdl.export.bundle.reading import MODEL, Exported
from kerasdl.runs.database import finite

# The version of the form of model.json.
FORM = 1

# What stands between a softmax and the output of a graph without changing a value.
_PASSING = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Cast", "Flatten"}


def describe(exported: Exported) -> dict[str, Any]:
    """Returns what a program must know to use the model, and what a person must know to trust it.

    Args:
        exported: The model.

    Returns:
        `form`, `title`, `question`, `study`, `task`, `answer` (`"classes"`, `"masks"` or `"values"`: what the outputs
        are), `model` (the file with its SHA-256), `inputs`, `outputs`, `classes`, `features`, `preprocessing`,
        `checks` (how near its outputs are to Keras'), `others` (the same model in other formats),
        `figures` (how good and how fast it is), `data`, `settings`,
        `versions`.
    """
    known, graph = exported.properties, exported.graph
    inputs = [_end(each) for each in exported.inputs]
    outputs = [{**_end(each), "meaning": _meaning(graph, each.name)} for each in graph.output]
    classes = _names(known.get("classes"))
    task = known.get("task") or ("classification" if classes else "unknown")
    image = _image(known, inputs)
    facts: dict[str, Any] = {
        "form": FORM,
        "title": known.get("title") or graph.name or "model",
        "question": known.get("question", ""),
        "study": known.get("study", ""),
        "task": task,
        "answer": _answer(outputs, classes, task),
        "model": {
            "file": MODEL,
            "sha256": exported.sha256,
            "bytes": len(exported.content),
            "opset": exported.opset,
            "nodes": len(graph.node),
            "producer": exported.producer,
            "exporter": known.get("exporter", ""),
        },
        "inputs": inputs,
        "outputs": outputs,
        "classes": classes,
        "features": _features(known),
        "preprocessing": {
            "inside": ["features are scaled as in training"] if "evaluation" in known else [],
            "caller": _caller(image, inputs, "evaluation" in known),
            "image": image,
        },
        "checks": {key: value for key, value in exported.export.items() if key not in ("path", "seconds")} or None,
        "others": [_other(each) for each in exported.others],
        "figures": {"evaluation": known.get("evaluation"), "benchmark": _measured(exported.benchmark)},
        "data": {
            "name": without_folders(str(known.get("data", ""))),
            "source": without_folders(str(known.get("source", ""))),
            "licence": known.get("licence", ""),
            "fingerprint": known.get("fingerprint", ""),
        },
        "settings": known.get("settings") or {},
        "versions": dict(exported.versions),
    }
    return finite(facts)


def _other(export: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("format", "precision", "bytes", "max_abs_diff", "argmax_agreement", "change")
    return {"path": PurePath(str(export.get("path", ""))).name, **{key: export.get(key) for key in kept}}


def _measured(benchmark: Any) -> dict[str, Any] | None:
    """Keeps of a benchmark what to choose, and where it was measured; the rest stays in its own file."""
    if not isinstance(benchmark, dict) or not benchmark.get("picks"):
        return None
    return {"picks": benchmark["picks"], "machine": benchmark.get("machine") or {}}


def without_folders(text: str) -> str:
    """Leaves of absolute paths the last part alone: what the folders of the author are called is nobody's business."""
    return re.sub(r"(?<![\w.~/])(?:/(?!/)|[A-Za-z]:[\\/])[^?&\s]*", lambda match: PurePath(match[0]).name, text)


def _names(value: Any) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []


def _end(value: Any) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    if not tensor.elem_type or not tensor.HasField("shape") or not tensor.shape.dim:
        raise UserError(
            f"{MODEL}: {value.name!r} is no array of rows; a bundle holds a model that takes and gives these"
        )
    shape = [each.dim_value if each.HasField("dim_value") else None for each in tensor.shape.dim]
    return {
        "name": value.name,
        "dtype": onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name,
        "shape": shape,
    }


def _meaning(graph: Any, name: str) -> str:
    """Says whether an output is probabilities: what the graph computes last, not what it is called."""
    makers = {output: node for node in graph.node for output in node.output}
    node = makers.get(name)
    while node is not None and node.op_type in _PASSING:
        node = makers.get(node.input[0])
    return "probabilities" if node is not None and node.op_type in {"Softmax", "Sigmoid"} else "values"


def _answer(outputs: list[dict[str, Any]], classes: list[str], task: str) -> str:
    if len(outputs) != 1:
        return "values"
    shape, probable = outputs[0]["shape"], outputs[0]["meaning"] == "probabilities"
    if task == "segmentation" and len(shape) == 4:
        return "masks"
    if len(shape) != 2 or not (classes or probable):
        return "values"
    # One value that is no probability is a score of one class alone, of which nothing is known.
    return "classes" if shape[1] != 1 or probable else "values"


def _image(known: Mapping[str, Any], inputs: list[dict[str, Any]]) -> dict[str, Any] | None:
    shape = inputs[0]["shape"]
    if len(inputs) != 1 or len(shape) != 4 or shape[3] not in (1, 3):
        return None
    stated = (known.get("preprocessing") or {}).get("image") or {}
    return {
        "height": shape[1],
        "width": shape[2],
        "channels": shape[3],
        "resize": stated.get("resize", "stretch"),
        "range": stated.get("range"),
        "layout": "height, width, channels",
    }


def _caller(image: Mapping[str, Any] | None, inputs: list[dict[str, Any]], of_run: bool) -> list[str]:
    if image is None:
        table = of_run and len(inputs) == 1 and len(inputs[0]["shape"]) == 2
        # Without a run nobody knows what its author did to the numbers before.
        return ["give raw numbers, unscaled"] if table else ["give numbers as they were in training"]
    colour = "grey" if image["channels"] == 1 else "red, green, blue"
    steps = ["decode the image, turn it upright, lay it on white where it is transparent", f"make it {colour}"]
    if image["height"] is not None and image["width"] is not None:
        how = {"stretch": "", "crop": ", cutting off what is too much", "pad": ", filling up with black"}
        steps.append(
            f"resize it to {image['height']} x {image['width']} (height x width) by bilinear interpolation that "
            f"averages where it shrinks{how.get(image['resize'], '')}"
        )
    if image["range"] is None:
        steps.append("give pixels in the range of the training images, which is not known")
    else:
        low, high = image["range"]
        steps.append(f"give pixels as float32 from {low:g} (black) to {high:g} (white)")
    return steps


def _features(known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns each feature's name, and its mean, spread and range where they are known."""
    names = _names(known.get("features"))
    columns = (known.get("preprocessing") or {}).get("columns") or {}
    if not names and columns:
        return []
    return [
        {"name": name, **{key: values[number] for key, values in columns.items() if len(values) == len(names)}}
        for number, name in enumerate(names)
    ]
