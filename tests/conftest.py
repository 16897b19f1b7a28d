"""Runs every test on every installed backend: one worker process each, the backend's name in each result."""

import os
from pathlib import Path

import pytest

from kerasdl import backend

# Tests in these folders start no backend: they run once.
BACKEND_FREE = ("data", "report", "runs", "packaging")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Gives each installed backend a worker, unless the person chose a backend or a distribution."""
    chosen = "KERAS_BACKEND" in os.environ or "PYTEST_XDIST_WORKER" in os.environ
    present = backend.installed()
    if (
        chosen
        or len(present) < 2
        or config.option.dist != "no"
        or config.option.numprocesses
        or config.option.collectonly
    ):
        return
    config.option.dist = "each"
    config.option.tx = [f"popen//env:KERAS_BACKEND={name}" for name in present]


def pytest_configure(config: pytest.Config) -> None:
    if config.option.dist == "no" and backend.installed():
        backend.choose()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    root = Path(__file__).parent
    kept = []
    for item in items:
        free = item.path.relative_to(root).parts[0] in BACKEND_FREE or item.get_closest_marker("backend_free")
        if free and not first:
            continue
        item._nodeid = f"{item.nodeid} <{'no backend' if free else os.environ['KERAS_BACKEND']}>"
        kept.append(item)
    items[:] = kept


@pytest.fixture
def backend_name() -> str:
    """The backend that this worker tests."""
    name = os.environ["KERAS_BACKEND"]
    if name == "none":
        pytest.skip("no backend is installed")
    return name
