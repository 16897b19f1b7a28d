"""Plays recordings of PyTorch's operations: by TorchScript, outside of Python, so that other threads run beside."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import Node

from kerasdl.train.backends.torch_shortening import Recording

# As TorchScript numbers them.
_MEMORY_FORMATS = {
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
}
_TENSOR = torch._C.TensorType.get()


def player(recording: Recording) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Returns what plays a recording, a function of tensors.

    PyTorch's own way there, `torch.jit.trace`, runs everything once more, cannot take some operations' optional
    arguments, and keeps a class of each recording for good.
    """
    graph = torch._C.Graph()
    values: dict[Node, Any] = {}
    for node in recording.graph.nodes:
        if node.op == "placeholder":
            values[node] = graph.addInput(node.name)
        elif node.op == "get_attr":
            values[node] = graph.insertConstant(recording.constants[str(node.target)])
        elif node.op == "output":
            results = [values[one] for one in node.args[0]]
            types = torch._C.TupleType([_TENSOR] * len(results))
            graph.registerOutput(_append(graph, "prim::TupleConstruct", results, [types])[0])
        elif isinstance(node.target, torch._ops.OpOverload):
            results = _call(graph, node, values)
            values[node] = results[0] if len(results) == 1 else results
        else:
            values[node] = _part(graph, node, values)
    return torch._C._create_function_from_graph("recording", graph)


def _append(graph: Any, kind: str, inputs: list[Any], types: Sequence[Any]) -> list[Any]:
    """Appends an operation; returns its results, which are of these types."""
    node = graph.appendNode(graph.create(kind, inputs, len(types)))
    results = list(node.outputs())
    for result, own in zip(results, types, strict=True):
        result.setType(own)
    return results


def _call(graph: Any, node: Node, values: dict[Node, Any]) -> list[Any]:
    schema = node.target._schema
    inputs = []
    for place, expected in enumerate(schema.arguments):
        given = node.args[place] if place < len(node.args) else node.kwargs.get(expected.name, expected.default_value)
        inputs.append(_value(graph, given, expected.type, values))
    return _append(graph, schema.name, inputs, [result.type for result in schema.returns])


def _part(graph: Any, node: Node, values: dict[Node, Any]) -> Any:
    """Returns one of several results: an operation has as many, or one that is a list."""
    source, place = node.args
    results = values[source]
    if len(source.target._schema.returns) > 1:
        return results[place]
    return _append(graph, "aten::__getitem__", [results, graph.insertConstant(place)], [_TENSOR])[0]


def _value(graph: Any, given: Any, expected: Any, values: dict[Node, Any]) -> Any:
    if isinstance(given, Node):
        return values[given]
    if isinstance(expected, torch._C.OptionalType) and given is not None:
        expected = expected.getElementType()
    if isinstance(expected, torch._C.ListType) and given is not None:
        return _list(graph, given, expected, values)
    if given in _MEMORY_FORMATS:
        given = _MEMORY_FORMATS[given]
    if isinstance(expected, torch._C.FloatType) and given is not None:
        given = float(given)
    return graph.insertConstant(given)


def _list(graph: Any, given: Any, expected: Any, values: dict[Node, Any]) -> Any:
    element = expected.getElementType()
    entries = given if isinstance(given, list | tuple) else [given]
    inputs = [_value(graph, entry, element, values) for entry in entries]
    return _append(graph, "prim::ListConstruct", inputs, [torch._C.ListType(element)])[0]


def repeated(program: Any, carried: int, given: int, seen: int) -> Callable[..., Any]:
    """Returns what plays a recording many times, each time with what the one before gave.

    Args:
        program: What `player` returned for a function that gives several tensors.
        carried: How many of its first results take the place of its first arguments.
        given: How many arguments follow that stay as they are. The last argument is one entry of what the returned
            function takes in its place.
        seen: How many results come after those that are carried.

    Returns:
        A function that gives what is carried in the end, and what came after that each time, stacked.
    """
    state, shared = [f"state{i}" for i in range(carried)], [f"given{i}" for i in range(given)]
    results, lists = [f"result{i}" for i in range(seen)], [f"seen{i}" for i in range(seen)]
    lines = [
        f"def play({', '.join([*state, *shared, 'entries'])}):",
        *(f"    {name}: List[Tensor] = []" for name in lists),
        "    for i in range(entries.size(0)):",
        f"        {', '.join([*state, *results])} = program({', '.join([*state, *shared, 'entries[i]'])})",
        *(f"        {name}.append({result})" for name, result in zip(lists, results, strict=True)),
        f"    return ({', '.join([*state, *(f'torch.stack({name})' for name in lists)])},)",
        "",
    ]
    unit = torch._C.CompilationUnit()
    names = {"program": program, "torch": torch, "List": list[Any], "Tensor": torch.Tensor}
    unit.define("\n".join(lines), names.get)
    play = unit.find_function("play")
    # A call of the recording would not keep it alive.
    torch._C._jit_pass_inline(play.graph)
    return play
