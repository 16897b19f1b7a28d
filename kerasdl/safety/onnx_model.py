"""Checks ONNX files before onnxruntime opens them: where weights lie, how large they claim to be, whose operators."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.safety.external_data import external_fault, tensor_bytes

# A protobuf message cannot be larger.
LARGEST = 2**31

# What onnxruntime itself computes; operators of other domains come out of a shared library that somebody must load.
DOMAINS = {
    "",
    "ai.onnx",
    "ai.onnx.ml",
    "ai.onnx.preview",
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
}
# Operators of these domains that load what a device's compiler made, from any path.
REFUSED = {"EPContext": "loads a compiled program of a device"}

# Values that a node may make out of a shape alone: onnxruntime computes constants when it opens a file.
MOST_VALUES = 2**31


def check_onnx(path: str | Path) -> None:
    """Checks an ONNX file, without reading the weights that lie beside it.

    Args:
        path: The file.

    Raises:
        UserError: It is not ONNX, its weights lie outside of its folder or behind a link, a tensor claims more values
            than there are, or an operator is of a domain that onnxruntime does not bring.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; give an ONNX file")
    if path.stat().st_size >= LARGEST:
        raise UserError(f"{path}: refused, as it has {path.stat().st_size:,} bytes; an ONNX file has at most 2 GiB")
    try:
        model = onnx.load(path, load_external_data=False, format="protobuf")
    except (DecodeError, OSError, ValueError) as error:
        raise UserError(f"{path}: not an ONNX file ({str(error)[:100]}); export the model again") from error
    if not model.graph.node and not model.graph.output:
        raise UserError(f"{path}: not an ONNX file, as there is no graph in it; export the model again")
    own = {(function.domain, function.name) for function in model.functions}
    for graph in _graphs(model):
        for fault in _faults(graph, path.resolve().parent, own):
            raise UserError(f"{path}: refused, as {fault}")


def _graphs(model: Any) -> Iterator[Any]:
    """Gives the graph, those inside its nodes, those of training, and the model's own functions."""
    stack = [model.graph, *model.functions]
    for each in model.training_info:
        stack += [each.initialization, each.algorithm]
    while stack:
        graph = stack.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                stack += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _faults(graph: Any, folder: Path, own: set[tuple[str, str]]) -> Iterator[str]:
    for tensor in _tensors(graph):
        external = tensor.data_location == tensor.EXTERNAL or bool(tensor.external_data)
        fault = external_fault(tensor, folder) if external else _size_fault(tensor)
        if fault is not None:
            yield f"tensor {tensor.name[:100]!r} {fault}"
    constants = {each.name: each for each in getattr(graph, "initializer", ())}
    for node in graph.node:
        label = f"node {(node.name or node.op_type)[:100]!r}"
        if (node.domain, node.op_type) not in own and node.domain not in DOMAINS:
            kind = f"{node.domain}.{node.op_type}"[:200]
            yield f"{label} is the operator {kind}, of a domain that onnxruntime does not bring"
        if node.op_type in REFUSED:
            yield f"{label} ({node.op_type}) {REFUSED[node.op_type]}"
        yield from _growth(node, label, constants)


def _tensors(graph: Any) -> Iterator[Any]:
    yield from getattr(graph, "initializer", ())
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse_ones = [*([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else [])]
            for sparse in (*sparse_ones, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)


def _size_fault(tensor: Any) -> str | None:
    """Compares what a tensor inside the file claims to be with what there is of it."""
    if any(size < 0 for size in tensor.dims):
        return f"has the shape {tuple(tensor.dims)}"
    count = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        wanted, stored = tensor_bytes(tensor), len(tensor.raw_data)
        wrong = wanted is not None and wanted != stored
    else:
        fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
        # Complex numbers take two places, narrow ones may share one.
        stored = max(len(getattr(tensor, field)) for field in fields)
        wrong = count > 8 * stored
    return f"claims the shape {tuple(tensor.dims)}, and holds {stored:,} of it" if wrong else None


def _growth(node: Any, label: str, constants: dict[str, Any]) -> Iterator[str]:
    """Finds nodes that make huge constants out of a small one."""
    place = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}.get(node.op_type)
    if place is None or len(node.input) <= place or node.input[place] not in constants:
        return
    from onnx import numpy_helper

    shape = constants[node.input[place]]
    if shape.data_location == shape.EXTERNAL or math.prod(shape.dims) > 64:
        yield f"{label} ({node.op_type}) takes a shape that is no short constant of the file"
        return
    values = math.prod(max(int(size), 1) for size in numpy_helper.to_array(shape).ravel())
    if values > MOST_VALUES:
        yield f"{label} ({node.op_type}) would make {values:,} values"
