"""Inputs of other types and open sizes, and models that compute in half precision."""

import keras
import numpy as np
import onnxruntime
import pytest

from kerasdl.errors import UserError
from kerasdl.export import export_model

layers = keras.layers
ops = keras.ops
RANDOM = np.random.default_rng(0)


def images(*shape, dtype="float32"):
    return RANDOM.integers(0, 256, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16"])
def test_images_of_other_types_are_cast_once(dtype, shake, written, nodes):
    entry = keras.Input((8, 8, 3), dtype=dtype)
    scaled = layers.Rescaling(1 / 255)(entry)
    hidden = layers.Conv2D(4, 3, activation="relu")(scaled)
    model = shake(keras.Model(entry, layers.Dense(2)(layers.GlobalAveragePooling2D()(hidden))))
    export = written(model, rows=images(9, 8, 8, 3, dtype=dtype))
    assert nodes(export.path)[:3] == ["Cast", "Transpose", "Conv"]
    taken = onnxruntime.InferenceSession(str(export.path), providers=["CPUExecutionProvider"]).get_inputs()[0].type
    assert taken == f"tensor({dtype})"


def test_whole_numbers_as_indices_and_as_features(shake, written):
    entry = keras.Input((6,), dtype="int32")
    looked_up = layers.Flatten()(layers.Embedding(9, 3)(entry))
    joined = layers.Concatenate()([looked_up, layers.Rescaling(0.1)(entry)])
    written(shake(keras.Model(entry, layers.Dense(2)(joined))))


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("dtype", ["int32"])
def test_categories(mode, dtype, shake, written):
    columns = 1 if mode == "one_hot" else 4
    encoded = layers.CategoryEncoding(5, output_mode=mode)
    model = keras.Sequential([keras.Input((columns,), dtype=dtype), encoded, layers.Dense(2)])
    written(shake(model), rows=RANDOM.integers(0, 5, (20, columns)).astype(dtype))


def open_network():
    entry = keras.Input((None, None, 3))
    first = layers.Conv2D(4, 3, padding="same", use_bias=False)(entry)
    first = layers.ReLU()(layers.GroupNormalization(2)(first))
    deep = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(layers.MaxPooling2D(padding="same")(first))
    deep = layers.Conv2D(6, 3, strides=2, padding="same")(deep)
    squeezed = layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(deep))
    deep = layers.Multiply()([deep, squeezed])
    return keras.Model(entry, [layers.GlobalMaxPooling2D(name="pooled")(deep), layers.UpSampling2D(name="wide")(deep)])


def test_open_image_sizes_at_two_sizes(shake, written):
    model = shake(open_network())
    export = written(model, rows=RANDOM.normal(size=(7, 9, 10, 3)).astype("float32"))
    assert export.batch_sizes == (1, 7, 64, 2)


class Scaled(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.inner = layers.Dense(4, activation="relu")

    def call(self, x):
        return self.inner(x) * 2


def half(policy):
    keras.config.set_dtype_policy(policy)
    try:
        entry = keras.Input((6,))
        nested = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.BatchNormalization()], name="nested")
        hidden = nested(Scaled()(entry))
        return keras.Model(entry, layers.Dense(3, activation="softmax", dtype="float32")(hidden), name="half")
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("policy", ["mixed_float16", "bfloat16"])
def test_half_precision_is_exported_as_its_twin_in_float32(policy, shake, tmp_path):
    model = shake(half(policy))
    export = export_model(model, tmp_path / "m.onnx")
    assert export.exporter == "kerasdl"
    assert len(export.warnings) == 1
    kind = policy.removeprefix("mixed_")
    assert f"computes in {kind}: exported, and compared, as the same model" in export.warnings[0]
    assert export.max_abs_diff < 1e-5
    assert keras.config.dtype_policy().name == "float32"
    rows = RANDOM.normal(size=(20, 6)).astype("float32")
    session = onnxruntime.InferenceSession(str(export.path), providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"features": rows})
    rough = ops.convert_to_numpy(ops.cast(model(rows, training=False), "float32"))
    np.testing.assert_allclose(actual, rough, atol=0.05)


def test_half_precision_of_a_subclassed_model_is_one_clear_line(tmp_path):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.layer = layers.Dense(2, dtype="mixed_float16", name="dense_in_half")

        def call(self, x):
            return self.layer(x)

    model = Own()
    model(np.ones((1, 3), "float32"))
    with pytest.raises(UserError, match=r"layer 'dense_in_half' computes in float16, and a subclassed model cannot be"):
        export_model(model, tmp_path / "m.onnx")
