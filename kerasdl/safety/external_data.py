"""Checks where an ONNX file says that its weights lie: beside it, in plain files, within their ends."""

import math
from pathlib import Path
from typing import Any

from kerasdl.safety.archive import leaves_folder

KEYS = {"location", "offset", "length", "checksum"}


def external_fault(tensor: Any, folder: Path) -> str | None:
    """Says what is wrong with the place of a tensor that lies outside of the ONNX file.

    Args:
        tensor: The `onnx.TensorProto`.
        folder: The folder of the ONNX file.

    Returns:
        `"would be read from ..."`, or `None` where the place is a plain file in the folder that holds all of it.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    strange = sorted(set(entries) - KEYS)
    if strange or len(entries) != len(tensor.external_data):
        return f"has a place with the key {strange[0][:100]!r}" if strange else "has a place with a key twice"
    location = entries.get("location", "")
    # onnxruntime takes a location of this form for an address in its own memory.
    if leaves_folder(location) or "*" in location:
        return f"would be read from {location[:200]!r}, outside of the model's folder"
    fault = _file_fault(folder, location)
    return fault or _range_fault(tensor, entries, (folder / location).stat().st_size)


def _file_fault(folder: Path, location: str) -> str | None:
    place = folder
    for part in Path(location).parts:
        place = place / part
        if place.is_symlink():
            return f"would be read from {location[:200]!r}, where {part!r} is a symbolic link"
    if not place.is_file():
        return f"would be read from {location[:200]!r}, and there is no such file"
    if place.stat().st_nlink != 1:
        return f"would be read from {location[:200]!r}, a file that has other names elsewhere (hard links); copy it"
    return None


def _range_fault(tensor: Any, entries: dict[str, str], available: int) -> str | None:
    try:
        offset = int(entries.get("offset") or 0)
        length = int(entries["length"]) if entries.get("length") else available - offset
    except ValueError:
        return "has an offset or length that is no number"
    if offset < 0 or length < 0 or offset + length > available:
        return f"would be read from byte {offset} to {offset + length} of a file of {available:,} bytes"
    wanted = tensor_bytes(tensor)
    if wanted is not None and length < wanted:
        return f"has the shape {tuple(tensor.dims)}, {wanted:,} bytes, of which {length:,} are there"
    return None


def tensor_bytes(tensor: Any) -> int | None:
    """Returns how many bytes a tensor's shape and type take; `None` for text and where a number takes half a byte.

    Args:
        tensor: The `onnx.TensorProto`.
    """
    from onnx import TensorProto, helper

    if tensor.data_type == TensorProto.STRING or tensor.data_type not in helper.get_all_tensor_dtypes():
        return None
    itemsize = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    packed = TensorProto.DataType.Name(tensor.data_type).endswith(("INT4", "INT2", "4E2M1"))
    return None if packed else math.prod(tensor.dims) * int(itemsize)
