"""IDX files read back what was written, and damaged ones are named."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kerasdl.data import idx
from kerasdl.errors import UserError

CODES = {np.dtype(dtype).newbyteorder("="): code for code, dtype in idx.TYPES.items()}


def idx_bytes(array):
    """Spells an array as the format's description says."""
    header = bytes([0, 0, CODES[array.dtype], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@given(
    st.sampled_from(sorted(CODES, key=str)).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(max_dims=4, max_side=5))
    ),
    st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_round_trip(tmp_path, array, zipped):
    path = tmp_path / ("a.gz" if zipped else "a")
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    read = idx.read(path)
    assert read.dtype == array.dtype and read.shape == array.shape
    assert read.tobytes() == array.tobytes()


GOOD = idx_bytes(np.arange(24, dtype="uint8").reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a", b"", "not an IDX file"),
        ("a", b"PK\3\4 and more", "not an IDX file"),
        ("a", bytes([0, 0, 7, 1, 0, 0, 0, 0]), "not an IDX file"),
        ("a", GOOD[:9], "cut short within its header"),
        ("a", GOOD[:-1], "cut short, 23 bytes where its header says 24"),
        ("a", GOOD + b"x", "too long"),
        ("a.gz", GOOD, "not a sound gzip file"),
        ("a.gz", gzip.compress(GOOD, mtime=0)[:-9], "gzip file is cut short"),
    ],
)
def test_damage_is_named(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        idx.read(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
