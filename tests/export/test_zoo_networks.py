"""Whole networks: those of `keras.applications`, kerasdl's own, and small ones of the kinds that people build."""

import keras
import numpy as np
import onnx
import pytest

from kerasdl import models

layers = keras.layers
ops = keras.ops


def names_of(export):
    graph = onnx.load(export.path).graph
    return [node.name for node in graph.node] + [each.name for each in graph.initializer]


def residual_network():
    entry = keras.Input((12, 12, 3), name="image")
    scaled = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06], name="normal")(entry)
    hidden = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(scaled)
    hidden = layers.Activation("relu", name="stem_relu")(layers.BatchNormalization(name="stem_norm")(hidden))
    for number in range(2):
        shortcut = hidden
        hidden = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"depthwise_{number}")(hidden)
        hidden = layers.ReLU(6.0, name=f"clip_{number}")(layers.BatchNormalization(name=f"norm_{number}")(hidden))
        hidden = layers.Conv2D(8, 1, activation="silu", name=f"pointwise_{number}")(hidden)
        hidden = layers.Add(name=f"add_{number}")([shortcut, hidden])
    pooled = layers.GlobalAveragePooling2D(name="pool")(hidden)
    return keras.Model(entry, layers.Dense(3, activation="softmax", name="head")(pooled))


def volume_network():
    entry = keras.Input((6, 6, 4, 2))
    hidden = layers.MaxPooling3D(name="pool")(
        layers.Conv3D(3, 3, padding="same", activation="relu", name="conv")(entry)
    )
    hidden = layers.Conv3DTranspose(2, 2, strides=2, name="back")(layers.AveragePooling3D((1, 1, 2))(hidden))
    hidden = layers.Cropping3D(((1, 0), (0, 1), (0, 0)))(
        layers.ZeroPadding3D(1)(layers.UpSampling3D((1, 1, 2))(hidden))
    )
    return keras.Model(entry, layers.GlobalMaxPooling3D()(hidden))


def two_towers():
    words, numbers = keras.Input((5,), dtype="int32", name="words"), keras.Input((3,), name="numbers")
    image = keras.Input((8, 8, 1), name="image", dtype="uint8")
    shared = layers.Dense(4, activation="gelu", name="shared")
    text = layers.Bidirectional(layers.GRU(2), name="reader")(layers.Embedding(7, 3, name="embedding")(words))
    picture = layers.Flatten()(layers.SeparableConv2D(2, 3, name="eye")(layers.Rescaling(1 / 255, name="scale")(image)))
    joined = layers.Concatenate()([shared(text), shared(layers.Dense(4)(numbers)), picture])
    outputs = [layers.Dense(3, activation="softmax", name="kind")(joined), layers.Dense(1, name="size")(joined)]
    return keras.Model([words, numbers, image], outputs)


def mixer():
    """A small MLP-Mixer: patches, permutations, nested blocks."""

    def mlp(width, name):
        return keras.Sequential([layers.Dense(8, activation="gelu"), layers.Dense(width)], name=name)

    entry = keras.Input((8, 8, 3))
    patches = layers.Reshape((16, 6))(layers.Conv2D(6, 2, strides=2)(entry))
    turned = layers.Permute((2, 1))(layers.LayerNormalization()(patches))
    patches = patches + layers.Permute((2, 1))(mlp(16, "places")(turned))
    patches = patches + mlp(6, "channels")(layers.LayerNormalization()(patches))
    return keras.Model(entry, layers.Dense(3)(layers.GlobalAveragePooling1D()(patches)))


def variational_encoder():
    """A second output and code of one's own that is random in training alone."""

    class Sampling(layers.Layer):
        def call(self, parts, training=None):
            mean, spread = parts
            if training:
                return mean + ops.exp(spread / 2) * keras.random.normal(ops.shape(mean))
            return mean

    entry = keras.Input((6,))
    hidden = layers.Dense(8, activation="relu")(entry)
    mean, spread = layers.Dense(2, name="mean")(hidden), layers.Dense(2, name="spread")(hidden)
    code = Sampling(name="sampling")([mean, spread])
    decoded = keras.Sequential([keras.Input((2,)), layers.Dense(8, activation="tanh"), layers.Dense(6)], name="decoder")
    return keras.Model(entry, [decoded(code), spread])


def settled(model):
    """Gives a deep network weights under which its values neither grow nor vanish, and statistics to fold."""
    random = np.random.default_rng(0)
    for weight in model.weights:
        values = random.normal(size=weight.shape)
        if len(weight.shape) > 1:
            values /= np.sqrt(np.prod(weight.shape[:-1]))
        elif "variance" in weight.path or "gamma" in weight.path:
            values = 1 + 0.1 * np.clip(values, -2, 2)
        else:
            values *= 0.1
        if str(weight.dtype) == "float32":
            weight.assign(values.astype("float32"))
    return model


NETWORKS = [residual_network, volume_network, two_towers, mixer, variational_encoder]


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_small_networks(make, shake, written):
    """Equal to Keras, and every node and constant bears the name of its layer."""
    model = shake(make())
    own = {layer.name for layer in model.layers} | {entry.name for entry in model.inputs} | {"features"}
    bare = {operation.name for operation in model.operations} if hasattr(model, "operations") else set()
    strange = [name for name in names_of(written(model)) if name.split("/")[0] not in own | bare]
    assert strange == []


def test_own_unet(shake, written, nodes):
    unet = models.unet((8, 8, 1), 2, filters=(4, 8), upsampling="bilinear", batch_norm=True)
    kinds = nodes(written(shake(unet)).path)
    assert kinds.count("Transpose") + kinds.count("Reshape") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "DenseNet121", "ConvNeXtTiny", "Xception"],
)
def test_networks_of_keras(name, written, nodes):
    model = settled(getattr(keras.applications, name)(weights=None, input_shape=(72, 72, 3), classes=5))
    export = written(model, rows=np.random.default_rng(1).integers(0, 256, (3, 72, 72, 3)).astype("float32"))
    kinds = nodes(export.path)
    assert not {"Cast", "Identity"} & set(kinds)
    if name in {"MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "Xception"}:
        # The others normalize before an activation, and pad before a maximum.
        assert not {"BatchNormalization", "Pad"} & set(kinds)
    if name != "ConvNeXtTiny":
        # Its normalization and dense layers work on the last axis, between depthwise convolutions.
        assert kinds.count("Transpose") <= 1
