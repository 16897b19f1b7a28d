"""Finds where a network's feature maps are last seen at each resolution."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def skips(network: "keras.Model") -> list["keras.KerasTensor"]:
    """Finds the feature maps that a decoder takes from an encoder: one for each halving of the resolution.

    At each resolution the last maps are taken through which everything later passes (the end of a residual or inception
    block); where every path has a way round, as in NASNet, the last of those with most channels.

    Args:
        network: A functional model of images of known size that gives feature maps.

    Returns:
        Maps `(batch, height, width, channels)`, from the finest to the coarsest; the last are the network's output.
        There is no entry for a resolution that the network skips.
    """
    height = network.input.shape[1]
    tensors, narrow = _maps(network)
    levels: dict[int, list[Any]] = {}
    for tensor in tensors:
        levels.setdefault(_level(height, tensor), []).append(tensor)
    last = _level(height, network.output)
    found = []
    for level in sorted(levels):
        if not 0 < level < last:
            continue
        candidates = levels[level]
        passed = [tensor for tensor in candidates if id(tensor) in narrow]
        found.append(passed[-1] if passed else max(reversed(candidates), key=lambda tensor: tensor.shape[-1]))
    return [*found, network.output]


def _level(height: int, tensor: "keras.KerasTensor") -> int:
    # Networks without padding lose rows, so that sizes are halves only nearly.
    return round(math.log2(height / tensor.shape[1]))


def _maps(network: Any) -> tuple[list[Any], set[int]]:
    """Returns the feature maps in order, and the ids of those through which every path goes."""
    import keras

    depths = network._nodes_by_depth
    nodes = [node for depth in sorted(depths, reverse=True) for node in depths[depth]]
    last_use: dict[int, int] = {}
    for place, node in enumerate(nodes):
        for tensor in node.input_tensors:
            last_use[id(tensor)] = place
    tensors: list[Any] = []
    narrow: set[int] = set()
    open_until = 0
    for place, node in enumerate(nodes):
        (tensor, *_) = node.outputs
        # Maps padded for the next convolution have other sizes and nothing new.
        if len(tensor.shape) == 4 and not node.is_input and not isinstance(node.operation, keras.layers.ZeroPadding2D):
            tensors.append(tensor)
            if open_until <= place:
                narrow.add(id(tensor))
        open_until = max(open_until, last_use.get(id(tensor), 0))
    return tensors, narrow
