"""Half precision and 8 bits: what is lost is measured, told, and refused past the limit."""

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kerasdl.data.dataset import Scaling
from kerasdl.errors import UserError
from kerasdl.export import ExportError, Target, export_model, load_target
from kerasdl.export.change import accuracy_drop, check_change, measure_change
from kerasdl.export.precision import dynamic_reason
from kerasdl.export.target import Limit, Quantization, Tolerance

layers = keras.layers
ANY = {"limit": Limit(metric_drop=1.0, changed_classes=1.0), "tolerance": Tolerance(absolute=1.0, beyond=0.5)}


@pytest.fixture
def far():
    """Features of very different sizes, some beyond what half precision holds."""
    return Scaling(np.float32([0, 1, 100, 1000, 1e5, 3e6]), np.float32([1, 2, 30, 100, 1e5, 1e6]))


@pytest.fixture
def rows(far):
    return far.invert(np.random.default_rng(3).normal(size=(300, 6)))


@pytest.fixture
def labels(small, far, rows):
    """The model's own answers, a tenth of them wrong."""
    found = keras.ops.convert_to_numpy(small(far.apply(rows), training=False)).argmax(-1)
    found[::10] = (found[::10] + 1) % 4
    return found


def test_half_precision_leaves_the_scaling_alone(small, far, rows, labels, tmp_path):
    export = export_model(small, tmp_path / "m.onnx", "onnx-fp16", scaling=far, rows=rows, labels=labels)
    model = onnx.load(export.path)
    kinds = {each.name: each.data_type for each in model.graph.initializer}
    assert kinds["scaling/offset"] == TensorProto.FLOAT
    halves = [each for each in model.graph.initializer if each.data_type == TensorProto.FLOAT16]
    assert len(halves) == 6
    assert [node.op_type for node in model.graph.node][:4] == ["Sub", "Div", "Cast", "Gemm"]
    ends = [each.type.tensor_type.elem_type for each in (*model.graph.input, *model.graph.output)]
    assert ends == [TensorProto.FLOAT, TensorProto.FLOAT]
    change = export.change
    assert (change.metric, change.rows) == ("accuracy", 300)
    assert change.before == pytest.approx(0.9)
    assert change.low < change.drop < change.high
    assert change.changed_classes <= 0.01


def test_eight_bits_are_calibrated_on_training_rows(small, far, rows, labels, tmp_path):
    target = Target(format="onnx", precision="int8", **ANY)
    train = far.invert(np.random.default_rng(4).normal(size=(500, 6)))
    options = {"scaling": far, "rows": rows, "labels": labels}
    export = export_model(small, tmp_path / "m.onnx", target, calibration=train, **options)
    assert export.warnings[0] == "static, calibrated on 256 training rows"
    graph = onnx.load(export.path).graph
    weights = [each for each in graph.initializer if each.data_type == TensorProto.INT8 and len(each.dims) == 2]
    assert len(weights) == 3
    # Seven bits, so that sums of products hold on every processor.
    assert max(np.abs(numpy_helper.to_array(each).astype(int)).max() for each in weights) <= 64
    scales = [each for each in graph.initializer if each.name.endswith("kernel_scale")]
    assert [len(numpy_helper.to_array(each)) for each in scales] == [16, 16, 4]
    first = next(node for node in graph.node if node.op_type == "Sub")
    assert first.input[0] == "features"
    assert export.change.changed_classes < 0.1
    # Ranges fitted to rows far from these lose nearly everything.
    bad = export_model(small, tmp_path / "bad.onnx", target, calibration=train * 0 + far.offset, **options)
    assert bad.change.changed_classes > 2 * export.change.changed_classes


def test_past_the_limit_is_refused_by_both_ways(small, far, rows, labels, tmp_path):
    target = Target(format="onnx", precision="int8", limit=Limit(changed_classes=0.0), tolerance=ANY["tolerance"])
    with pytest.raises(ExportError, match=r"int8 gives another class for .* limit\.changed_classes = 0 .*; .*int8"):
        export_model(small, tmp_path / "m.onnx", target, scaling=far, rows=rows, labels=None)
    assert list(tmp_path.iterdir()) == []


def test_a_drop_of_the_metric_past_the_limit_is_refused(small, far, rows, tmp_path, monkeypatch):
    from kerasdl.export import precision

    half = precision._to_float16

    def damage(graph):
        halved = half(graph)
        bias = next(each for each in halved.graph.initializer if each.name == "dense_2/bias" or each.dims == [4])
        values = numpy_helper.to_array(bias).copy()
        values[0] += 20
        bias.CopyFrom(numpy_helper.from_array(values, bias.name))
        return halved

    monkeypatch.setattr(precision, "_to_float16", damage)
    target = load_target("onnx-fp16").model_copy(
        update={"tolerance": ANY["tolerance"].model_copy(update={"beyond": 0.99})}
    )
    found = keras.ops.convert_to_numpy(small(far.apply(rows), training=False)).argmax(-1)
    with pytest.raises(
        ExportError, match=r"float16 loses 0\.\d+ of accuracy on 300 test rows \(1\.0000 to 0\.\d+, 95 %"
    ):
        export_model(small, tmp_path / "m.onnx", target, scaling=far, rows=rows, labels=found)


