"""Norms of flat weights, as the backend's programs find them."""

from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def backend(backend_name: str) -> ModuleType:
    from kerasdl.train.backends import current_backend

    if current_backend().FUSES_ROWS:
        pytest.skip(f"{backend_name} adds rows, which tests/watch/test_reduction.py tests")
    return current_backend()


@pytest.mark.parametrize("brief", [True, False])
def test_norms_are_numpys_for_each_member_of_a_program(brief: bool, backend: ModuleType) -> None:
    from keras import ops

    sizes = [1, 3, 4, 9, 1000, 70_001, 2**17]
    members = [(np.random.default_rng(size).normal(size=(3, size)) + 1).astype("float32") for size in sizes]
    norms = backend.compiled(backend.map_members(lambda given: [backend.norm(own) for own in given], (0,)), brief=brief)
    found = norms([ops.convert_to_tensor(own) for own in members])
    for own, norm in zip(members, found, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(norm), np.linalg.norm(own.astype("float64"), axis=1), rtol=1e-6)


def test_norms_tell_of_nan_and_infinity(backend: ModuleType) -> None:
    from keras import ops

    norm = backend.compiled(backend.map_members(backend.norm, (0,)))
    members = np.ones((3, 100), "float32")
    members[0, 99], members[1, 3] = np.nan, np.inf
    found = ops.convert_to_numpy(norm(ops.convert_to_tensor(members)))
    np.testing.assert_array_equal(found, np.float32([np.nan, np.inf, 10]))
