"""Scaling goes there and back, and never divides by zero."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasdl.data.dataset import Split, fingerprint
from kerasdl.data.scaling import by_range, constant_notes, standardize
from kerasdl.errors import UserError

tables = hnp.arrays(
    "float64",
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=20),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(tables)
def test_standardized_rows_come_back(raw):
    scaling, constant = standardize(raw)
    assert (scaling.scale > 0).all()
    scaled = scaling.apply(raw)
    assert scaled.dtype == np.float32 and scaling.scale.dtype == scaling.offset.dtype == np.float32
    np.testing.assert_allclose(scaling.invert(scaled), raw, rtol=1e-5, atol=1e-5 * max(1, np.abs(raw).max()))
    assert (constant >= (np.ptp(raw, axis=0) == 0)).all()


def test_standardized_columns_have_mean_0_and_deviation_1():
    raw = np.random.default_rng(0).normal((5, -300), (2, 40), size=(1000, 2))
    scaling, constant = standardize(raw)
    scaled = scaling.apply(raw)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-5)
    assert not constant.any()


def test_images_are_standardized_by_channel():
    raw = np.random.default_rng(0).normal((5, -300, 0), (2, 40, 1), size=(50, 4, 6, 3))
    scaling, constant = standardize(raw)
    assert scaling.offset.shape == scaling.scale.shape == (1, 1, 3) and constant.shape == (3,)
    np.testing.assert_allclose(scaling.apply(raw).std(axis=(0, 1, 2)), 1, rtol=1e-5)


@given(hnp.arrays("uint8", (3, 2, 2, 1)))
def test_pixels_go_to_one_and_back(raw):
    scaling = by_range(255)
    scaled = scaling.apply(raw)
    assert scaled.dtype == np.float32 and scaled.min() >= 0 and scaled.max() <= 1
    assert np.array_equal(np.round(scaling.invert(scaled)), raw)


def test_applying_leaves_the_raw_rows_alone():
    raw = np.ones((3, 2), "float32")
    standardize(raw)[0].apply(raw)
    assert (raw == 1).all()


def test_constant_features_are_named_or_refused():
    assert constant_notes(np.array([False, False]), ("a", "b"), "f") == []
    (note,) = constant_notes(np.array([False, True]), ("a", "b"), "f")
    assert note.endswith(": b")
    with pytest.raises(UserError, match="f: every feature is constant"):
        constant_notes(np.array([True, True]), ("a", "b"), "f")


def test_the_fingerprint_tells_contents_types_shapes_and_names_apart():
    x, y = np.arange(6, dtype="float32").reshape(3, 2), np.arange(3)
    changed = x.copy()
    changed[0, 0] = 1
    prints = [
        fingerprint([Split(x, y)], ("a", "b")),
        fingerprint([Split(changed, y)], ("a", "b")),
        fingerprint([Split(x.reshape(2, 3), y)], ("a", "b")),
        fingerprint([Split(x.astype("float64"), y)], ("a", "b")),
        fingerprint([Split(x, y)], ("ab",)),
        fingerprint([Split(x, y)], ("a", "c")),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == fingerprint([Split(np.asfortranarray(x), y)], ("a", "b"))
    assert len(prints[0]) == 64
