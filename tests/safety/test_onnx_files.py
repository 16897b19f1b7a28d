"""What an ONNX file may not do: read other files, claim what is not there, bring operators of its own."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kerasdl.errors import UserError
from kerasdl.export import create_session
from kerasdl.safety import check_onnx

pytestmark = pytest.mark.backend_free

WEIGHT = np.arange(4, dtype="float32")


@pytest.fixture
def onnx_file(tmp_path):
    """Writes `x + weight`, the weight as given: inside the file, or external with these entries."""
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())

    def write(weight=None, nodes=None, domain=None, **place):
        tensor = weight or numpy_helper.from_array(WEIGHT, "weight")
        if place:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")]
        nodes = nodes or [helper.make_node("Add", ["x", "weight"], ["y"], name="add")]
        graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [tensor])
        sets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
        model = helper.make_model(graph, opset_imports=sets, ir_version=8)
        (folder / "m.onnx").write_bytes(model.SerializeToString())
        return folder / "m.onnx"

    return write


def refused(path, message):
    for opens in (check_onnx, create_session):
        with pytest.raises(UserError, match=message) as refusal:
            opens(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("place", [{}, {"location": "w.bin"}, {"location": "in/w.bin", "offset": 4, "length": 16}])
def test_weights_inside_and_beside_the_file_open(place, onnx_file):
    path = onnx_file(**place)
    (path.parent / "in").mkdir()
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    (path.parent / "in" / "w.bin").write_bytes(bytes(4) + WEIGHT.tobytes())
    (outputs,) = create_session(path).run(None, {"x": np.zeros((1, 4), "float32")})
    np.testing.assert_array_equal(outputs, WEIGHT[None])


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "in/../../secret",
        "/etc/passwd",
        "C:/secret",
        "..\\secret",
        "\\\\server\\share",
        "",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_cve_2024_27318_a_place_outside_of_the_folder(location, onnx_file):
    """CVE-2024-27318: `sub/../../secret` got past a check for `../` (onnx before 1.16), made for CVE-2022-25882."""
    path = onnx_file(location=location)
    (path.parent / "in").mkdir()
    refused(path, "outside of the model's folder")


def test_cve_2026_27489_a_symbolic_link(onnx_file):
    """CVE-2026-27489, GHSA-3r9x-f23j-gc73: the external file was a symbolic link (onnx before 1.21)."""
    path = onnx_file(location="w.bin")
    (path.parent / "w.bin").symlink_to("../secret")
    refused(path, "'w.bin' is a symbolic link")


def test_cve_2026_34447_a_linked_folder(onnx_file):
    """CVE-2026-34447, GHSA-p433-9wv8-28xj: a folder on the way was one (onnx before 1.21)."""
    path = onnx_file(location="in/secret")
    (path.parent / "in").symlink_to("..")
    refused(path, "'in' is a symbolic link")


def test_cve_2026_34446_a_hard_link(onnx_file, tmp_path):
    """CVE-2026-34446, GHSA-cmw6-hcpp-c6jp: the external file was a hard link (onnx before 1.21)."""
    path = onnx_file(location="w.bin")
    os.link(tmp_path / "secret", path.parent / "w.bin")
    refused(path, r"other names elsewhere \(hard links\)")


def test_cve_2026_34445_unknown_keys_of_a_place(onnx_file):
    """CVE-2026-34445: a key could be any attribute of the object that reads it (onnx before 1.21)."""
    path = onnx_file(location="w.bin", basepath="/etc")
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    refused(path, "the key 'basepath'")


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"length": 2**62}, "of a file of 16 bytes"),
        ({"offset": 2**62}, "of a file of 16 bytes"),
        ({"offset": -16}, "of a file of 16 bytes"),
        ({"length": -1}, "of a file of 16 bytes"),
        ({"length": 8}, "16 bytes, of which 8 are there"),
        ({"offset": 8}, "16 bytes, of which 8 are there"),
        ({"offset": "many"}, "no number"),
    ],
)
def test_ranges_outside_of_the_file(place, message, onnx_file):
    path = onnx_file(location="w.bin", **place)
    (path.parent / "w.bin").write_bytes(WEIGHT.tobytes())
    refused(path, message)


def test_a_place_that_is_no_file(onnx_file):
    refused(onnx_file(location="absent.bin"), "no such file")
    path = onnx_file(location="pipe")
    os.mkfifo(path.parent / "pipe")
    refused(path, "no such file")


@pytest.mark.parametrize("dims", [[2**40, 2**40], [5], [-1], [2**62, 4]])
def test_shapes_larger_than_their_contents(dims, onnx_file):
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=dims, raw_data=WEIGHT.tobytes())
    refused(onnx_file(tensor), "shape")


def test_weights_hidden_in_an_attribute_or_a_branch(onnx_file):
    tensor = TensorProto(name="weight", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    constant = helper.make_node("Constant", [], ["hidden"], name="c", value=tensor)
    add = helper.make_node("Add", ["x", "hidden"], ["y"], name="add")
    refused(onnx_file(nodes=[constant, add]), "outside of the model's folder")
    output = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [4])
    branch = helper.make_graph([constant], "branch", [], [output])
    choice = helper.make_node("If", ["weight"], ["y"], name="if", then_branch=branch, else_branch=branch)
    refused(onnx_file(nodes=[choice]), "outside of the model's folder")


def test_a_constant_that_would_fill_the_memory(onnx_file):
    shape = numpy_helper.from_array(np.asarray([2**20, 2**20]), "shape")
    nodes = [
        helper.make_node("Constant", [], ["unused"], name="c", value=shape),
        helper.make_node("ConstantOfShape", ["weight"], ["y"], name="bomb"),
    ]
    refused(onnx_file(numpy_helper.from_array(np.asarray([2**20, 2**20]), "weight"), nodes), "'bomb' .* values")


def test_operators_that_onnxruntime_does_not_bring_are_named(onnx_file):
    node = helper.make_node("Steal", ["x"], ["y"], name="evil", domain="com.example")
    refused(onnx_file(nodes=[node], domain="com.example"), r"'evil' is the operator com\.example\.Steal")
    node = helper.make_node("EPContext", [], ["y"], name="program", domain="com.microsoft", ep_cache_context="../a.so")
    refused(onnx_file(nodes=[node], domain="com.microsoft"), "'program' .* loads a compiled program")


def test_functions_that_the_file_defines_itself_open(onnx_file):
    path = onnx_file(nodes=[helper.make_node("Twice", ["x"], ["y"], name="twice", domain="own")], domain="own")
    model = onnx.load(path)
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "Twice", ["a"], ["b"], body, [helper.make_opsetid("", 18)]))
    path.write_bytes(model.SerializeToString())
    (outputs,) = create_session(path).run(None, {"x": WEIGHT[None]})
    np.testing.assert_array_equal(outputs, 2 * WEIGHT[None])


@pytest.mark.parametrize("contents", [b"", b"nothing of the kind", b"\x08\x08" * 5000, None])
def test_what_is_no_onnx(contents, tmp_path):
    path = tmp_path / "m.onnx"
    if contents is not None:
        path.write_bytes(contents)
    refused(path, "not an ONNX file|no such file")
