"""Writes a model repository for the Triton Inference Server: https://github.com/triton-inference-server."""

import json
import re
from collections.abc import Mapping
from typing import Any

from kerasdl.errors import UserError

_TYPES = {
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "bool": "TYPE_BOOL",
    "bfloat16": "TYPE_BF16",
}

# Rows that Triton gathers from several requests at most, and for how long it waits for them.
LARGEST_BATCH = 64
DELAY_MICROSECONDS = 100


def repository_name(facts: Mapping[str, Any]) -> str:
    """Returns the name of the model in the repository: its study and its data, in characters that Triton takes."""
    data = re.split(r"[:?]", facts["data"]["name"])[0]
    words = [facts["study"], data] if facts["study"] else [data or facts["title"]]
    name = "_".join(re.sub(r"\W+", "_", word, flags=re.ASCII).strip("_").lower() for word in words if word)
    return name[:60].strip("_") or "model"


def triton_files(facts: Mapping[str, Any], content: bytes) -> dict[str, bytes]:
    """Returns the files of the repository by their paths.

    Args:
        facts: What `describe` returned.
        content: The ONNX file.
    """
    name = repository_name(facts)
    # A class that ends a line would shift all that follow.
    labels = "".join(f"{' '.join(label.split())}\n" for label in facts["classes"])
    files = {f"{name}/config.pbtxt": _config(name, facts).encode(), f"{name}/1/model.onnx": content}
    return files | ({f"{name}/labels.txt": labels.encode()} if _has_labels(facts) else {})


def _has_labels(facts: Mapping[str, Any]) -> bool:
    # Triton's labels are those of the elements of an output.
    return facts["answer"] == "classes" and facts["outputs"][0]["shape"][1] == len(facts["classes"])


def _config(name: str, facts: Mapping[str, Any]) -> str:
    # Triton adds the dimension of rows itself where there are batches, and asks for all of them where there are none.
    open_rows = all(each["shape"] and each["shape"][0] is None for each in (*facts["inputs"], *facts["outputs"]))
    labels = 'label_filename: "labels.txt"' if _has_labels(facts) else ""
    lines = [
        f"name: {json.dumps(name)}",
        'platform: "onnxruntime_onnx"',
        f"max_batch_size: {LARGEST_BATCH if open_rows else 0}",
        *(_end("input", each, open_rows) for each in facts["inputs"]),
        *(_end("output", each, open_rows, labels) for each in facts["outputs"]),
    ]
    if open_rows:
        lines.append(f"dynamic_batching {{\n  max_queue_delay_microseconds: {DELAY_MICROSECONDS}\n}}")
    return "\n".join(lines) + "\n"


def _end(kind: str, end: Mapping[str, Any], open_rows: bool, more: str = "") -> str:
    if end["dtype"] not in _TYPES:
        raise UserError(
            f"{end['name']!r} is of type {end['dtype']}, for which Triton has none; choose a type of numbers"
        )
    sizes = [-1 if size is None else size for size in end["shape"][1 if open_rows else 0 :]]
    fields = [
        # JSON's way to write text is that of protocol buffers, but for characters beyond ASCII.
        f"name: {json.dumps(end['name'], ensure_ascii=False)}",
        f"data_type: {_TYPES[end['dtype']]}",
        f"dims: [ {', '.join(map(str, sizes or [1]))} ]",
        # One number a row has no dimension of its own, and Triton wants one.
        *([] if sizes else ["reshape { shape: [ ] }"]),
        *([more] if more else []),
    ]
    return "\n".join([f"{kind} [", "  {", *(f"    {field}" for field in fields), "  }", "]"])
