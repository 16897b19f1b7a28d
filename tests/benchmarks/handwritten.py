"""The models of `kerasdl.models` as a person writes them in PyTorch, with the weights of a Keras model."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    import keras

# Of EfficientNet-Lite0: blocks, kernel, stride of the first, expansion, filters.
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112)]
STAGES += [(4, 5, 2, 6, 192), (1, 3, 1, 6, 320)]


def mlp(features: int, width: int, classes: int) -> nn.Module:
    """Two hidden layers, each normalized over the batch."""
    hidden: list[nn.Module] = [nn.Flatten()]
    for inputs in (features, width):
        hidden += [nn.Linear(inputs, width), nn.BatchNorm1d(width, eps=1e-3), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(width, classes), nn.Softmax(-1))


def cnn(channels: int, side: int, classes: int) -> nn.Module:
    """Two 3 x 3 convolutions without padding, each with a 2 x 2 max pool."""
    left = ((side - 2) // 2 - 2) // 2
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * left * left, classes),
        nn.Softmax(-1),
    )


def convolution(inputs: int, outputs: int, kernel: int, stride: int, groups: int, active: bool) -> nn.Sequential:
    """A convolution that pads as TensorFlow does, batch normalization and ReLU6."""
    padding = kernel - stride
    layers: list[nn.Module] = []
    if stride > 1:
        # One more behind than before where the padding is odd, for sides that the stride divides.
        before, after = padding // 2, padding - padding // 2
        layers.append(nn.ZeroPad2d((before, after, before, after)))
        padding = 0
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding // 2, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outputs, eps=1e-3))
    return nn.Sequential(*layers, *([nn.ReLU6()] if active else []))


class Block(nn.Module):
    """An inverted residual block."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        expand = [convolution(inputs, wide, 1, 1, 1, True)] if expansion > 1 else []
        depthwise = convolution(wide, wide, kernel, stride, wide, True)
        self.layers = nn.Sequential(*expand, depthwise, convolution(wide, outputs, 1, 1, 1, False))
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x) if self.skip else self.layers(x)


class Transfer(nn.Module):
    """EfficientNet-Lite0 on pixels in [0, 1], and a classifier on the mean of its last maps."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        blocks = []
        inputs = 32
        for number, kernel, stride, expansion, outputs in STAGES:
            for place in range(number):
                blocks.append(Block(inputs, outputs, kernel, stride if place == 0 else 1, expansion))
                inputs = outputs
        self.stem = convolution(3, 32, 3, 2, 1, True)
        self.blocks = nn.Sequential(*blocks)
        self.head = convolution(inputs, 1280, 1, 1, 1, True)
        self.top = nn.Linear(1280, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.head(self.blocks(self.stem(x * (255 / 128) - 127 / 128)))
        return self.top(hidden.mean((2, 3))).softmax(-1)


def leaves(model: "keras.Model") -> list[Any]:
    """Lists a model's layers in order, in the place of a model inside it that one's."""
    return [leaf for each in model.layers for leaf in (leaves(each) if hasattr(each, "layers") else [each])]


def take_weights(module: nn.Module, model: "keras.Model") -> nn.Module:
    """Gives a module the weights of a Keras model whose layers come in the same order.

    Args:
        module: Its linear, convolution and normalization layers are set.
        model: The Keras model, channels last.

    Returns:
        The module, in evaluation mode.
    """
    targets = [
        each for each in module.modules() if isinstance(each, nn.Linear | nn.Conv2d | nn.modules.batchnorm._BatchNorm)
    ]
    sources = [each for each in leaves(model) if each.weights]
    maps: tuple[int, ...] = ()
    for target, source in zip(targets, sources, strict=True):
        weights = [np.asarray(each) for each in source.get_weights()]
        if isinstance(target, nn.Linear):
            kernel = weights[0]
            if maps and kernel.shape[0] != maps[0]:
                # Features of flattened maps: Keras' by place, then channel; torch's by channel, then place.
                side = round((kernel.shape[0] / maps[0]) ** 0.5)
                kernel = kernel.reshape(side, side, maps[0], -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
            values: dict[str, Any] = {"weight": kernel.T, "bias": weights[1]}
            maps = ()
        elif isinstance(target, nn.Conv2d):
            depthwise = "Depthwise" in type(source).__name__
            values = {"weight": weights[0].transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))}
            values |= {"bias": weights[1]} if len(weights) > 1 else {}
            maps = (target.out_channels,)
        else:
            values = dict(zip(("weight", "bias", "running_mean", "running_var"), weights, strict=True))
        state = target.state_dict()
        target.load_state_dict(
            {**state, **{name: torch.tensor(np.ascontiguousarray(one)) for name, one in values.items()}}
        )
    return module.eval()
