"""One small model per layer or way of connecting layers: all must be written directly, on every backend."""

import keras
import numpy as np
import pytest

from kerasdl.data.dataset import Scaling
from kerasdl.export import export_model

layers = keras.layers

ACTIVATIONS = [
    "relu",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "gelu",
    "silu",
    "leaky_relu",
    "relu6",
    "exponential",
    "hard_sigmoid",
    "hard_silu",
    "mish",
    "log_sigmoid",
    "celu",
    "hard_tanh",
    "softmax",
    "log_softmax",
    "linear",
]

ON_TABLES = {
    "dense without bias": [layers.Dense, {"units": 5, "use_bias": False}],
    "leaky relu": [layers.LeakyReLU, {"negative_slope": 0.3}],
    "relu with ceiling": [layers.ReLU, {"max_value": 0.7}],
    "relu with slope and ceiling": [layers.ReLU, {"max_value": 0.7, "negative_slope": 0.1}],
    "elu": [layers.ELU, {"alpha": 0.5}],
    "prelu": [layers.PReLU, {}],
    "softmax layer": [layers.Softmax, {}],
    "batch normalization first": [layers.BatchNormalization, {}],
    "layer normalization": [layers.LayerNormalization, {}],
    "layer normalization bare": [layers.LayerNormalization, {"center": False, "scale": False}],
    "group normalization": [layers.GroupNormalization, {"groups": 1}],
    "root mean square normalization": [layers.RMSNormalization, {}],
    "unit normalization": [layers.UnitNormalization, {}],
    "normalization inverted": [layers.Normalization, {"mean": 3.0, "variance": 4.0, "invert": True}],
    "rescaling": [layers.Rescaling, {"scale": 0.1, "offset": -3.0}],
    "reshape": [layers.Reshape, {"target_shape": (2, -1)}],
    "repeat": [layers.RepeatVector, {"n": 3}],
    "noise": [layers.GaussianNoise, {"stddev": 1.0}],
}

ON_IMAGES = {
    "conv valid": [layers.Conv2D, {"filters": 4, "kernel_size": 3}],
    "conv same": [layers.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same"}],
    "conv same strided": [layers.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}],
    "conv same even": [layers.Conv2D, {"filters": 4, "kernel_size": (2, 4), "padding": "same", "strides": (2, 1)}],
    "conv dilated": [layers.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same", "dilation_rate": 2}],
    "conv grouped": [layers.Conv2D, {"filters": 6, "kernel_size": 3, "groups": 3}],
    "depthwise": [layers.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 2, "padding": "same"}],
    "depthwise strided": [layers.DepthwiseConv2D, {"kernel_size": 3, "strides": 2, "padding": "same"}],
    "separable": [layers.SeparableConv2D, {"filters": 5, "kernel_size": 3, "depth_multiplier": 2}],
    "transposed same": [layers.Conv2DTranspose, {"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}],
    "transposed valid": [layers.Conv2DTranspose, {"filters": 4, "kernel_size": 2, "strides": 2}],
    "transposed narrow": [layers.Conv2DTranspose, {"filters": 4, "kernel_size": 2, "strides": 3, "padding": "same"}],
    "max pooling": [layers.MaxPooling2D, {"pool_size": 2}],
    "max pooling same": [layers.MaxPooling2D, {"pool_size": 3, "strides": 2, "padding": "same"}],
    "average pooling same": [layers.AveragePooling2D, {"pool_size": 3, "strides": 2, "padding": "same"}],
    "global average": [layers.GlobalAveragePooling2D, {}],
    "global max kept": [layers.GlobalMaxPooling2D, {"keepdims": True}],
    "zero padding": [layers.ZeroPadding2D, {"padding": ((1, 2), (0, 3))}],
    "cropping": [layers.Cropping2D, {"cropping": ((1, 2), (0, 3))}],
    "upsampling": [layers.UpSampling2D, {"size": (2, 3)}],
    "upsampling bilinear": [layers.UpSampling2D, {"size": 2, "interpolation": "bilinear"}],
    "batch normalization": [layers.BatchNormalization, {}],
    "permute": [layers.Permute, {"dims": (3, 1, 2)}],
    "prelu shared": [layers.PReLU, {"shared_axes": [1, 2]}],
    "prelu": [layers.PReLU, {}],
    "layer normalization": [layers.LayerNormalization, {"axis": [-2, -1]}],
    "dense on channels": [layers.Dense, {"units": 4, "activation": "relu"}],
    "softmax over rows": [layers.Softmax, {"axis": 1}],
    "softmax over places": [layers.Softmax, {"axis": (1, 2)}],
    "layer normalization over rows": [layers.LayerNormalization, {"axis": 1}],
    "layer normalization over all": [layers.LayerNormalization, {"axis": [1, 2, 3]}],
    "group normalization": [layers.GroupNormalization, {"groups": 3}],
    "instance normalization": [layers.GroupNormalization, {"groups": -1, "center": False}],
    "group normalization bare": [layers.GroupNormalization, {"groups": 1, "center": False, "scale": False}],
    "root mean square normalization": [layers.RMSNormalization, {}],
    "unit normalization": [layers.UnitNormalization, {"axis": [1, 2]}],
    "resizing": [layers.Resizing, {"height": 13, "width": 5}],
    "resizing nearest": [layers.Resizing, {"height": 18, "width": 4, "interpolation": "nearest"}],
    "augmentation": [layers.RandomFlip, {}],
}

ON_SERIES = {
    "conv causal": [layers.Conv1D, {"filters": 4, "kernel_size": 3, "padding": "causal", "dilation_rate": 2}],
    "conv same": [layers.Conv1D, {"filters": 4, "kernel_size": 4, "strides": 3, "padding": "same"}],
    "depthwise": [layers.DepthwiseConv1D, {"kernel_size": 3}],
    "separable": [layers.SeparableConv1D, {"filters": 4, "kernel_size": 3}],
    "max pooling": [layers.MaxPooling1D, {}],
    "global average": [layers.GlobalAveragePooling1D, {}],
    "global max": [layers.GlobalMaxPooling1D, {}],
    "zero padding": [layers.ZeroPadding1D, {"padding": (1, 2)}],
    "upsampling": [layers.UpSampling1D, {"size": 2}],
    "transposed": [layers.Conv1DTranspose, {"filters": 3, "kernel_size": 3, "strides": 2, "padding": "same"}],
    "batch normalization": [layers.BatchNormalization, {}],
    "spatial dropout": [layers.SpatialDropout1D, {"rate": 0.5}],
}


def written(model, tmp_path, **options):
    export = export_model(model, tmp_path / "model.onnx", **options)
    assert export.exporter == "kerasdl"
    assert export.warnings == ()
    assert export.batch_sizes[:3] == (1, 7, 64)
    assert export.max_rel_diff <= 1e-3
    return export


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name, shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, activation=name), layers.Dense(3), layers.Activation(name)]
    )
    written(shake(model), tmp_path)


