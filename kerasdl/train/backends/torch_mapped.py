"""Whether PyTorch maps over members."""

import torch


def is_mapped(tensor: torch.Tensor) -> bool:
    """Tells whether a tensor is one member's within `torch.func.vmap`, under gradients perhaps."""
    functorch = torch._C._functorch
    while functorch.is_functorch_wrapped_tensor(tensor):
        if functorch.is_batchedtensor(tensor):
            return True
        tensor = functorch.get_unwrapped(tensor)
    return False
