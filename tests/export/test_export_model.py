"""What is promised of every file: names, metadata, raw features, any batch; whole and right, or not at all."""

import json
import subprocess
import sys

import keras
import numpy as np
import onnx
import pytest

import kerasdl
from kerasdl.data.dataset import Scaling
from kerasdl.errors import UserError
from kerasdl.export import Export, ExportError, Target, create_session, export_model
from kerasdl.export import export as writing
from kerasdl.export import graphs as module

layers = keras.layers


def test_an_mlp_is_what_one_would_write_by_hand(small, scaling, nodes, tmp_path):
    export = export_model(small, tmp_path / "small.onnx", scaling=scaling)
    assert nodes(export.path) == ["Sub", "Div", "Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
    assert (export.nodes, export.opset, export.exporter) == (8, 18, "kerasdl")


def test_division_by_255_costs_no_node(shake, nodes, tmp_path):
    model = keras.Sequential(
        [
            keras.Input((8, 8)),
            layers.Flatten(),
            layers.Dense(5, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    rows = np.random.default_rng(0).integers(0, 256, (30, 8, 8)).astype("float32")
    pixels = Scaling(np.float32(0), np.float32(255))
    export = export_model(shake(model), tmp_path / "m.onnx", scaling=pixels, rows=rows)
    assert nodes(export.path) == ["Flatten", "Gemm", "Relu", "Gemm", "Softmax"]


def test_a_cnn_moves_its_channels_once(shake, nodes, tmp_path):
    stack = [keras.Input((12, 12, 3))]
    for filters in (4, 8):
        stack += [layers.Conv2D(filters, 3, padding="same", use_bias=False), layers.BatchNormalization(), layers.ReLU()]
        stack += [layers.MaxPooling2D()]
    model = shake(keras.Sequential([*stack, layers.Flatten(), layers.Dense(10, activation="softmax")]))
    export = export_model(model, tmp_path / "cnn.onnx")
    blocks = ["Conv", "Relu", "MaxPool"] * 2
    assert nodes(export.path) == ["Transpose", *blocks, "Flatten", "Gemm", "Softmax"]


def test_batch_normalization_after_an_activation_goes_into_the_next_layer(shake, nodes, tmp_path):
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(5, activation="relu"), layers.BatchNormalization(), layers.Dense(3)]
    )
    assert nodes(export_model(shake(model), tmp_path / "m.onnx").path) == ["Gemm", "Relu", "Gemm"]


def test_names_and_metadata(small, scaling, tmp_path):
    features, classes = list("abcdef"), ["north", "south", "east", "west"]
    path = tmp_path / "small.onnx"
    metadata = {"source": "a test", "scores": {"accuracy": 0.5}}
    export_model(small, path, scaling=scaling, classes=classes, features=features, metadata=metadata)
    model = onnx.load(path)
    properties = {each.key: each.value for each in model.metadata_props}
    assert json.loads(properties["classes"]) == classes
    assert json.loads(properties["features"]) == features
    assert properties["source"] == "a test"
    assert json.loads(properties["scores"]) == {"accuracy": 0.5}
    assert properties["exporter"] == "kerasdl"
    assert (model.producer_name, model.producer_version) == ("kerasdl", kerasdl.__version__)
    assert [each.name for each in model.graph.input] == ["features"]
    assert [each.name for each in model.graph.output] == ["probabilities"]
    names = {node.name for node in model.graph.node}
    assert {layer.name for layer in small.layers if isinstance(layer, layers.Dense | layers.ReLU)} <= names


def test_the_file_takes_raw_features_in_any_batch(small, scaling, tmp_path):
    session = create_session(export_model(small, tmp_path / "small.onnx", scaling=scaling).path)
    raw = scaling.invert(np.random.default_rng(0).normal(size=(100, 6)))
    expected = keras.ops.convert_to_numpy(small(scaling.apply(raw), training=False))
    for size in (1, 3, 100):
        (actual,) = session.run(None, {"features": raw[:size]})
        np.testing.assert_allclose(actual, expected[:size], atol=1e-5)


def test_what_comes_back(small, tmp_path):
    export = export_model(small, str(tmp_path / "small.onnx"))
    assert isinstance(export, Export)
    assert export.path == tmp_path / "small.onnx"
    assert 0 <= export.p99_abs_diff <= export.max_abs_diff < 1e-5
    assert export.argmax_agreement == 1.0
    assert export.providers[-1] == "CPUExecutionProvider"
    assert export.seconds > 0
    assert json.loads(json.dumps(export.as_dict()))["batch_sizes"] == [1, 7, 64]


def test_one_row_at_a_time(small, tmp_path):
    export = export_model(small, tmp_path / "small.onnx", Target(format="onnx", dynamic_batch=False))
    assert export.batch_sizes == (1,)
    assert onnx.load(export.path).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


@pytest.mark.parametrize("opset", [18, 19, 20, 21])
def test_opsets_and_names_of_the_ends(opset, shake, nodes, tmp_path):
    model = shake(
        keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="gelu", name="scores"), layers.Dense(2)])
    )
    export = export_model(model, tmp_path / "m.onnx", Target(format="onnx", opset=opset, input="x", output="scores"))
    graph = onnx.load(export.path).graph
    assert export.opset == opset
    assert ("Gelu" in nodes(export.path)) == (opset >= 20)
    assert [graph.input[0].name, graph.output[0].name] == ["x", "scores"]


