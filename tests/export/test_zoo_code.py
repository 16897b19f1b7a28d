"""Code of the user's own: opened into the layers and operations that it is made of, on every backend."""

import keras
import numpy as np
import pytest

layers = keras.layers
ops = keras.ops


class Shifted(layers.Layer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.norm = layers.BatchNormalization()
        self.inner = layers.Dense(6, activation="relu")

    def call(self, x, training=None):
        return ops.tanh(self.inner(self.norm(x, training=training))) * 2 + x


class Gated(layers.Layer):
    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain")
        self.mix = self.add_weight(shape=(shape[-1], 4), name="mix")

    def call(self, x):
        gate = ops.sigmoid(x * self.gain)
        return ops.matmul(x * gate, self.mix)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.hidden = [layers.Dense(5, activation="relu") for _ in range(2)]
        self.shifted = layers.Dropout(0.5)
        self.last = layers.Dense(3, activation="softmax")

    def call(self, x, training=None):
        for layer in self.hidden:
            x = self.shifted(layer(x), training=training)
        return self.last(x)


class Residual(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Conv2D(4, 3, padding="same", use_bias=False)
        self.norm = layers.BatchNormalization()
        self.head = layers.Dense(2)

    def call(self, x):
        hidden = ops.relu(self.norm(self.first(x)) + ops.mean(x, axis=-1, keepdims=True))
        return {"class": self.head(ops.mean(hidden, axis=(1, 2))), "map": ops.max(hidden, axis=-1)}


OPERATIONS = {
    "arithmetic": lambda x: (1.0 - x) / 3.0 + 2.0 * x - (-x) ** 2,
    "with arrays": lambda x: x * np.arange(3, dtype="float32") + np.ones((4, 1), "float32"),
    "roots": lambda x: ops.rsqrt(ops.square(x) + 1.0) + ops.sqrt(ops.exp(x)) + ops.log(ops.abs(x) + 1.0),
    "rounding": lambda x: ops.floor(x) + ops.ceil(x) + ops.sign(x),
    "waves": lambda x: ops.sin(x) + ops.cos(x) + ops.erf(x),
    "activations": lambda x: ops.gelu(x) + ops.silu(x) + ops.elu(x) + ops.leaky_relu(x) + ops.hard_sigmoid(x),
    "softmax": lambda x: ops.softmax(x, axis=1) + ops.log_softmax(x),
    "clipping": lambda x: ops.clip(x, -0.5, 0.7) + ops.maximum(x, 0.1) + ops.minimum(x, -x),
    "reductions": lambda x: (
        ops.mean(x, axis=-1, keepdims=True) * ops.max(x, axis=(1, 2), keepdims=True) + ops.sum(x, axis=3, keepdims=True)
    ),
    "over rows": lambda x: ops.sum(x, axis=1) * ops.min(x, axis=1),
    "places": lambda x: ops.concatenate([x[:, 1:, ::2], x[:, :4, 2:]], axis=-1),
    "new axes": lambda x: ops.stack([x[:, 0], x[:, -1], x[..., 1:, 1, :]], axis=1)[:, :, None],
    "moves": lambda x: ops.transpose(ops.swapaxes(ops.moveaxis(x, 1, 3), 1, 2), (0, 2, 3, 1)),
    "reshape": lambda x: ops.squeeze(ops.expand_dims(ops.reshape(x, (-1, 5 * 4, 3)), 1), 1),
    "products": lambda x: ops.matmul(x, ops.transpose(x, (0, 1, 3, 2))) + ops.einsum("abcd,abed->abce", x, x),
    "repeats": lambda x: ops.tile(x, (1, 2, 1, 1)),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("after", [False, True], ids=["first", "after a convolution"])
def test_operations(name, after, shake, written):
    entry = keras.Input((5, 4, 3))
    hidden = layers.Conv2D(3, 3, padding="same", activation="tanh")(entry) if after else entry
    written(shake(keras.Model(entry, OPERATIONS[name](hidden))))


@pytest.mark.parametrize("layer", [Shifted, Gated])
def test_custom_layers_registered_or_not(layer, shake, written, nodes):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6), layer(name="own"), layers.Dense(3, "softmax")])
    model.build()
    before = [len(each._inbound_nodes) for each in model._flatten_layers()]
    export = written(shake(model))
    assert [len(each._inbound_nodes) for each in model._flatten_layers()] == before
    assert export.nodes <= 10


def test_names_inside_of_custom_layers_do_not_count_what_was_made_before(shake, tmp_path, written):
    import onnx

    model = shake(keras.Sequential([keras.Input((6,)), Shifted(name="own"), layers.Dense(2, name="last")]))
    names = [[node.name for node in onnx.load(written(model).path).graph.node] for _ in range(2)]
    assert names[0] == names[1]
    assert all(name.startswith(("own/", "last")) for name in names[0])


def test_subclassed_models(shake, written, nodes):
    model = Subclassed()
    model(np.ones((1, 6), "float32"))
    assert nodes(written(shake(model)).path) == ["Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]


def test_a_subclassed_model_with_two_outputs_by_name(shake, written):
    import onnx

    model = Residual()
    model(np.ones((1, 5, 5, 3), "float32"))
    export = written(shake(model))
    assert {output.name for output in onnx.load(export.path).graph.output} == {"class", "map"}


def test_lambdas_and_activations_of_ones_own(shake, written):
    double = layers.Dense(4, activation=lambda x: x * 2, name="double")
    stack = [double, layers.Lambda(lambda x: ops.abs(x) + 1), layers.Activation(lambda x: ops.log(x))]
    written(shake(keras.Sequential([keras.Input((6,)), *stack, layers.Dense(2, activation=ops.tanh)])))


def test_layers_without_a_converter_are_opened(shake, written):
    left, right = keras.Input((5, 4), name="left"), keras.Input((3, 4), name="right")
    written(shake(keras.Model([left, right], layers.Dot(axes=2)([left, right]))))


class Counted(layers.Layer):
    def call(self, x):
        return ops.cumsum(x, axis=-1)


class Branching(layers.Layer):
    def call(self, x):
        return ops.where(x > 0, x, ops.scan(lambda total, row: (total + row, total), x[0], x)[1])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Counted, r"layer 'own' is custom \(Counted\), and 'cumsum.*' is a bare operation \(keras.ops, Cumsum\)"),
        (Branching, r"layer 'own' is custom \(Branching\), and "),
    ],
)
def test_what_is_not_written_is_told_in_one_line(layer, message):
    from kerasdl.export.graph import UnsupportedError, build_graph
    from kerasdl.export.target import load_target

    model = keras.Sequential([keras.Input((4,)), layer(name="own")])
    with pytest.raises(UnsupportedError, match=message) as refusal:
        build_graph(model, load_target("onnx"))
    assert "\n" not in str(refusal.value)
