"""A bundle on a GPU."""

import numpy as np
import pytest

pytestmark = [pytest.mark.gpu, pytest.mark.backend_free]


@pytest.fixture(autouse=True)
def device():
    from kerasdl.export.session import has_cuda_device

    if not has_cuda_device():
        pytest.skip("no CUDA device")


def test_cuda_answers_as_the_processor_does(bundles, monkeypatch):
    from pathlib import Path

    import kerasdl

    monkeypatch.syspath_prepend(str(Path(kerasdl.__file__).parent.parent / "export" / "serve"))
    from inference.model import CUDA, Model

    on_cpu, on_gpu, chosen = (Model(bundles["table"], device) for device in ("cpu", "cuda", "auto"))
    assert on_gpu.providers[0] == chosen.providers[0] == CUDA
    rows = np.random.default_rng(0).standard_normal((7, *on_cpu.inputs[0].row)).astype(on_cpu.inputs[0].dtype)
    arrays = {on_cpu.inputs[0].name: rows}
    for one, other in zip(on_cpu.run(arrays), on_gpu.run(arrays), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
