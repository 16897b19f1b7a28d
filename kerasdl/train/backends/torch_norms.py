"""Norms of long tensors on PyTorch, whose own adds one square after another and strays from the sum as it grows."""

from functools import cache

import torch

_LONG = 2**16


def norm(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the 2-norm of a tensor.

    Args:
        tensor: Of any shape.

    Returns:
        A scalar.
    """
    return torch.linalg.vector_norm(shortened(tensor))


def shortened(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the norms of a long tensor's rows, whose norm is the tensor's; other tensors as they are.

    Args:
        tensor: Of any shape.

    Returns:
        A tensor of the same norm.
    """
    length = _row_length(tensor.numel())
    return tensor if length is None else torch.linalg.vector_norm(tensor.reshape(-1, length), dim=1)


@cache
def _row_length(size: int) -> int | None:
    """Returns the length of rows that a long tensor divides into, `None` for others and where there is none."""
    return next((length for length in range(4096, 15, -1) if size % length == 0), None) if size > _LONG else None
