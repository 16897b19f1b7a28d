"""The reduction itself: a pure function that can be compiled and mapped over members."""

import numpy as np
import pytest

SHAPES = [(3, 40), (5,), (), (130, 130), (7, 3, 2), (4096, 8), (33,), (40, 3), (5,)]


def tensors(seed: int, members: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    leading = (members,) if members else ()
    return [random.normal(size=(*leading, *shape)).astype("float32") for shape in SHAPES]


def by_hand(gradients: list[np.ndarray], old: list[np.ndarray], new: list[np.ndarray]) -> np.ndarray:
    rows = []
    for gradient, before, after in zip(gradients, old, new, strict=True):
        gradient, before, after = (part.astype("float64").ravel() for part in (gradient, before, after))
        norms = np.linalg.norm(gradient), np.linalg.norm(before)
        rows.append([*norms, np.linalg.norm(after - before) / norms[1], np.mean(gradient == 0)])
    return np.array(rows)


@pytest.mark.parametrize("side_by_side", [True, False])
def test_it_agrees_with_numpy(side_by_side: bool, backend_name: str) -> None:
    from keras import ops

    from kerasdl.watch.reduction import reduce

    gradients, old, new = tensors(0), tensors(1), tensors(2)
    gradients[0][:, :10] = 0
    gradients[1][:] = 0
    rows = ops.convert_to_numpy(reduce(gradients, old, new, side_by_side))
    assert rows.shape == (len(SHAPES), 4)
    np.testing.assert_allclose(rows, by_hand(gradients, old, new), rtol=1e-5, atol=1e-7)
    missing = ops.convert_to_numpy(reduce([None, *gradients[1:]], old, new, side_by_side))
    np.testing.assert_array_equal(np.isnan(missing[0]), [True, False, False, True])
    np.testing.assert_array_equal(missing[1:], rows[1:])


def test_flat_weights_give_the_same(backend_name: str) -> None:
    from keras import ops

    from kerasdl.watch.reduction import reduce, reduce_flat

    parts = [tensors(seed) for seed in range(3)]
    parts[0][0][:, :10] = 0
    parts[0][1][:] = 0
    parts[0][4][0, 0, 0] = np.nan
    flat = [ops.convert_to_tensor(np.concatenate([part.ravel() for part in own])) for own in parts]
    rows = ops.convert_to_numpy(reduce_flat(*flat, [int(np.prod(shape)) for shape in SHAPES]))
    np.testing.assert_allclose(rows, ops.convert_to_numpy(reduce(*parts)), rtol=1e-5, atol=1e-7)
    # How many zeros are beside NaN nobody asks.
    np.testing.assert_array_equal(np.isnan(rows[4]), [True, False, False, True])


def test_mapped_over_members_it_gives_what_each_gives_alone(backend_name: str) -> None:
    from keras import ops

    from kerasdl.train.backends import current_backend
    from kerasdl.watch.reduction import reduce

    parts = [[ops.convert_to_tensor(part) for part in tensors(seed, members=3)] for seed in range(3)]
    mapped = current_backend().map_members(reduce, (0, 0, 0))(*parts)
    for member in range(3):
        alone = reduce(*([part[member] for part in own] for own in parts))
        np.testing.assert_allclose(
            ops.convert_to_numpy(mapped[member]), ops.convert_to_numpy(alone), rtol=1e-6, atol=1e-7
        )


def test_torch_computes_the_same_with_its_own_calls(backend_name: str) -> None:
    if backend_name != "torch":
        pytest.skip("only torch has calls of its own")
    from keras import ops

    from kerasdl.watch import reduction
    from kerasdl.watch.steps import torch

    parts = [[ops.convert_to_tensor(part) for part in tensors(seed)] for seed in range(3)]
    parts[0][2] = None
    parts[0][3][:7] = 0
    parts[0][4][0] = float("nan")
    np.testing.assert_allclose(torch.reduce(*parts), reduction.reduce(*parts), rtol=1e-5, atol=1e-7)
