"""The whole command on tiny models, and what it says to what it cannot use."""

import json
import subprocess
import sys

import numpy as np
import pytest

from kerasdl.errors import UserError
from kerasdl.export import session
from kerasdl.export.benchmark import Settings, benchmark, candidates, measure
from kerasdl.export.benchmark.command import main
from kerasdl.export.benchmark.process import Process, WorkerError
from kerasdl.export.benchmark.progress import Progress

pytestmark = pytest.mark.backend_free

QUICK = Settings(batch_sizes=(1, 8), seconds=0.05, rounds=3, warm_up=0.1, server=False, threads=(1,))
WORDS = ["--batch-sizes", "1,8", "--seconds", "0.05", "--rounds", "3", "--threads", "1", "--server-seconds", "0.05"]


@pytest.fixture(autouse=True)
def only_the_cpu(monkeypatch):
    """A GPU would add rows of its own."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    for module in (session, candidates):
        monkeypatch.setattr(module, "has_cuda_device", lambda: False)
    session.missing.cache_clear()
    yield
    session.missing.cache_clear()


@pytest.fixture
def refused(capfd):
    """Runs the command and returns the one line that it says."""

    def run(*words):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        assert stopped.value.code == 2
        lines = [line for line in capfd.readouterr().err.splitlines() if not line.endswith(" s")]
        assert len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    return run


def test_the_command_measures_a_folder(dense, tmp_path, capfd):
    dense("model.onnx")
    dense("model-wrong.onnx", noise=3.0)
    command = [sys.executable, "-m", "kerasdl.export", "benchmark", str(tmp_path), *WORDS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    for text in ("1 row at once", "8 rows at once", "Server", "ONNX Runtime CPU, 1 thread", "for latency: ", "MLPerf"):
        assert text in done.stdout
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert (tmp_path / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert [each["file"] for each in found["rows"]] == ["model-wrong.onnx", "model.onnx"]
    for each in found["rows"]:
        assert each["provider"] == each["requested"] == "CPUExecutionProvider"
        assert [cell["batch_size"] for cell in each["cells"]] == [1, 8]
        assert all(cell["percentiles"][0]["calls"] >= 3 for cell in each["cells"])
        assert [load["fraction"] for load in each["loads"]] == [0.5, 0.8]
        assert 0 < each["memory"] < 1e9 and each["size"] > 0 and each["load_seconds"] > 0
    # Its file is as small and as quick, and its answers are others.
    assert all("model.onnx" in pick["row"] for pick in found["picks"])
    assert "model-wrong.onnx" in found["picks"][0]["left_out"][0]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 2 and "--force" in again.stderr


def test_a_file_of_one_batch_size_is_measured_at_that_one(dense):
    path = dense(shape=(8, 6))
    found = benchmark(path, settings=QUICK)
    assert list(found.table()["batch_size"]) == [8]
    assert any("takes 8 rows at once and nothing else" in note for note in found.notes)


def test_rows_of_ones_own_and_open_shapes(dense):
    path = dense(shape=("batch", "words", 6))
    with pytest.raises(UserError, match="open shape"):
        benchmark(path, settings=QUICK)
    found = benchmark(path, settings=QUICK, shapes={"features": (3, 6)}, rows=np.ones((5, 3, 6)))
    assert len(found.rows) == 1
    with pytest.raises(UserError, match="--rows: the rows have the shapes"):
        benchmark(path, settings=QUICK, shapes={"": (3, 6)}, rows=np.ones((5, 2, 6)))


def test_a_size_that_fails_is_left_out_with_its_reason(dense, tmp_path):
    import onnx

    model = onnx.load(dense())
    # Written for 8 rows, but declared for any number.
    shape = onnx.numpy_helper.from_array(np.array([8, 6]), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.insert(0, onnx.helper.make_node("Reshape", ["features", "shape"], ["fixed"]))
    model.graph.node[1].input[0] = "fixed"
    path = tmp_path / "eight.onnx"
    onnx.save(model, path)
    found = benchmark(path, settings=QUICK)
    assert list(found.table()["batch_size"]) == [8]
    assert [each.what for each in found.missing if "at once" in each.what] == [f"{found.rows[0].label}, 1 at once"]


def test_rows_that_repeat_are_compared_once(dense, tmp_path):
    dense("model.onnx")
    dense("model-noisy.onnx", noise=0.01)
    rows = np.random.default_rng(0).standard_normal((10, 6))
    found = {row.file: row for row in benchmark(tmp_path, settings=QUICK, rows=rows).rows}
    assert found["model.onnx"].agreement is None
    agreement = found["model-noisy.onnx"].agreement
    assert (agreement.reference, agreement.rows) == ("model.onnx", 10)
    assert 0 < agreement.relative_error < 0.1


def test_an_interruption_keeps_what_was_measured(dense, monkeypatch):
    burst, calls = measure._burst, []

    def interrupted(*given):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(given)
        burst(*given)

    monkeypatch.setattr(measure, "_burst", interrupted)
    found = benchmark(dense(), settings=QUICK, progress=Progress(enabled=False))
    assert found.interrupted
    assert [len(cell.medians) for cell in found.rows[0].cells.values()] == [2, 1]


def test_a_worker_that_dies_is_a_reason_and_not_a_hang(dense):
    with Process({}) as process:
        process._process.kill()
        with pytest.raises(WorkerError, match="ended by signal 9"):
            process.ask("memory")


def test_a_worker_that_is_too_slow_is_ended():
    with Process({}) as process, pytest.raises(WorkerError, match="no answer to 'memory' within 0 s"):
        process.ask("memory", patience=0.0)


def test_a_damaged_onnx_is_one_line(dense, refused, tmp_path):
    whole = dense().read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    assert f"{cut}: " in refused(cut)
    other = tmp_path / "other.onnx"
    other.write_bytes(b"GIF89a, no graph at all")
    assert "damaged, or not ONNX" in refused(other)


def test_a_graph_that_onnxruntime_refuses_is_one_line(dense, refused, tmp_path):
    import onnx

    model = onnx.load(dense())
    model.graph.node[0].op_type = "NoSuchOperator"
    path = tmp_path / "refused.onnx"
    onnx.save(model, path)
    assert "cannot be opened" in refused(path, "--threads", "1")
    assert not (tmp_path / "benchmark.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["absent.onnx"], "no such file or folder"),
        (["model.txt"], "is no model's"),
        (["model.h5"], "old h5 format"),
        (["empty.onnx"], "the file is empty"),
        (["text.keras"], "no zip archive"),
        (["nothing"], "no model in this folder"),
        (["model.onnx", "--batch-sizes", "0"], "whole numbers from 1"),
        (["model.onnx", "--batch-sizes", "a,b"], "no list of whole numbers"),
        (["model.onnx", "--shape", "axb"], "no shape"),
        (["model.onnx", "--rows", "model.onnx"], "no .npy or .npz"),
        (["model.onnx", "--seconds", "-1"], "--seconds"),
        (["model.onnx", "--out", "absent/folder"], "make it first"),
        (["model.onnx", "--target", "nothing"], "no shipped target"),
    ],
)
def test_bad_input_is_one_line(words, said, dense, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dense()
    (tmp_path / "nothing").mkdir()
    for name, text in (("model.txt", "x"), ("model.h5", "x"), ("empty.onnx", ""), ("text.keras", "x")):
        (tmp_path / name).write_text(text)
    assert said in refused(*words)
