"""Sessions ask only for providers that work here, and nobody hears of the others."""

import subprocess
import sys

import pytest

from kerasdl.errors import UserError
from kerasdl.export import session as module


@pytest.fixture
def file(tmp_path):
    from onnx import TensorProto, helper, save

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", ends[:1], ends[1:])
    path = tmp_path / "relu.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_nothing_is_printed_about_missing_cuda(file):
    code = f"from kerasdl.export import create_session; print(create_session({str(file)!r}).get_providers())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert "CPUExecutionProvider" in done.stdout


def test_a_session_uses_what_can_work(file):
    used = module.create_session(file).get_providers()
    assert set(used) <= set(module.usable_providers())
    assert module.TENSORRT not in used


def test_the_cpu_alone(file):
    assert module.create_session(file, [module.CPU]).get_providers() == [module.CPU]


def test_a_provider_that_lacks_its_libraries_is_refused(file, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [module.TENSORRT, module.CUDA, module.CPU])
    monkeypatch.setattr(module, "_loads", lambda name: "cudnn" not in name)
    module.missing.cache_clear()
    with pytest.raises(UserError, match=r"CUDAExecutionProvider cannot work here: .*cudnn.* does not load"):
        module.create_session(file, [module.CUDA])
    assert module.create_session(file).get_providers() == [module.CPU]
    module.missing.cache_clear()


def test_libraries_without_a_device_are_not_enough(monkeypatch):
    monkeypatch.setattr(module, "_loads", lambda name: True)
    monkeypatch.setattr(module, "has_cuda_device", lambda: False)
    module.missing.cache_clear()
    assert module.missing(module.CUDA) == "no CUDA device"
    module.missing.cache_clear()


def test_an_unknown_provider_is_refused(file):
    with pytest.raises(UserError, match="did you mean 'CPUExecutionProvider'"):
        module.create_session(file, ["CPUExecutionProvder"])
