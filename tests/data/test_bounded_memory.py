"""Arrays that memory would not hold are mapped from disk, with the same contents, and nothing is left half-written."""

import os
import tracemalloc

import numpy as np
import pytest

from kerasdl import data
from kerasdl.data import cache, decoding
from kerasdl.errors import UserError


@pytest.fixture
def pictures(tmp_path, draw_image):
    for name in ("ant", "bee"):
        for number in range(30):
            draw_image(tmp_path / "set" / name / f"{number}.png", size=(64, 64), mode="RGB")
    return tmp_path / "set"


def assert_equal(one, other):
    assert one.fingerprint == other.fingerprint and one.classes == other.classes
    for name in ("train", "validation", "test"):
        first, second = getattr(one, name), getattr(other, name)
        assert np.array_equal(first.x, second.x) and np.array_equal(first.y, second.y)
        assert first.x.dtype == second.x.dtype and first.y.dtype == second.y.dtype


def test_mapped_arrays_hold_the_same(pictures, own_cache):
    kept = data.load(f"folder:{pictures}", memory="1GB")
    assert not isinstance(kept.train.x, np.memmap) and not own_cache.exists()
    mapped = data.load(f"folder:{pictures}", memory="100KB")
    for split in (mapped.train, mapped.validation, mapped.test):
        assert isinstance(split.x, np.memmap) and split.x.flags.writeable
    assert_equal(kept, mapped)
    assert "read from disk" in mapped.notes[-1]
    assert [path.name for path in own_cache.iterdir() if path.name.startswith("partial-")] == []


def test_images_are_decoded_once(pictures, monkeypatch):
    first = data.load(f"folder:{pictures}", memory="100KB")

    def never(*arguments):
        raise AssertionError("decoded again")

    monkeypatch.setattr(decoding, "read_image", never)
    assert_equal(first, data.load(f"folder:{pictures}", memory="100KB"))
    roomy = data.load(f"folder:{pictures}", memory="1GB")
    assert_equal(first, roomy)
    assert not isinstance(roomy.train.x, np.memmap) and roomy.notes == ()


def test_what_changes_the_arrays_changes_the_entry(pictures, draw_image):
    first = data.load(f"folder:{pictures}", memory="100KB")
    assert data.load(f"folder:{pictures}", memory="50KB", seed=1).fingerprint != first.fingerprint
    assert data.load(f"folder:{pictures}", memory="50KB", size=32).input_shape == (32, 32, 3)
    draw_image(pictures / "ant" / "0.png", size=(64, 64), mode="RGB")
    assert data.load(f"folder:{pictures}", memory="100KB").fingerprint != first.fingerprint


def test_a_mapped_array_does_not_change_its_file(pictures):
    first = data.load(f"folder:{pictures}", memory="100KB")
    first.train.x[:] = 0
    again = data.load(f"folder:{pictures}", memory="100KB")
    assert again.fingerprint == first.fingerprint and again.train.x.max() > 0


def test_a_damaged_entry_is_made_anew(pictures, own_cache):
    before = data.load(f"folder:{pictures}", memory="100KB").fingerprint
    (path,) = own_cache.glob("*/train-x.npy")
    path.write_bytes(path.read_bytes()[:1000])
    assert data.load(f"folder:{pictures}", memory="100KB").fingerprint == before


def test_a_killed_decode_leaves_nothing_half(pictures, own_cache, monkeypatch):
    real = cache.write_array

    def killed(path, *arguments):
        real(path, *arguments)
        if path.name == "validation-x.npy":
            raise KeyboardInterrupt

    monkeypatch.setattr(cache, "write_array", killed)
    with pytest.raises(KeyboardInterrupt):
        data.load(f"folder:{pictures}", memory="100KB")
    assert list(own_cache.iterdir()) == []
    # What a process leaves that had no time to tidy up is removed by a later one.
    abandoned = own_cache / "partial-1-dead"
    abandoned.mkdir()
    (abandoned / "images").write_bytes(b"half")
    for path in (abandoned / "images", abandoned):
        os.utime(path, (1, 1))
    monkeypatch.setattr(cache, "write_array", real)
    data.load(f"folder:{pictures}", memory="100KB")
    assert not abandoned.exists() and len(list(own_cache.iterdir())) == 1


def test_old_entries_go(pictures, own_cache, monkeypatch):
    monkeypatch.setattr(cache, "MOST_ENTRIES", 2)
    first = data.load(f"folder:{pictures}", memory="100KB")
    (oldest,) = own_cache.iterdir()
    for seed in (1, 2):
        os.utime(oldest / "facts.json", (1, 1))
        data.load(f"folder:{pictures}", memory="100KB", seed=seed)
    assert len(list(own_cache.iterdir())) == 2 and not oldest.exists()
    # What is mapped goes on being readable where the system lets files go that are open.
    assert os.name == "nt" or first.train.x.max() > 0


def test_a_full_disk_is_told(pictures, monkeypatch, own_cache):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(UserError, match=r"the disk is full .*KERASDL_CACHE"):
        data.load(f"folder:{pictures}", memory="100KB")
    monkeypatch.undo()
    monkeypatch.setenv("KERASDL_CACHE", str(own_cache.parent))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_array", full)
    with pytest.raises(UserError, match=r"the disk is full .*KERASDL_CACHE"):
        data.load(f"folder:{pictures}", memory="100KB")
    assert list(own_cache.iterdir()) == []


def test_memory_stays_bounded(tmp_path, draw_image):
    for name in ("ant", "bee"):
        for number in range(50):
            draw_image(tmp_path / "set" / name / f"{number}.png", size=(8, 8))
    tracemalloc.start()
    try:
        dataset = data.load(f"folder:{tmp_path / 'set'}", size=512, memory="1MB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    total = sum(split.x.nbytes for split in (dataset.train, dataset.validation, dataset.test))
    assert total > 100e6 and peak < 70e6


def test_named_image_sets_are_bounded_too():
    kept, mapped = data.load("digits?size=16&channels=3"), data.load("digits?size=16&channels=3&memory=1MB")
    assert isinstance(mapped.train.x, np.memmap) and kept.input_shape == (16, 16, 3)
    assert_equal(kept, mapped)
    plain = data.load("digits")
    assert_equal(plain, data.load("digits?memory=10KB"))
