"""Reads the tensors of torch's checkpoint files without torch, and without running anything that a file names."""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kerasdl.errors import UserError

# The first number of files as torch wrote them before 1.6, and still writes them when asked to.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

_DTYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "|b1",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Admits the names that a file of tensors needs; each stands for something of this module that only keeps facts."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no file of tensors needs")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        # ("storage", type, key, device, numbers) in files of every age.
        return _Storage(str(pid[2]), pid[1])


def read_torch_checkpoint(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a state dict that `torch.save` wrote: the zip files of today, and those from before torch 1.6.

    A checkpoint is a pickle; here an unpickler reads it that admits tensors alone, so that no code of the file runs.

    Args:
        path: The file.

    Returns:
        Arrays by name, in the file's order. What is no tensor is left out.

    Raises:
        UserError: The file is missing or no such checkpoint, or it holds what is not admitted.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            found, numbers = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
            if not isinstance(found, dict):
                raise ValueError("it holds no dictionary of tensors")
            tensors = {name: one for name, one in found.items() if isinstance(one, _Tensor)}
            return {str(name): _array(tensor, numbers) for name, tensor in tensors.items()}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}; give a file that can be read") from error
    # Damaged bytes may break an unpickler in any way.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path}: not a torch checkpoint of tensors: {reason}; save a state dict with torch.save"
        ) from error


Numbers = Callable[[_Storage], np.ndarray]


def _read_zip(file: BinaryIO) -> tuple[Any, Numbers]:
    archive = zipfile.ZipFile(file)
    pickled = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
    if pickled is None:
        raise ValueError("the archive has no data.pkl")
    folder = pickled.removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("it was written on a big-endian machine")
    found = _Unpickler(io.BytesIO(archive.read(pickled))).load()
    return found, lambda storage: np.frombuffer(archive.read(f"{folder}data/{storage.key}"), storage.dtype)


def _read_legacy(file: BinaryIO) -> tuple[Any, Numbers]:
    file.seek(0)
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("its first number is another")
    _Unpickler(file).load()  # The version of the protocol.
    if not _Unpickler(file).load()["little_endian"]:
        raise ValueError("it was written on a big-endian machine")
    found = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    dtypes = {one.storage.key: one.storage.dtype for one in found.values() if isinstance(one, _Tensor)}
    pieces: dict[str, np.ndarray] = {}
    for key in keys:
        # Of storages that no tensor uses not even the size in bytes is known.
        dtype = np.dtype(dtypes[str(key)])
        size = int.from_bytes(file.read(8), "little") * dtype.itemsize
        data = file.read(size)
        if len(data) != size:
            raise ValueError("it ends too early")
        pieces[str(key)] = np.frombuffer(data, dtype)
    return found, lambda storage: pieces[storage.key]


def _array(tensor: _Tensor, numbers: Numbers) -> np.ndarray:
    flat = numbers(tensor.storage)
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or min((*shape, *strides, tensor.offset), default=0) < 0:
        raise ValueError("a tensor has an impossible shape")
    if 0 in shape:
        return np.zeros(shape, flat.dtype)
    last = tensor.offset + sum((side - 1) * stride for side, stride in zip(shape, strides, strict=True))
    # Strides are the file's word: they must not lead out of its numbers.
    if last >= len(flat):
        raise ValueError("a tensor is larger than its storage")
    in_bytes = tuple(stride * flat.itemsize for stride in strides)
    return np.lib.stride_tricks.as_strided(flat[tensor.offset :], shape, in_bytes, writeable=False).copy()
