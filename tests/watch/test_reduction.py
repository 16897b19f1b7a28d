"""The reduction itself: a pure function that can be compiled and mapped over members."""

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

SHAPES = [(3, 40), (5,), (), (130, 130), (7, 3, 2), (4096, 8), (33,), (40, 3), (5,)]
SIZES = [int(np.prod(shape)) for shape in SHAPES]


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


def ways(backend_name: str) -> list[Callable[..., Any]]:
    """Returns what steps are reduced by on a backend: XLA's programs, and what takes calls of its own."""
    from kerasdl.watch.reduction import reduce

    if backend_name == "jax":
        return [reduce]
    own = importlib.import_module(f"kerasdl.watch.steps.{backend_name}").norms
    return [reduce, partial(reduce, norms=own)]


def read(norms: Any) -> np.ndarray:
    from keras import ops

    from kerasdl.watch.reduction import quantities

    return quantities(ops.convert_to_numpy(norms), SIZES)


def test_it_agrees_with_numpy(backend_name: str) -> None:
    from keras import ops

    parts = tensors(0), tensors(1), tensors(2)
    parts[0][0][:, :10] = 0
    parts[0][1][:] = 0
    parts[0][4][0, 0, 0] = np.nan
    expected = by_hand(*parts)
    expected[4, 3] = np.nan
    for reduce in ways(backend_name):
        gradients, old, new = ([ops.convert_to_tensor(part) for part in own] for own in parts)
        rows = read(reduce(gradients, old, new))
        assert rows.shape == (len(SHAPES), 4) and rows.dtype == "float32"
        np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-7)
        missing = read(reduce([None, *gradients[1:]], old, new))
        np.testing.assert_array_equal(np.isnan(missing[0]), [True, False, False, True])
        np.testing.assert_array_equal(missing[1:], rows[1:])


def test_a_count_of_all_leaves_no_share_of_zeros() -> None:
    from kerasdl.watch.reduction import quantities

    for size in (1, 10_000, 3_999_999, 10_000_001, 80_000_000):
        norms = np.ones((4, 1), "float32")
        norms[3] = np.sqrt(np.float32(size))
        assert quantities(norms, [size])[0, 3] == 0
        if size < 4_000_000:
            norms[3] = np.sqrt(np.float32(size - 1))
            np.testing.assert_allclose(quantities(norms, [size])[0, 3], 1 / size, rtol=1e-6)


@pytest.mark.parametrize("size", [2**22, 1999 * 2003, 4_000_037])
def test_long_weights_are_summed_as_well_as_short_ones(size: int, backend_name: str) -> None:
    from keras import ops

    from kerasdl.watch.reduction import reduce_flat

    weight = (np.random.default_rng(0).normal(size=size) + 3).astype("float32")
    norm = np.linalg.norm(weight.astype("float64"))
    tensor = ops.convert_to_tensor(weight)
    found = [reduce([tensor], [tensor], [tensor]) for reduce in ways(backend_name)]
    for norms in (*found, reduce_flat(tensor, tensor, tensor, [size])):
        np.testing.assert_allclose(ops.convert_to_numpy(norms)[:2, 0], norm, rtol=1e-6)


def test_flat_weights_give_the_same(backend_name: str) -> None:
    from keras import ops

    from kerasdl.watch.reduction import reduce, reduce_flat

    parts = [tensors(seed) for seed in range(3)]
    parts[0][0][:, :10] = 0
    parts[0][1][:] = 0
    parts[0][4][0, 0, 0] = np.nan
    flat = [ops.convert_to_tensor(np.concatenate([part.ravel() for part in own])) for own in parts]
    rows = read(reduce_flat(*flat, SIZES))
    np.testing.assert_allclose(rows, read(reduce(*parts)), rtol=1e-5, atol=1e-7)
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


# Many of one size and single ones, long and short, 2053 prime; and many of different sizes.
MIXED = [1024, 16, 1024, 16, 1024, 2053, 1, 70_001, 640, 2053, 1, 45]
DIFFERENT = [512 + 32 * place for place in range(40)]


@pytest.mark.parametrize(("sizes", "brief"), [(MIXED, True), (MIXED, False), (DIFFERENT, False)])
def test_flat_weights_of_members_give_what_numpy_finds_for_each(
    sizes: list[int], brief: bool, backend_name: str
) -> None:
    from keras import ops

    from kerasdl.train.backends import current_backend
    from kerasdl.watch.reduction import quantities, reduce_flat

    random = np.random.default_rng(0)
    parts = random.normal(size=(3, 3, sum(sizes))).astype("float32")
    parts[0, 1, ::7] = 0
    parts[0, 2, : sizes[0]] = np.nan
    backend = current_backend()
    mapped = backend.map_members(lambda *given: reduce_flat(*given, sizes), (0, 0, 0))
    norms = ops.convert_to_numpy(backend.compiled(mapped, brief=brief)(*map(ops.convert_to_tensor, parts)))
    ends = np.cumsum(sizes)[:-1]
    for member in range(3):
        expected = by_hand(*(np.split(own[member], ends) for own in parts))
        if member == 2:
            expected[0, 3] = np.nan
        np.testing.assert_allclose(quantities(norms[member], sizes), expected, rtol=1e-5, atol=1e-7)
