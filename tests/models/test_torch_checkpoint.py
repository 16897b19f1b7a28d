import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.models.torch_checkpoint import read_torch_checkpoint

pytestmark = pytest.mark.backend_free

KINDS = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


class Calls:
    """Pickled, it calls a function when it is read."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_are_those_that_torch_saved(tmp_path: Path, zipped: bool) -> None:
    torch = pytest.importorskip("torch")
    tensors = {kind: torch.arange(6).reshape(2, 3).to(getattr(torch, kind)) for kind in KINDS}
    base = torch.arange(24.0).reshape(4, 6)
    tensors |= {
        "turned": base.T,
        "part": base[1:3, ::2],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    path = tmp_path / "tensors.pth"
    torch.save(OrderedDict(tensors, epoch=3), path, _use_new_zipfile_serialization=zipped)
    found = read_torch_checkpoint(path)
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        expected = tensor.detach().numpy()
        np.testing.assert_array_equal(found[name], expected, strict=True)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_that_a_file_names_is_run(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "trace"
    data = pickle.dumps({"weights": Calls(Path.touch, trace)}, protocol=2)
    path = tmp_path / "evil.pth"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("evil/data.pkl", data)
    else:
        path.write_bytes(data)
    with pytest.raises(UserError, match=r"evil\.pth: not a torch checkpoint of tensors: it names"):
        read_torch_checkpoint(path)
    assert not trace.exists()


def test_strides_cannot_lead_out_of_a_storage(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    path = tmp_path / "tensors.pth"
    torch.save({"x": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in files if name.endswith("data.pkl"))
    # The shape (4,) is pickled as BININT1 4, TUPLE1.
    assert files[pickled].count(b"K\x04\x85") == 1
    files[pickled] = files[pickled].replace(b"K\x04\x85", b"K\x40\x85")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    with pytest.raises(UserError, match="a tensor is larger than its storage"):
        read_torch_checkpoint(path)


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", pickle.dumps([1, 2]), pickle.dumps(7)])
def test_other_files_are_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"other\.pth: not a torch checkpoint") as caught:
        read_torch_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"x": torch.arange(100.0)}, buffer, _use_new_zipfile_serialization=False)
    path = tmp_path / "short.pth"
    path.write_bytes(buffer.getvalue()[:-8])
    with pytest.raises(UserError, match="it ends too early"):
        read_torch_checkpoint(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.pth: No such file"):
        read_torch_checkpoint(tmp_path / "none.pth")