def test_a_damaged_graph_is_refused_and_nothing_is_written(small, tmp_path, monkeypatch):
    build = module.build_graph

    def damage(*arguments):
        graph = build(*arguments)
        kernel = next(each for each in graph.graph.initializer if each.name.endswith("kernel"))
        values = onnx.numpy_helper.to_array(kernel).copy()
        values[0, 0] += 0.5
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))
        return graph

    monkeypatch.setattr(module, "build_graph", damage)
    with pytest.raises(ExportError, match=r"differ from Keras' by up to 0\.\d+ .* nothing was written"):
        export_model(small, tmp_path / "small.onnx")
    assert list(tmp_path.iterdir()) == []


def test_an_invalid_graph_is_refused_and_the_old_file_stays(small, tmp_path, monkeypatch):
    path = tmp_path / "small.onnx"
    path.write_text("old")
    build = module.build_graph

    def damage(*arguments):
        graph = build(*arguments)
        del graph.graph.node[1]
        return graph

    monkeypatch.setattr(module, "build_graph", damage)
    monkeypatch.setattr(module, "slim", lambda graph: graph)
    with pytest.raises(ExportError, match="not valid ONNX"):
        export_model(small, path)
    assert [each.name for each in tmp_path.iterdir()] == ["small.onnx"]
    assert path.read_text() == "old"


def test_an_interrupted_write_leaves_the_old_file(small, tmp_path, monkeypatch):
    path = tmp_path / "small.onnx"
    path.write_text("old")

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "compare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_model(small, path)
    assert [each.name for each in tmp_path.iterdir()] == ["small.onnx"]
    assert path.read_text() == "old"


def test_the_file_has_the_rights_of_any_new_file(small, tmp_path):
    other = tmp_path / "other"
    other.write_text("")
    assert export_model(small, tmp_path / "m.onnx").path.stat().st_mode == other.stat().st_mode


def test_a_diverged_model_is_refused(small, tmp_path):
    small.layers[0].kernel.assign(np.full((6, 16), np.nan, "float32"))
    with pytest.raises(ExportError, match="not finite in Keras itself"):
        export_model(small, tmp_path / "m.onnx")


def test_wrong_arguments(small, scaling, tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(UserError, match="there is no folder"):
        export_model(small, tmp_path / "none" / "m.onnx")
    with pytest.raises(UserError, match="is a folder"):
        export_model(small, tmp_path)
    with pytest.raises(UserError, match=r"takes a keras\.Model, not int"):
        export_model(3, path)
    with pytest.raises(UserError, match="has not been built"):
        export_model(keras.Sequential([layers.Dense(2)]), path)
    with pytest.raises(UserError, match="classes has 2 names and model 'small' 4 outputs"):
        export_model(small, path, classes=("a", "b"))
    with pytest.raises(UserError, match=r"metadata\['when'\] is object"):
        export_model(small, path, metadata={"when": object()})
    with pytest.raises(UserError, match=r"rows for 'table' have the shape \(3, 5\); the model takes \(rows, 6\)"):
        export_model(small, path, rows=np.ones((3, 5)))
    with pytest.raises(UserError, match="rows hold 2 arrays; the model has 1 inputs: table"):
        export_model(small, path, rows=[np.ones((3, 6)), np.ones((3, 6))])
    with pytest.raises(UserError, match="rows are given for other; the model's inputs are table"):
        export_model(small, path, rows={"other": np.ones((3, 6))})
    assert not path.exists()


def test_scaling_is_for_one_input(scaling, tmp_path):
    left, right = keras.Input((6,)), keras.Input((6,))
    with pytest.raises(UserError, match="scaling is for one input"):
        export_model(keras.Model([left, right], layers.Add()([left, right])), tmp_path / "m.onnx", scaling=scaling)


def test_open_sizes_are_compared_at_two(shake, tmp_path):
    model = shake(keras.Sequential([keras.Input((None, 3)), layers.Conv1D(2, 3)]))
    assert export_model(model, tmp_path / "m.onnx").batch_sizes == (1, 7, 64, 2)


def test_a_size_that_became_a_constant_is_found(shake, tmp_path, monkeypatch):
    model = shake(keras.Sequential([keras.Input((None, 3)), layers.Conv1D(2, 3)]))
    build = module.build_graph

    def fixed(*arguments):
        graph = build(*arguments)
        shape = onnx.numpy_helper.from_array(np.asarray([-1, 14, 2]), "fixed")
        graph.graph.initializer.append(shape)
        last = graph.graph.node[-1]
        graph.graph.node.append(onnx.helper.make_node("Reshape", ["inner", "fixed"], [last.output[0]], name="fixed"))
        last.output[0] = "inner"
        return graph

    monkeypatch.setattr(module, "build_graph", fixed)
    with pytest.raises(ExportError, match=r"the file fails on 2 rows|the file gives the shapes"):
        export_model(model, tmp_path / "m.onnx")


def test_importing_the_package_starts_nothing_heavy():
    heavy = ["keras", "onnx", "onnxruntime", "onnxslim", "torch", "tensorflow", "jax", "pandas", "matplotlib"]
    code = f"import kerasdl.export, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
