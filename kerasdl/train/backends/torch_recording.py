"""Records what a function does on PyTorch as a list of operations, and shortens the list."""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.fx import Graph, Node
from torch.fx.passes.shape_prop import _extract_tensor_metadata
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from kerasdl.train.backends.torch_joining import join_additions, take_quick_roots
from kerasdl.train.backends.torch_player import player
from kerasdl.train.backends.torch_shortening import Recording, changes_nothing, convert_numbers, join_products, reorder

_OPERATIONS = torch.ops.aten

# PyTorch's binary cross-entropy raises an error for the whole pack where one member predicts NaN; its formula does not.
_UNCHECKED = get_decompositions(
    [_OPERATIONS.binary_cross_entropy.default, _OPERATIONS.binary_cross_entropy_backward.default]
)
# What these give does not depend on the numbers they are given.
_FILLED = (_OPERATIONS.zeros_like.default, _OPERATIONS.ones_like.default)


def record(function: Callable[..., Any], tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
    """Records a function's operations.

    Args:
        function: What to record; without side effects.
        tensors: Its arguments' tensors, flattened.
        structure: How they are put together.

    Returns:
        A function of the flat tensors that gives a tuple of flat tensors, and the structure of these.
    """
    output_structures: list[Any] = []

    def flat(*arguments: Any) -> tuple[Any, ...]:
        outputs, output_structure = pytree.tree_flatten(function(*pytree.tree_unflatten(list(arguments), structure)))
        output_structures.append(output_structure)
        return tuple(outputs)

    recorder = _Recorder(tensors)
    with recorder:
        outputs = torch.func.functionalize(flat, remove="mutations")(*tensors)
    recording = recorder.finish(outputs)
    reorder(recording)
    if tensors and tensors[0].device.type == "cpu":
        convert_numbers(recording)
        join_products(recording)
        join_additions(recording)
        take_quick_roots(recording)
    recording.graph.eliminate_dead_code()
    return player(recording), output_structures[-1]


class _Recorder(TorchDispatchMode):
    """Keeps the operations that depend on given tensors, each once; what does not depend on them is a constant.

    Args:
        tensors: The tensors.
    """

    def __init__(self, tensors: list[Any]) -> None:
        super().__init__()
        self._graph = Graph()
        self._constants: dict[str, torch.Tensor] = {}
        self._known: dict[Any, Node] = {}
        # Those that others hold, too, by identity.
        self._held: dict[int, tuple[torch.Tensor, Node]] = {}
        for number, tensor in enumerate(tensors):
            self._hold(tensor, self._graph.placeholder(f"argument{number}"))

    def finish(self, outputs: tuple[Any, ...]) -> Recording:
        """Returns what was recorded, with these tensors as its results."""
        self._graph.output(tuple(self._node(output) for output in outputs))
        return Recording(self._graph, self._constants)

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if operation in _UNCHECKED:
            with self:
                return _UNCHECKED[operation](*arguments, **options)
        given = [one for one in pytree.tree_leaves((arguments, options)) if isinstance(one, torch.Tensor)]
        draws = torch.Tag.nondeterministic_seeded in operation.tags
        known = any(self._found(one) is not None for one in given)
        if known and torch.Tag.data_dependent_output in operation.tags:
            raise RuntimeError("the function asks for a tensor's value, which differs from step to step")
        result = operation(*arguments, **options)
        if (known and operation not in _FILLED) or draws:
            self._record(operation, arguments, options, result, draws=draws)
        return result

    def _record(self, operation: Any, arguments: Any, options: Any, result: Any, *, draws: bool) -> None:
        first = arguments[0] if arguments else None
        if isinstance(result, torch.Tensor) and changes_nothing(operation, arguments, options, result):
            self._mark(result, self._node(first))
            return
        if not isinstance(result, torch.Tensor | tuple | list):
            # A shape, for instance, is the same in every step.
            return
        own = pytree.tree_map_only(torch.Tensor, self._node, (arguments, options))
        key = None if draws else (operation, _comparable(own))
        node = self._known.get(key)
        if node is None:
            node = self._graph.call_function(operation, *own)
            if key is not None:
                self._known[key] = node
        if isinstance(result, torch.Tensor):
            self._keep(result, node)
            return
        for place, one in enumerate(result):
            if isinstance(one, torch.Tensor):
                part = self._known.get((node, place))
                if part is None:
                    part = self._known[node, place] = self._graph.call_function(operator.getitem, (node, place))
                self._keep(one, part)

    def _keep(self, tensor: torch.Tensor, node: Node) -> None:
        self._mark(tensor, node)
        _describe(node, tensor)

    def _mark(self, tensor: torch.Tensor, node: Node) -> None:
        # On the tensor itself: PyTorch lets it live on where Python's collector has ended weak references to it.
        tensor.recorded = (self, node)

    def _hold(self, tensor: torch.Tensor, node: Node) -> None:
        self._held[id(tensor)] = (tensor, node)
        _describe(node, tensor)

    def _found(self, tensor: torch.Tensor) -> Node | None:
        if id(tensor) in self._held:
            return self._held[id(tensor)][1]
        recorder, node = getattr(tensor, "recorded", (None, None))
        return node if recorder is self else None

    def _node(self, tensor: torch.Tensor) -> Node:
        node = self._found(tensor)
        if node is None:
            name = f"constant{len(self._constants)}"
            self._constants[name] = tensor.detach()
            node = self._graph.get_attr(name)
            self._hold(tensor, node)
        return node


def _describe(node: Node, tensor: torch.Tensor) -> None:
    if "tensor_meta" not in node.meta:
        node.meta["tensor_meta"] = _extract_tensor_metadata(tensor)


def _comparable(argument: Any) -> Any:
    """Returns what equals that of the same argument alone: `1`, `1.0` and `True` are not the same."""
    if isinstance(argument, dict):
        return tuple((name, _comparable(one)) for name, one in argument.items())
    if isinstance(argument, list | tuple):
        return tuple(_comparable(one) for one in argument)
    return argument if isinstance(argument, Node) else (type(argument), repr(argument))
