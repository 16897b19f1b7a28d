"""Reads IDX, the format of MNIST and its kin."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from kerasdl.errors import UserError

# The third byte of a file names its type; numbers are big-endian (http://yann.lecun.com/exdb/mnist/).
TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path) -> np.ndarray:
    """Reads one IDX file, gzipped where its name ends in `.gz`.

    Args:
        path: The file.

    Returns:
        The array, in the machine's byte order.

    Raises:
        UserError: The file is not IDX, or is cut short.
    """
    content = _bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES or not content[3]:
        raise UserError(f"{path}: not an IDX file (its first four bytes are wrong); get the file anew")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{path}: cut short within its header; get the file anew")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    dtype = np.dtype(TYPES[content[2]])
    wanted = math.prod(shape) * dtype.itemsize
    if len(content) - start != wanted:
        fault = "cut short" if len(content) - start < wanted else "too long"
        raise UserError(
            f"{path}: {fault}, {len(content) - start} bytes where its header says {wanted}; get the file anew"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _bytes(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except EOFError:
        raise UserError(f"{path}: the gzip file is cut short; get the file anew") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path}: not a sound gzip file ({error}); get the file anew") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend its permissions") from None
