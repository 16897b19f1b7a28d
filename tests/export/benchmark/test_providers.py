"""A row is named by what computed, never by what was asked for."""

from pathlib import Path

import pytest

from kerasdl.export import session as sessions
from kerasdl.export.benchmark.candidates import Candidate, find_candidates
from kerasdl.export.benchmark.result import name_way
from kerasdl.export.benchmark.runners import onnxruntime_runner
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.sources import Source
from kerasdl.export.session import CPU, CUDA, TENSORRT, create_session, placement

pytestmark = pytest.mark.backend_free


@pytest.fixture
def source():
    return Source(Path("model.onnx"), "onnxruntime", "float32", 1, True)


class Part:
    def __init__(self, provider, nodes):
        self.ep_name = provider
        self.get_nodes = lambda: list(range(nodes))


class Fake:
    """A session that says what it kept and, where this onnxruntime can tell, who computes which nodes."""

    def __init__(self, providers, parts=None):
        self.get_providers = lambda: providers
        self.get_inputs = self.get_outputs = list
        if parts is not None:
            self.get_provider_graph_assignment_info = lambda: parts


@pytest.mark.parametrize(
    "fake",
    [
        Fake([CPU]),
        Fake([CUDA, CPU], [Part(CPU, 5)]),
        Fake([CUDA, CPU], [Part(CUDA, 1), Part(CPU, 2), Part(CPU, 3)]),
    ],
)
def test_a_session_that_computes_on_the_cpu_is_no_cuda_row(fake, monkeypatch, source):
    monkeypatch.setattr(onnxruntime_runner, "create_session", lambda *given, **options: fake)
    candidate = Candidate(source, CUDA)
    opened = onnxruntime_runner.open_model(candidate.request())
    assert opened.provider == CPU
    assert name_way(candidate, opened.provider) == "ONNX Runtime CPU (CUDA was asked for)"


def test_a_session_that_computes_on_cuda_is_a_cuda_row(monkeypatch, source):
    fake = Fake([CUDA, CPU], [Part(CUDA, 7), Part(CPU, 1)])
    monkeypatch.setattr(onnxruntime_runner, "create_session", lambda *given, **options: fake)
    candidate = Candidate(source, CUDA, "IO binding")
    opened = onnxruntime_runner.open_model(candidate.request())
    assert name_way(candidate, opened.provider) == "ONNX Runtime CUDA, IO binding"
    assert opened.facts["nodes_by_provider"] == {CUDA: 7, CPU: 1}


def test_a_provider_that_cannot_load_is_told_with_its_reason_and_not_asked_for(monkeypatch, source):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(sessions, "_loads", lambda name: "nvinfer" not in name)
    monkeypatch.setattr(sessions, "has_cuda_device", lambda: True)
    sessions.missing.cache_clear()
    rows, missing = find_candidates([source], Settings())
    sessions.missing.cache_clear()
    assert {row.requested for row in rows} == {CUDA, CPU}
    assert [row.mode for row in rows if row.requested == CUDA] == ["", "IO binding", "CUDA graph"]
    assert [each.what for each in missing] == [TENSORRT]
    assert "nvinfer" in missing[0].reason and "does not load" in missing[0].reason


def test_threads_are_one_row_each(monkeypatch, source):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: [CPU])
    assert [row.threads for row in find_candidates([source], Settings(threads=(4, 2, 4)))[0]] == [2, 4]
    assert find_candidates([source], Settings())[0][0].threads == 1


def test_a_session_has_the_threads_asked_for_and_tells_who_computes(dense):
    session = create_session(dense(), [CPU], threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    found = placement(session)
    assert set(found) == {CPU} and found[CPU] >= 1
