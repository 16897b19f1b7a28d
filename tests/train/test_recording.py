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
    """But for products of float32 that are added at once, which are rounded once."""
    random = np.random.default_rng(0)
    arrays = random.normal(size=(16, 8)), random.normal(size=(1, 8))
    tensors = [torch.from_numpy(array).to(getattr(torch, dtype)) for array in arrays]
    tolerance = 1e-6 if function is _normalized and dtype == "float32" else 0
    expected, _ = torch.utils._pytree.tree_flatten(function(torch, *tensors))
    found = _recorded(torch, lambda *own: function(torch, *own), tensors)(*tensors)
    torch.testing.assert_close(list(found), expected, rtol=tolerance, atol=tolerance)


def _recorded(torch: Any, function: Callable[..., Any], tensors: list[Any]) -> Any:
    from kerasdl.train.backends.torch_recording import record

    program, _ = record(function, tensors, torch.utils._pytree.tree_flatten(tuple(tensors))[1])
    return program


def test_steps_of_optimizers_pass_over_weights_few_times(torch: Any) -> None:
    def step(weight: Any, moment: Any, second: Any, gradient: Any, share: Any) -> Any:
        moment = moment + (gradient - moment) * share
        second = second + share * (gradient**2 - second)
        decayed = weight - weight * share
        return decayed - moment * share / (second.sqrt() + 1e-7), moment, second, gradient + moment / second

    tensors = [torch.rand(3, 50) for _ in range(4)] + [torch.rand(3, 1)]
    program = _recorded(torch, step, tensors)
    torch.testing.assert_close(program(*tensors), step(*tensors), rtol=1e-5, atol=1e-6)
    passes = [node.kind() for node in program.graph.nodes() if node.kind().startswith("aten::")]
    expected = ["lerp", "pow", "lerp", "addcmul", "mul", "rsqrt", "reciprocal", "add", "addcdiv", "addcdiv"]
    assert sorted(passes) == sorted(f"aten::{name}" for name in expected)


def test_what_is_smaller_than_a_sum_is_computed_before_it(torch: Any) -> None:
    tensors = [torch.rand(3, 50), torch.rand(3, 1), torch.rand(3, 1)]
    program = _recorded(torch, lambda rows, one, other: rows - one / other, tensors)
    torch.testing.assert_close(program(*tensors)[0], tensors[0] - tensors[1] / tensors[2])
    kinds = [node.kind() for node in program.graph.nodes()]
    assert "aten::div" in kinds
    assert "aten::addcdiv" not in kinds


def test_roots_of_zeros_and_of_what_has_none(torch: Any) -> None:
    given = torch.tensor([0.0, 1e-30, 4.0, -1.0, float("inf"), float("nan")])
    (found,) = _recorded(torch, lambda x: (x.sqrt(),), [given])(given)
    torch.testing.assert_close(found, given.sqrt(), equal_nan=True)


@pytest.mark.parametrize("seen", [0, 1])
def test_repeated_steps_are_those_of_a_loop(torch: Any, seen: int) -> None:
    from kerasdl.train.backends.torch_player import repeated

    def step(weight: Any, count: Any, data: Any, rows: Any) -> Any:
        batch = data.index_select(0, rows)
        return (weight + batch.mean(), count + 1, *[batch.sum(0)] * seen)

    state = (torch.zeros(4), torch.zeros((), dtype=torch.int32))
    data, rows = torch.rand(10, 4), torch.tensor([[0, 1, 2], [7, 8, 9], [3, 3, 3]])
    found = repeated(_recorded(torch, step, [*state, data, rows[0]]), 2, 1, seen)(*state, data, rows)
    expected, sums = state, []
    for own in rows:
        *expected, summed = [*step(*expected, data, own), None][:3]
        sums.append(summed)
    torch.testing.assert_close(list(found), [*expected, *([torch.stack(sums)] if seen else [])])


def test_numbers_too_small_to_matter_are_zero_in_an_epoch_alone(torch: Any) -> None:
    from kerasdl.train.backends.torch import epoch_program

    small = torch.full((4,), 1e-39)
    rows = torch.zeros((3, 2), dtype=torch.int64)
    epoch = epoch_program(
        lambda state, batch: ((state[0] * 0.5, state[1]), []), lambda state: state, None, lambda: None, steps=3
    )
    (after, _), _, _ = epoch((small, torch.ones(())), (torch.ones(5, 1),), rows, rows[0, :0])
    assert after.tolist() == [0.0] * 4
    assert (small * 0.5 != 0).all()


