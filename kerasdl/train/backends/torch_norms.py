"""Norms of long tensors on PyTorch, whose own adds one square after another and strays from the sum as it grows."""

import torch

_LONG, _ROW = 2**16, 2**12


def norm(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the 2-norm of a tensor.

    Args:
        tensor: Of any shape.

    Returns:
        A scalar.
    """
    return torch.linalg.vector_norm(shortened(tensor))


def shortened(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the norms of a long tensor's rows and what is left over, whose norm is the tensor's; others as they are.

    Args:
        tensor: Of any shape.

    Returns:
        A tensor of the same norm.
    """
    if tensor.numel() <= _LONG:
        return tensor
    flat = tensor.reshape(-1)
    end = len(flat) - len(flat) % _ROW
    return torch.cat([torch.linalg.vector_norm(flat[:end].reshape(-1, _ROW), dim=1), flat[end:]])
