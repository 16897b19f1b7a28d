"""TorchScript archives are programs: they are loaded only where that was asked for."""

import zipfile

import keras
import pytest

from kerasdl.errors import UserError
from kerasdl.safety import load_torchscript

ON_TORCH = keras.backend.backend() == "torch"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:DeprecationWarning")
@pytest.mark.skipif(not ON_TORCH, reason="torch's own format")
def test_an_archive_loads_only_when_it_is_said_to_be_trusted(tmp_path):
    import torch

    path = tmp_path / "m.pt"
    torch.jit.trace(torch.nn.Linear(3, 2), torch.ones(1, 3)).save(path)
    with pytest.raises(UserError, match="a program of its maker's; it is loaded only if"):
        load_torchscript(path)
    assert load_torchscript(path, trusted=True)(torch.ones(4, 3)).shape == (4, 2)


@pytest.mark.skipif(not ON_TORCH, reason="torch's own format")
def test_pickled_modules_are_not_loaded_even_so(tmp_path):
    import torch

    torch.save(torch.nn.Linear(3, 2), tmp_path / "m.pt")
    with pytest.raises(UserError, match="pickled models are not loaded"):
        load_torchscript(tmp_path / "m.pt", trusted=True)


def test_what_is_no_archive(tmp_path):
    path = tmp_path / "m.pt"
    with pytest.raises(UserError, match="no such file"):
        load_torchscript(path, trusted=True)
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="not a readable archive"):
        load_torchscript(path, trusted=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/code/../../../evil.py", "")
    with pytest.raises(UserError, match="outside of its folder"):
        load_torchscript(path, trusted=True)