def test_eight_bits_need_rows(small, tmp_path):
    with pytest.raises(UserError, match=r"'onnx-int8' needs rows .* give rows= \(on the command line --rows\)"):
        export_model(small, tmp_path / "m.onnx", "onnx-int8")


def test_dynamic_where_asked_for(small, far, rows, tmp_path):
    target = Target(format="onnx", precision="int8", quantization=Quantization(method="dynamic"), **ANY)
    export = export_model(small, tmp_path / "m.onnx", target, scaling=far, rows=rows)
    assert export.warnings[0].startswith("dynamic, as the target says so: ranges are taken from each batch")
    assert "DynamicQuantizeLinear" in [node.op_type for node in onnx.load(export.path).graph.node]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([("MatMul", ["x", "w"])], None),
        ([("Gemm", ["x", "w"])], None),
        ([("MatMul", ["x", "x"])], "the network attends (products of two activations)"),
        ([("LSTM", ["x", "w", "w"])], "the network is recurrent (LSTM)"),
    ],
)
def test_why_dynamic_fits_better(nodes, reason):
    made = [helper.make_node(kind, inputs, [f"y{place}"]) for place, (kind, inputs) in enumerate(nodes)]
    weight = numpy_helper.from_array(np.ones((2, 2), "float32"), "w")
    graph = helper.make_graph(made, "g", [], [], [weight])
    assert dynamic_reason(helper.make_model(graph)) == reason


@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_openvino_with_less_precision(precision, small, far, rows, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    full = export_model(small, tmp_path / "full.xml", "openvino", scaling=far, rows=rows)
    target = Target(format="openvino", precision=precision, **ANY)
    export = export_model(small, tmp_path / "m.xml", target, scaling=far, rows=rows)
    weights = [(tmp_path / name).stat().st_size for name in (export.files[1], full.files[1])]
    assert weights[0] < 0.75 * weights[1]
    assert export.change.changed_classes < 0.1


def test_the_interval_of_a_drop_of_accuracy():
    # b = 3 lost and c = 1 won of 100: Agresti and Min's (b* - c*) / n* +- z sqrt(b* + c* - (b* - c*)^2 / n*) / n*.
    before, after = np.ones(100, bool), np.ones(100, bool)
    after[:3] = False
    before[3] = False
    drop, low, high = accuracy_drop(before, after)
    half = 1.959964 * np.sqrt(5 - 4 / 102) / 102
    assert drop == pytest.approx(0.02)
    assert (low, high) == pytest.approx((2 / 102 - half, 2 / 102 + half))
    assert accuracy_drop(after, before)[1:] == pytest.approx((-high, -low))


def test_the_interval_covers_the_true_drop():
    generator = np.random.default_rng(0)
    covered = []
    for _ in range(500):
        kind = generator.choice(4, size=200, p=[0.8, 0.14, 0.04, 0.02])
        _, low, high = accuracy_drop(np.isin(kind, (0, 2)), np.isin(kind, (0, 3)))
        covered.append(low <= 0.02 <= high)
    assert 0.93 <= np.mean(covered) <= 0.99


def test_dice_of_segmented_images():
    truth = np.zeros((5, 4, 4), "int64")
    truth[:, :2] = 1
    right = np.eye(2)[truth]
    wrong = right.copy()
    wrong[0] = np.eye(2)[1 - truth[0]]
    change = measure_change(right, wrong, truth, binary=False)
    assert (change.metric, change.before, change.after) == ("dice", 1.0, pytest.approx(0.8))
    assert change.drop == pytest.approx(0.2)
    assert change.low < 0.2 < change.high
    assert change.changed_classes == pytest.approx(0.2)


def test_one_image_has_no_interval():
    truth = np.eye(2, dtype="int64")[None]
    change = measure_change(np.eye(2)[truth], np.eye(2)[1 - truth], truth, binary=False)
    assert (change.drop, change.low, change.high) == (1.0, None, None)
    with pytest.raises(ExportError, match="no interval on one row"):
        check_change(change, load_target("onnx-fp16"))


def test_two_classes_in_one_output():
    expected, actual = np.float32([[0.4], [0.6], [0.9]]), np.float32([[0.6], [0.7], [0.8]])
    change = measure_change(expected, actual, np.array([0, 1, 0]), binary=True)
    assert (change.before, change.after, change.changed_classes) == pytest.approx((2 / 3, 1 / 3, 1 / 3))
