"""Reads the binary version of CIFAR-10; the Python version is pickled, and is never opened."""

from pathlib import Path

import numpy as np

from kerasdl.errors import UserError

TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_FILE = "test_batch.bin"

# One byte of label, then 32 x 32 bytes of red, of green and of blue (https://www.cs.toronto.edu/~kriz/cifar.html).
_RECORD = 1 + 3 * 32 * 32


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads one batch.

    Args:
        path: A file such as `data_batch_1.bin`.

    Returns:
        Images, uint8, `(rows, 32, 32, 3)`, and labels, uint8, `(rows,)`.

    Raises:
        UserError: The file's length is not that of whole records.
    """
    content = np.fromfile(path, "uint8")
    if not len(content) or len(content) % _RECORD:
        raise UserError(
            f"{path}: {len(content)} bytes are not whole records of {_RECORD}; the file is cut short or not the "
            "binary version of CIFAR-10; get it anew"
        )
    records = content.reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]
