"""ONNX Runtime's CUDA provider: it computes, it is named, and it answers what the CPU does."""

import numpy as np
import pytest

from kerasdl.export import session as sessions
from kerasdl.export.benchmark import Settings, benchmark
from kerasdl.export.session import CPU, CUDA, create_session, placement

pytestmark = [pytest.mark.gpu, pytest.mark.backend_free]


@pytest.fixture(autouse=True)
def provider():
    """Fails, rather than skips, where a device is there and the provider says that it cannot work."""
    if not sessions.has_cuda_device():
        pytest.skip("no CUDA device")
    assert sessions.missing(CUDA) is None


def test_a_session_takes_cuda_by_itself_and_all_nodes_are_there(dense):
    path = dense()
    session = create_session(path)
    assert session.get_providers()[0] == CUDA
    assert set(placement(session)) == {CUDA}
    rows = np.random.default_rng(0).standard_normal((64, 6)).astype("float32")
    (on_gpu,) = session.run(None, {"features": rows})
    (on_cpu,) = create_session(path, [CPU]).run(None, {"features": rows})
    np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-5, atol=1e-6)


def test_every_way_to_call_cuda_is_measured(dense):
    settings = Settings(batch_sizes=(1, 8), seconds=0.2, rounds=3, warm_up=0.2, server=False, threads=(1,))
    found = benchmark(dense(), settings=settings)
    ways = {row.way: row for row in found.rows}
    assert {"ONNX Runtime CUDA", "ONNX Runtime CUDA, IO binding", "ONNX Runtime CUDA, CUDA graph"} <= set(ways)
    assert all(row.provider == CUDA for way, row in ways.items() if "CUDA" in way)
    assert (found.table()["rows_per_second"] > 0).all()
