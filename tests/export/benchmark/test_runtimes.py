"""Models of each backend and their exports, beside one another."""

import numpy as np
import pytest

from kerasdl.export.benchmark import Settings, benchmark, candidates

QUICK = {"batch_sizes": (2, 4), "seconds": 0.05, "rounds": 3, "warm_up": 0.1, "server": False, "threads": (1,)}


def build():
    import keras

    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="softmax")], name="live")


def test_a_live_model_is_called_as_people_call_it(backend_name, monkeypatch):
    # One process, as each imports Keras; torch compiles C++ for half a minute, which the test below does.
    monkeypatch.setattr(candidates, "MODES", ("predict_on_batch" if backend_name == "torch" else "compiled",))
    found = benchmark(build(), settings=Settings(**QUICK, backends=(backend_name,)))
    table = found.table()
    assert [row.candidate.mode for row in found.rows] == list(candidates.MODES)
    assert all(row.provider.startswith(f"{backend_name} ") for row in found.rows)
    assert set(table["batch_size"]) == {2, 4} and (table["rows_per_second"] > 0).all()
    assert all(row.file == "live.keras" and row.memory > 0 for row in found.rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:Converting a tensor")
def test_every_torch_format_gives_what_keras_gives(backend_name, tmp_path):
    if backend_name != "torch":
        pytest.skip("written by torch")
    import torch

    model = build()
    model.eval()
    model.save(tmp_path / "model.keras")
    example = torch.from_numpy(np.ones((4, 6), "float32"))
    rows = torch.export.Dim("rows", min=1, max=4096)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(({0: rows},),)), tmp_path / "model.pt2")
    with torch.no_grad():
        torch.jit.freeze(torch.jit.trace(model, example)).save(tmp_path / "model.pt")
    found = benchmark(tmp_path, settings=Settings(**QUICK, backends=("torch",)))
    assert found.missing == []
    assert {row.way for row in found.rows} == {
        "Keras predict_on_batch, torch cpu",
        "Keras compiled, torch cpu",
        "TorchScript, torch cpu, 1 thread",
        ".pt2, torch cpu, 1 thread",
        "torch.compile, torch cpu, 1 thread",
    }
    compared = [row.agreement for row in found.rows if row.candidate.source.runtime != "keras"]
    assert all(each.reference == "model.keras" and each.relative_error < 1e-4 for each in compared)