@pytest.mark.parametrize("name", ON_TABLES)
def test_layers_between_dense_ones(name, shake, tmp_path):
    make, settings = ON_TABLES[name]
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, activation="tanh"), make(**settings), layers.Flatten(), layers.Dense(3)]
    )
    written(shake(model), tmp_path)


@pytest.mark.parametrize("name", ON_TABLES)
def test_layers_alone_on_a_table(name, shake, tmp_path):
    make, settings = ON_TABLES[name]
    written(shake(keras.Sequential([keras.Input((6,)), make(**settings)])), tmp_path)


@pytest.mark.parametrize(
    "name",
    ["max pooling", "global average", "global max kept", "zero padding", "upsampling", "batch normalization", "prelu"],
)
def test_layers_alone_on_images(name, shake, tmp_path):
    make, settings = ON_IMAGES[name]
    written(shake(keras.Sequential([keras.Input((9, 8, 3)), make(**settings)])), tmp_path)


@pytest.mark.parametrize("name", ON_IMAGES)
def test_layers_between_on_images(name, shake, tmp_path):
    if name == "layer normalization over rows" and keras.backend.backend() == "torch":
        pytest.skip("Keras' own layer fails so on torch")
    make, settings = ON_IMAGES[name]
    inside = [layers.Conv2D(3, 3, padding="same", activation="tanh"), make(**settings), layers.BatchNormalization()]
    stack = [*inside, layers.Flatten(), layers.Dense(3, activation="softmax")]
    written(shake(keras.Sequential([keras.Input((9, 8, 3)), *stack])), tmp_path)


@pytest.mark.parametrize("name", ON_SERIES)
def test_layers_on_series(name, shake, tmp_path):
    make, settings = ON_SERIES[name]
    stack = [make(**settings), layers.Flatten(), layers.Dense(3)]
    written(shake(keras.Sequential([keras.Input((11, 3)), *stack])), tmp_path)


@pytest.mark.parametrize(
    "kind",
    [layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum, layers.Concatenate],
)
def test_residual_connections_in_either_layout(kind, shake, tmp_path):
    entry = keras.Input((8, 8, 3))
    branch = layers.Conv2D(3, 3, padding="same")(entry)
    joined = kind()([branch, entry])
    written(shake(keras.Model(entry, layers.GlobalAveragePooling2D()(joined))), tmp_path)


def test_concatenation_along_a_row(shake, tmp_path):
    entry = keras.Input((8, 8, 3))
    branch = layers.Conv2D(3, 3, padding="same")(entry)
    written(shake(keras.Model(entry, layers.Concatenate(axis=1)([branch, entry, branch]))), tmp_path)


