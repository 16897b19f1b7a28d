"""Extreme rows: NaN stays in its row, and where Keras gives numbers the file must too."""

import keras
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from kerasdl.export import ExportError, export_model, verify
from kerasdl.export.extremes import EXTREMES, extreme_rows, near_rows, slack
from kerasdl.export.samples import take_samples
from kerasdl.export.target import load_target

layers = keras.layers


@pytest.fixture
def linear(shake):
    """A model without saturation, so that huge rows give huge outputs."""
    return shake(keras.Sequential([keras.Input((6,)), layers.Dense(3, name="last")]))


@pytest.fixture
def spoil(linear, tmp_path):
    """Exports the model, puts nodes behind its output, and gives the file."""

    def apply(nodes, constants=()):
        path = tmp_path / "m.onnx"
        export_model(linear, path)
        model = onnx.load(path)
        model.graph.node[-1].output[0] = "before"
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value, "float32"), name) for name, value in constants
        )
        onnx.save(model, path)
        return path

    return apply


def test_rows_that_influence_each_other_are_refused(linear, spoil):
    # Adds 0 x the sum over all rows: nothing, until one of them is NaN.
    nodes = [
        helper.make_node("ReduceSum", ["before"], ["all"], keepdims=0),
        helper.make_node("Mul", ["all", "zero"], ["nothing"]),
        helper.make_node("Add", ["before", "nothing"], ["outputs"]),
    ]
    with pytest.raises(ExportError, match="lets rows of a batch influence each other"):
        verify(spoil(nodes, [("zero", 0.0)]), linear)


def test_numbers_lost_on_zeros_are_refused(linear, spoil):
    # 0 / |x|: nothing, but NaN for a row of zeros.
    nodes = [
        helper.make_node("Abs", ["features"], ["sizes"]),
        helper.make_node("ReduceMax", ["sizes", "axis"], ["size"], keepdims=1),
        helper.make_node("Div", ["zero", "size"], ["nothing"]),
        helper.make_node("Add", ["before", "nothing"], ["outputs"]),
    ]
    path = spoil(nodes, [("zero", 0.0)])
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], "int64"), "axis"))
    onnx.save(model, path)
    with pytest.raises(ExportError, match=r"\(zeros\): the file gives NaN or infinity for 3 of 3 outputs"):
        verify(path, linear)


def test_clipped_huge_values_are_refused(linear, spoil):
    nodes = [helper.make_node("Clip", ["before", "low", "high"], ["outputs"])]
    with pytest.raises(ExportError, match=r"\(huge\): the outputs differ"):
        verify(spoil(nodes, [("low", -1e4), ("high", 1e4)]), linear)


def test_an_output_of_another_shape_is_refused(linear, spoil):
    nodes = [helper.make_node("Concat", ["before", "before"], ["outputs"], axis=1)]
    with pytest.raises(ExportError, match="the file gives the shapes"):
        verify(spoil(nodes), linear)


def test_a_file_that_is_none_is_refused(linear, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_text("nothing")
    with pytest.raises(ExportError, match="does not open"):
        verify(path, linear)


def test_the_rows_of_extremes(linear):
    samples = take_samples(linear, None, None, load_target("onnx"))
    (rows,) = samples.extremes
    by_name = dict(zip(EXTREMES, rows, strict=True))
    assert not by_name["zeros"].any()
    assert np.abs(by_name["huge"]).min() >= 1e6
    assert np.isnan(by_name["NaN"]).all()
    assert np.isnan(by_name["one NaN"]).sum() == 1
    assert 0 < np.abs(by_name["subnormal"]).max() < np.finfo("float32").tiny
    assert [len(batch[0]) for batch in samples.batches] == [1, 7, 64]


def test_slack_is_what_answers_move_by_when_huge_rows_are_rounded_and_subnormal_ones_flushed():
    (rows,) = extreme_rows([np.ones((1, 8), "float32")])

    def larger(x):
        return np.sign(x[:, ::2] - x[:, 1::2])

    def above_zero(x):
        return (x[:, :1] > 0).astype("float32")

    (near,) = near_rows((rows,))
    moved = slack((larger(rows), above_zero(rows), rows), (larger(near), above_zero(near), near))
    compared, signed, linear = (dict(zip(EXTREMES, each, strict=True)) for each in moved)
    assert compared == {**dict.fromkeys(EXTREMES, 0.0), "huge": 1.0}
    assert signed == {**dict.fromkeys(EXTREMES, 0.0), "subnormal": 1.0}
    assert 0 < linear["huge"] < 1e6 * 1e-6
    assert linear["ordinary"] == linear["NaN"] == linear["zeros"] == 0.0


def test_whole_numbers_have_no_extremes(shake, tmp_path):
    model = keras.Sequential([keras.Input((7,), dtype="int32"), layers.Embedding(11, 5), layers.Flatten()])
    assert export_model(shake(model), tmp_path / "m.onnx").extremes == {}
