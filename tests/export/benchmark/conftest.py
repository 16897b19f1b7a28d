import numpy as np
import pytest


@pytest.fixture
def quick_weights():
    """Takes the place of the folder's fixture, which imports Keras: nothing here needs it in this process."""


@pytest.fixture
def dense(tmp_path):
    """Writes an ONNX file: a softmax of a matrix product, 6 features and 4 classes."""

    def write(name="model.onnx", seed=0, shape=("batch", 6), noise=0.0):
        from onnx import TensorProto, helper, numpy_helper, save

        generator = np.random.default_rng(seed)
        weights = generator.standard_normal((6, 4))
        weights = (weights + noise * np.random.default_rng(99).standard_normal((6, 4))).astype("float32")
        nodes = [
            helper.make_node("MatMul", ["features", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ]
        inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, list(shape))]
        outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [*shape[:-1], 4])]
        graph = helper.make_graph(nodes, "dense", inputs, outputs, [numpy_helper.from_array(weights, "weights")])
        path = tmp_path / name
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
        return path

    return write
