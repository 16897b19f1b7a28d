"""Records what a function does on PyTorch as a list of operations, and shortens the list."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.dialect.common.cse_pass import CSEPass
from torch.utils import _pytree as pytree

from kerasdl.train.backends.torch_shortening import convert_numbers, join_products, leave_out, reorder

_OPERATIONS = torch.ops.aten

# PyTorch's binary cross-entropy raises an error for the whole pack where one member predicts NaN; its formula does not.
_UNCHECKED = get_decompositions(
    [_OPERATIONS.binary_cross_entropy.default, _OPERATIONS.binary_cross_entropy_backward.default]
)
_FILLED = {_OPERATIONS.zeros_like.default: 0, _OPERATIONS.ones_like.default: 1}


def record(function: Callable[..., Any], tensors: list[Any], structure: Any) -> tuple[Callable[..., Any], Any]:
    """Records a function's operations.

    Args:
        function: What to record; without side effects.
        tensors: Its arguments' tensors, flattened.
        structure: How they are put together.

    Returns:
        A function of the flat tensors that gives flat tensors, and the structure of these.
    """
    output_structures: list[Any] = []

    def flat(*arguments: Any) -> tuple[Any, ...]:
        outputs, output_structure = pytree.tree_flatten(function(*pytree.tree_unflatten(list(arguments), structure)))
        output_structures.append(output_structure)
        return tuple(outputs)

    module = make_fx(torch.func.functionalize(flat, remove="mutations"), decomposition_table=_UNCHECKED)(*tensors)
    leave_out(module)
    module = CSEPass()(module).graph_module
    _fold_constants(module)
    reorder(module)
    if tensors and tensors[0].device.type == "cpu":
        convert_numbers(module)
        join_products(module)
    module.graph.eliminate_dead_code()
    module.recompile()
    return _player(module, tensors), output_structures[-1]


def _player(module: GraphModule, tensors: list[Any]) -> Callable[..., Any]:
    with warnings.catch_warnings():
        # TorchScript is only the player of a finished list of operations here; PyTorch warns that it is deprecated.
        warnings.simplefilter("ignore")
        try:
            return torch.jit.trace(module, tuple(tensors), check_trace=False)
        except RuntimeError:
            # It cannot take some operations' optional arguments (the gradient of a convolution without a bias); the
            # recording then plays itself, a little slower.
            return module


def _fold_constants(module: GraphModule) -> None:
    """Computes once what does not depend on the arguments."""
    values: dict[Node, Any] = {}
    for node in list(module.graph.nodes):
        if node.op == "get_attr":
            values[node] = getattr(module, node.target)
        elif node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload):
            found = _constant(node, values)
            if found is not None:
                values[node] = found
                name = f"_folded{len(values)}"
                module.register_buffer(name, found)
                with module.graph.inserting_before(node):
                    folded = module.graph.get_attr(name)
                folded.meta = node.meta
                values[folded] = found
                node.replace_all_uses_with(folded)
                module.graph.erase_node(node)


def _constant(node: Node, values: dict[Node, Any]) -> torch.Tensor | None:
    shape = getattr(node.meta.get("tensor_meta"), "shape", None)
    if shape is None:
        return None
    if node.target in _FILLED:
        meta = node.meta["tensor_meta"]
        device = node.meta["val"].device if "val" in node.meta else None
        return torch.full(tuple(shape), _FILLED[node.target], dtype=meta.dtype, device=device)
    if torch.Tag.nondeterministic_seeded in node.target.tags or any(
        argument not in values for argument in node.all_input_nodes
    ):
        return None
    arguments, named = pytree.tree_map(
        lambda value: values[value] if isinstance(value, Node) else value, (node.args, node.kwargs)
    )
    found = node.target(*arguments, **named)
    return found if isinstance(found, torch.Tensor) else None