def test_unet_shape(shake, tmp_path):
    entry = keras.Input((8, 8, 1))
    first = layers.Conv2D(4, 3, padding="same", activation="relu")(entry)
    deep = layers.Conv2D(8, 3, padding="same", activation="relu")(layers.MaxPooling2D()(first))
    back = layers.Conv2DTranspose(4, 2, strides=2)(deep)
    joined = layers.Concatenate()([layers.BatchNormalization()(back), first])
    written(shake(keras.Model(entry, layers.Conv2D(1, 1, activation="sigmoid")(joined))), tmp_path)


def test_nested_models_called_twice_share_their_weights(shake, tmp_path):
    import onnx

    encoder = keras.Sequential(
        [keras.Input((5,)), layers.Dense(7, activation="relu"), layers.BatchNormalization(), layers.Dense(3)],
        name="encoder",
    )
    left, right = keras.Input((5,), name="left"), keras.Input((5,), name="right")
    model = shake(keras.Model([left, right], layers.Subtract()([encoder(left), encoder(right)])))
    written(model, tmp_path)
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [entry.name for entry in graph.input] == ["left", "right"]
    assert len(graph.initializer) == 4
    assert any(node.name.startswith("encoder/") for node in graph.node)


def test_two_inputs_by_name_and_two_outputs(shake, tmp_path):
    import onnxruntime

    table, image = keras.Input((4,), name="table"), keras.Input((6, 6, 2), name="image")
    joined = layers.Concatenate()([table, layers.Flatten()(layers.Conv2D(2, 3)(image))])
    outputs = {
        "kind": layers.Dense(3, activation="softmax", name="kind")(joined),
        "size": layers.Dense(1, name="size")(joined),
    }
    model = shake(keras.Model({"table": table, "image": image}, outputs))
    rows = {"image": np.ones((3, 6, 6, 2), "float32"), "table": np.ones((3, 4), "float32")}
    export = written(model, tmp_path, rows=rows)
    session = onnxruntime.InferenceSession(str(export.path), providers=["CPUExecutionProvider"])
    assert {entry.name for entry in session.get_inputs()} == {"table", "image"}
    assert {result.name for result in session.get_outputs()} == {"kind", "size"}
    assert export.argmax_agreement is None


def test_same_value_as_input_and_two_outputs(tmp_path):
    entry = keras.Input((3,))
    half = layers.Rescaling(0.5, name="half")(entry)
    written(keras.Model(entry, [half, half, layers.ReLU(name="positive")(half)]), tmp_path)


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_embeddings(dtype, shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((7,), dtype=dtype), layers.Embedding(11, 5), layers.GlobalAveragePooling1D(), layers.Dense(2)]
    )
    written(shake(model), tmp_path)


def test_shared_layers_and_several_readers_of_a_normalization(shake, tmp_path):
    entry = keras.Input((6,))
    normal = layers.BatchNormalization()(layers.Dense(6)(entry))
    dense = layers.Dense(6)
    joined = layers.Add()([normal, dense(normal), dense(dense(normal))])
    written(shake(keras.Model(entry, joined)), tmp_path)


def test_batch_normalization_on_another_axis(shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((5, 4, 3)), layers.Conv2D(3, 1), layers.BatchNormalization(axis=1), layers.Conv2D(2, 1)]
    )
    written(shake(model), tmp_path)


def test_normalization_with_its_own_statistics(shake, tmp_path):
    normal = layers.Normalization(mean=[1.0, 200.0, -3.0], variance=[2.0, 900.0, 0.1])
    written(shake(keras.Sequential([keras.Input((3,)), normal, layers.Dense(2)])), tmp_path)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("offset", [0.0, 127.5])
def test_uniform_scaling_before_a_convolution(padding, offset, shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(3, 3, padding=padding), layers.ReLU(), layers.Flatten()]
    )
    rows = np.random.default_rng(0).uniform(0, 255, (20, 8, 8, 1)).astype("float32")
    written(shake(model), tmp_path, scaling=Scaling(np.float32(offset), np.float32(255)), rows=rows)


def test_channels_first_layers(shake, tmp_path):
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels-first convolution on the CPU")
    model = keras.Sequential(
        [
            keras.Input((3, 8, 8)),
            layers.Conv2D(4, 3, padding="same", data_format="channels_first"),
            layers.BatchNormalization(axis=1),
            layers.MaxPooling2D(data_format="channels_first"),
            layers.GlobalAveragePooling2D(data_format="channels_first"),
        ]
    )
    export = written(shake(model), tmp_path)
    assert export.nodes == 3


def test_open_image_sizes(shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(4, 3, strides=2, padding="same"), layers.GlobalMaxPooling2D()]
    )
    rows = np.random.default_rng(0).normal(size=(4, 9, 10, 3)).astype("float32")
    written(shake(model), tmp_path, rows=rows)
