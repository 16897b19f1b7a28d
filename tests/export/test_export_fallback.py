"""What the graph writer does not know goes to Keras' own exporter, and the result says so."""

import keras
import numpy as np
import onnx
import pytest

from kerasdl.backend import installed
from kerasdl.errors import UserError
from kerasdl.export import ExportError, export_model, fallback
from kerasdl.export import graphs as module

layers = keras.layers
ON_JAX = keras.backend.backend() == "jax"
EXPORTERS = {"tensorflow", "torch"} & set(installed())


class Shifted(layers.Layer):
    def call(self, x):
        return keras.ops.cumsum(x, axis=1) * 2 + 1


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.hidden = layers.Dense(5, activation="relu")
        self.last = layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.last(keras.ops.cumsum(self.hidden(x), axis=1))


class WiderDense(layers.Dense):
    def __init__(self, units, **settings):
        super().__init__(units * 2, **settings)


def custom():
    return keras.Sequential([keras.Input((6,)), layers.Dense(4), Shifted(name="shifted"), layers.Dense(3, "softmax")])


def subclassed():
    model = Subclassed()
    model(np.ones((1, 6), "float32"))
    return model


@pytest.mark.skipif(ON_JAX, reason="a fresh process cannot load own classes")
@pytest.mark.parametrize("make", [custom, subclassed])
def test_own_classes_in_this_process(make, scaling, shake, tmp_path, capfd):
    model = shake(make())
    export = export_model(model, tmp_path / "m.onnx", scaling=scaling, classes=("a", "b", "c"))
    assert export.exporter == f"keras on {keras.backend.backend()}"
    assert len(export.warnings) == 1
    assert "kerasdl writes no graph for this" in export.warnings[0]
    assert export.max_abs_diff < 1e-4
    graph = onnx.load(export.path).graph
    assert [graph.input[0].name, graph.output[0].name] == ["features", "probabilities"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert capfd.readouterr().out == ""


@pytest.mark.skipif(not ON_JAX, reason="the other backends export in this process")
@pytest.mark.skipif(not EXPORTERS, reason="neither TensorFlow nor torch is installed")
@pytest.mark.parametrize(("make", "name"), [(custom, "layer 'shifted'"), (subclassed, "model 'subclassed'")])
def test_own_classes_cannot_go_to_a_fresh_process(make, name, tmp_path):
    with pytest.raises(UserError, match=f"{name} .* cannot be loaded in a fresh process"):
        export_model(make(), tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.skipif(not EXPORTERS, reason="neither TensorFlow nor torch is installed")
def test_a_fresh_process_where_this_one_cannot(scaling, shake, tmp_path):
    model = keras.Sequential(
        [keras.Input((6,)), layers.ReLU(threshold=0.5, name="step"), layers.Dense(3, activation="softmax")]
    )
    export = export_model(shake(model), tmp_path / "m.onnx", scaling=scaling)
    assert export.exporter == (
        "keras on tensorflow in a fresh process" if ON_JAX else f"keras on {keras.backend.backend()}"
    )
    assert "layer 'step' (ReLU) has a threshold" in export.warnings[0]
    assert [entry.name for entry in onnx.load(export.path).graph.input] == ["features"]


def test_a_subclass_that_computes_nothing_new_is_written_directly(tmp_path):
    model = keras.Sequential([keras.Input((6,)), WiderDense(2), layers.Activation("relu")])
    assert export_model(model, tmp_path / "m.onnx").exporter == "kerasdl"


@pytest.mark.parametrize(
    "layer",
    [
        layers.LSTM(3, activation="gelu"),
        layers.Masking(),
        layers.Dense(3, activation=lambda x: keras.ops.cumsum(x, axis=1), name="cumsum"),
        layers.ReLU(threshold=1.0),
    ],
    ids=lambda layer: layer.name,
)
def test_what_is_not_written_is_never_written_wrongly(layer):
    from kerasdl.export.graph import UnsupportedError, build_graph
    from kerasdl.export.target import load_target

    model = keras.Sequential([keras.Input((4, 3)), layer])
    with pytest.raises(UnsupportedError, match=layer.name):
        build_graph(model, load_target("onnx"))


def test_dropout_that_stays_on_is_not_dropped():
    from kerasdl.export.graph import UnsupportedError, build_graph
    from kerasdl.export.target import load_target

    entry = keras.Input((4,))
    model = keras.Model(entry, layers.Dropout(0.5, name="always")(entry, training=True))
    with pytest.raises(UnsupportedError, match="layer 'always' is called with training=True"):
        build_graph(model, load_target("onnx"))


def test_without_any_exporter_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(fallback.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"layer 'shifted' is custom .* pip install 'kerasdl\[tensorflow\]'"):
        export_model(custom(), tmp_path / "m.onnx")


@pytest.mark.skipif(ON_JAX, reason="nothing is exported in this process")
def test_an_exporter_that_fails_is_quoted(monkeypatch, tmp_path):
    def broken(*arguments, **options):
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(keras.Sequential, "export", broken)
    monkeypatch.setattr(fallback, "_export_by_torch", lambda *arguments: False)
    with pytest.raises(UserError, match=r"failed on .*: RuntimeError: no such operator$"):
        export_model(custom(), tmp_path / "m.onnx")


@pytest.mark.skipif(ON_JAX, reason="nothing is exported in this process")
def test_a_wrong_foreign_graph_is_refused(monkeypatch, tmp_path):
    slim = module.slim

    def damage(graph):
        slimmed = slim(graph)
        for each in slimmed.graph.initializer:
            values = onnx.numpy_helper.to_array(each)
            if values.dtype == np.float32:
                each.CopyFrom(onnx.numpy_helper.from_array(values + np.float32(0.5), each.name))
        return slimmed

    monkeypatch.setattr(module, "slim", damage)
    with pytest.raises(ExportError, match="nothing was written"):
        export_model(custom(), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