def _operations(torch: Any, function: Callable[..., Any], tensors: list[Any]) -> list[tuple[str, tuple[int, ...]]]:
    """Records, and returns the names and shapes of what is left, in order."""
    from kerasdl.train.backends.torch_recording import _Recorder
    from kerasdl.train.backends.torch_shortening import reorder

    recorder = _Recorder(tensors)
    with recorder:
        outputs = function(*tensors)
    recording = recorder.finish(outputs)
    reorder(recording)
    recording.graph.eliminate_dead_code()
    return [
        (str(node.target), tuple(node.meta["tensor_meta"].shape))
        for node in recording.graph.nodes
        if node.op == "call_function"
    ]


def test_work_on_whole_tensors_is_left_out(torch: Any) -> None:
    def function(rows: Any, scale: Any) -> Any:
        whole = rows.expand(rows.shape).clone().permute(0, 1) ** 1.0
        return whole * torch.ops.aten.div.Scalar(scale.expand(rows.shape), 3), torch.neg(rows).sum(0)

    assert _operations(torch, function, [torch.ones(16, 8), torch.ones(1, 8)]) == [
        ("aten.div.Scalar", (1, 8)),
        ("aten.expand.default", (16, 8)),
        ("aten.mul.Tensor", (16, 8)),
        ("aten.sum.dim_IntList", (8,)),
        ("aten.neg.default", (8,)),
    ]


def test_each_operation_is_recorded_once_and_constants_never(torch: Any) -> None:
    outside = torch.arange(8.0)

    def function(rows: Any) -> Any:
        constant = torch.ones_like(rows[0]) + outside * 2
        return rows * constant + rows * constant, rows + 1, rows + 1.0, rows + True

    names = [name for name, _ in _operations(torch, function, [torch.ones(4, 8)])]
    assert names == ["aten.mul.Tensor", *["aten.add.Tensor"] * 4]
    given = torch.rand(4, 8)
    found = _recorded(torch, function, [torch.ones(4, 8)])(given)
    torch.testing.assert_close(list(found), list(function(given)))


def test_what_is_drawn_is_drawn_each_time(torch: Any) -> None:
    program = _recorded(torch, lambda rows: (rows + torch.rand(3), rows + torch.rand(3)), [torch.ones(3)])
    torch.manual_seed(3)
    one, other = program(torch.zeros(3))
    again, _ = program(torch.zeros(3))
    assert len({tuple(drawn.tolist()) for drawn in (one, other, again)}) == 3


def test_operations_that_give_several_tensors_are_played(torch: Any) -> None:
    def function(rows: Any) -> Any:
        first, *others = rows.unbind(0)
        return (*torch.split(first, [1, 3]), *others, *torch.max(rows, dim=0), *torch.var_mean(rows, dim=1))

    given = torch.rand(3, 4)
    found = _recorded(torch, function, [torch.ones(3, 4)])(given)
    torch.testing.assert_close(list(found), list(function(given)))


def test_a_value_that_differs_from_step_to_step_cannot_be_asked_for(torch: Any) -> None:
    with pytest.raises(RuntimeError, match="asks for a tensor's value"):
        _recorded(torch, lambda rows: (rows * float(rows.sum()),), [torch.ones(3)])
    with pytest.raises(RuntimeError, match="asks for a tensor's value"):
        _recorded(torch, lambda rows: (rows * torch.equal(rows, rows + 1),), [torch.ones(3)])
    # Of what is the same each time it can.
    program = _recorded(torch, lambda rows: (rows * float(torch.ones(3).sum()),), [torch.ones(3)])
    assert program(torch.ones(3))[0].tolist() == [3.0] * 3


@pytest.mark.parametrize("bias", [True, False])
def test_convolutions_with_their_gradients_are_played_by_torchscript(torch: Any, bias: bool) -> None:
    def loss(kernel: Any, offset: Any, images: Any) -> Any:
        found = torch.nn.functional.conv2d(images, kernel, offset if bias else None, stride=[2, 2])
        pooled, _ = torch.nn.functional.max_pool2d(found, 2, return_indices=True)
        return (pooled.to(torch.float64).to(memory_format=torch.channels_last) ** 2).sum().float()

    function = torch.func.grad_and_value(loss, argnums=(0, 1) if bias else 0)
    tensors = [torch.rand(4, 3, 3, 3), torch.rand(4), torch.rand(2, 3, 12, 12)]
    flat = lambda *own: torch.utils._pytree.tree_leaves(function(*own))  # noqa: E731
    program = _recorded(torch, flat, tensors)
    assert isinstance(program, torch.jit.ScriptFunction)
    others = [torch.rand_like(tensor) for tensor in tensors]
    torch.testing.assert_close(list(program(*others)), flat(*others))
