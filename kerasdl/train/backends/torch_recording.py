"""Records what a function does on PyTorch as a list of operations, and shortens the list."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch._decomp import get_decompositions
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.passes.dialect.common.cse_pass import CSEPass
from torch.utils import _pytree as pytree

_OPERATIONS = torch.ops.aten

# PyTorch's binary cross-entropy raises an error for the whole pack where one member predicts NaN; its formula does not.
_UNCHECKED = get_decompositions(
    [_OPERATIONS.binary_cross_entropy.default, _OPERATIONS.binary_cross_entropy_backward.default]
)
_COPIES = (_OPERATIONS.lift_fresh_copy.default, _OPERATIONS.detach.default, _OPERATIONS.alias.default)
_VIEWS = (_OPERATIONS.view.default, _OPERATIONS._unsafe_view.default)
_FILLED = {_OPERATIONS.zeros_like.default: 0, _OPERATIONS.ones_like.default: 1}

# Products with fewer columns than this leave most of a processor's vector units idle.
_NARROW = 32
# Multiplications below which a product is cheaper than rearranging its operands.
_WORTH_REARRANGING = 200_000


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
    for node in list(module.graph.nodes):
        if node.target in _COPIES:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)
    module = CSEPass()(module).graph_module
    _fold_constants(module)
    if tensors and tensors[0].device.type == "cpu":
        _join_products(module)
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


def _join_products(module: GraphModule) -> None:
    """Turns products of one shared matrix with many narrow ones into a single wide product.

    A first layer sees the same rows in every member: `(rows, features)` times `(members, features, units)` is
    `(rows, features)` times `(features, members x units)`.
    """
    for node in list(module.graph.nodes):
        if node.target is not _OPERATIONS.bmm.default:
            continue
        shared, own = _shared_matrix(node.args[0]), node.args[1]
        members, rows, columns = _shape(node)
        if shared is None or members == 1 or columns > _NARROW:
            continue
        inner = _shape(own)[1]
        if math.prod((members, rows, inner, columns)) < _WORTH_REARRANGING:
            continue
        call = module.graph.call_function
        with module.graph.inserting_before(node):
            side_by_side = call(_OPERATIONS.permute.default, (own, [1, 0, 2]))
            wide = call(_OPERATIONS.reshape.default, (side_by_side, [inner, members * columns]))
            product = call(_OPERATIONS.mm.default, (shared, wide))
            apart = call(_OPERATIONS.view.default, (product, [rows, members, columns]))
            stacked = call(_OPERATIONS.permute.default, (apart, [1, 0, 2]))
            result = call(_OPERATIONS.contiguous.default, (stacked,))
        node.replace_all_uses_with(result)


def _shared_matrix(node: Node) -> Node | None:
    """Finds the matrix that was expanded to one for each member, if that is what a node gives."""
    shape = _shape(node)
    while node.target in _VIEWS and _shape(node.args[0]) == shape:
        node = node.args[0]
    if node.target is not _OPERATIONS.expand.default:
        return None
    source = node.args[0]
    return source if _shape(source) == shape[1:] else None


def _shape(node: Any) -> tuple[int, ...]:
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if meta is not None else ()
