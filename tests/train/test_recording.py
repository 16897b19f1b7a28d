"""What PyTorch's recordings leave out changes no result."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def torch(backend_name: str) -> Any:
    if backend_name != "torch":
        pytest.skip("recordings are PyTorch's")
    return pytest.importorskip("torch")


def _normalized(torch: Any, rows: Any, scale: Any) -> Any:
    """Batch normalization's forward pass and its gradients."""

    def loss(rows: Any, scale: Any) -> Any:
        mean = rows.mean(0, keepdim=True)
        variance = (rows**2).mean(0, keepdim=True) - mean**2
        return torch.relu((rows - mean).clone() * torch.rsqrt(variance + 0.001) * scale * 0.7).sum()

    return torch.func.grad_and_value(loss, argnums=(0, 1))(rows, scale)


def _spread(torch: Any, rows: Any, scale: Any) -> Any:
    spread = scale.expand(rows.shape)
    return spread / 3 + rows, spread * rows, torch.neg(rows).sum(0), (rows * 0.1).view(rows.shape)


@pytest.mark.parametrize("function", [_normalized, _spread])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_results_are_the_same_to_the_bit(torch: Any, function: Callable[..., Any], dtype: str) -> None:
    from torch.utils import _pytree as pytree

    from kerasdl.train.backends.torch_recording import record

    random = np.random.default_rng(0)
    arrays = random.normal(size=(16, 8)), random.normal(size=(1, 8))
    tensors = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays]
    _, structure = pytree.tree_flatten(tuple(tensors))
    program, _ = record(lambda *own: function(torch, *own), tensors, structure)
    expected, _ = pytree.tree_flatten(function(torch, *tensors))
    found = program(*tensors)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_work_on_whole_tensors_is_left_out(torch: Any) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    from kerasdl.train.backends.torch_shortening import leave_out, reorder

    def function(rows: Any, scale: Any) -> Any:
        whole = rows.expand(rows.shape).clone() ** 1.0
        return whole * torch.ops.aten.div.Scalar(scale.expand(rows.shape), 3), torch.neg(rows).sum(0)

    module = make_fx(function)(torch.ones(16, 8), torch.ones(1, 8))
    leave_out(module)
    reorder(module)
    module.graph.eliminate_dead_code()
    shapes = {
        str(node.target): tuple(node.meta["tensor_meta"].shape)
        for node in module.graph.nodes
        if node.op == "call_function"
    }
    assert shapes == {
        "aten.div.Scalar": (1, 8),
        "aten.expand.default": (16, 8),
        "aten.mul.Tensor": (16, 8),
        "aten.sum.dim_IntList": (8,),
        "aten.neg.default": (8,),
    }
