"""Beside what one would write by hand in PyTorch: the same model, exported by torch and slimmed, has as many nodes."""

import warnings

import keras
import onnx
import pytest

from kerasdl import models

torch = pytest.importorskip("torch")
nn = torch.nn


def by_hand(module, shape, path):
    """Exports a torch module as its user would, slims the file, and counts its nodes."""
    import onnxslim

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.ones(2, *shape),),
            path,
            opset_version=18,
            dynamo=False,
            dynamic_axes={"x": {0: "batch"}},
            input_names=["x"],
        )
    return len(onnxslim.slim(onnx.load(path)).graph.node)


class Scaled(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return torch.softmax(self.inner((x - 127.0) / 128.0), dim=-1)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_an_mlp(batch_norm, shake, written, tmp_path):
    model = shake(models.mlp((6,), 4, depth=2, width=8, batch_norm=batch_norm))
    stack = []
    for width in (6, 8):
        stack += [nn.Linear(width, 8), *([nn.BatchNorm1d(8)] if batch_norm else []), nn.ReLU()]
    hand = nn.Sequential(*stack, nn.Linear(8, 4), nn.Softmax(-1))
    assert written(model).nodes <= by_hand(hand, (6,), tmp_path / "hand.onnx") + 2


@pytest.mark.parametrize("pooling", ["flatten", "average"])
def test_a_cnn(pooling, shake, written, tmp_path):
    model = shake(models.cnn((12, 12, 3), 4, filters=(4, 8), batch_norm=True, pooling=pooling))
    stack = []
    for channels, filters in ((3, 4), (4, 8)):
        stack += [nn.Conv2d(channels, filters, 3), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]
    end = (
        [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
        if pooling == "average"
        else [nn.Flatten(), nn.Linear(8, 4)]
    )
    hand = nn.Sequential(*stack, *end, nn.Softmax(-1))
    assert written(model).nodes <= by_hand(hand, (3, 12, 12), tmp_path / "hand.onnx") + 2


@pytest.mark.slow
def test_transfer_beside_the_original_network(shake, written, tmp_path):
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    model = models.transfer((96, 96, 3), 5, mode="scratch")
    hand = Scaled(lite.EfficientNet.from_name("efficientnet-lite0", num_classes=5))
    export = written(shake(model))
    assert export.nodes <= by_hand(hand, (3, 96, 96), tmp_path / "hand.onnx") + 2
    kinds = [node.op_type for node in onnx.load(export.path).graph.node]
    assert kinds.count("Transpose") == 1
    assert not {"Cast", "Identity", "Reshape", "BatchNormalization"} & set(kinds)


def test_no_node_is_there_for_nothing(shake, written, nodes):
    """A squeeze-and-excite block as Keras' own networks have it: padding, pooling, reshaping."""
    layers = keras.layers
    entry = keras.Input((8, 8, 4), name="image")
    hidden = layers.Conv2D(4, 3, strides=2, name="conv")(layers.ZeroPadding2D(((0, 1), (0, 1)))(entry))
    squeezed = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D(name="pool")(hidden))
    squeezed = layers.Conv2D(4, 1, activation="sigmoid", name="excite")(squeezed)
    model = shake(keras.Model(entry, layers.Multiply(name="scale")([hidden, squeezed])))
    export = written(model)
    assert nodes(export.path) == ["Transpose", "Conv", "GlobalAveragePool", "Conv", "Sigmoid", "Mul", "Transpose"]
