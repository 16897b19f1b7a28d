"""Runs every test on every installed backend: one worker process each, the backend's name in each result."""

import os
import zlib
from pathlib import Path

import pytest

from kerasdl import backend

# Tests in these folders start no backend: they run once.
BACKEND_FREE = ("data", "report", "runs", "packaging")

# These start one, and any will do.
ONCE = ("examples",)


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
    root = Path(__file__).parent
    kept = []
    for item in items:
        folder = item.path.relative_to(root).parts[0]
        free = folder in BACKEND_FREE or item.get_closest_marker("backend_free") is not None
        if (free or folder in ONCE) and not _is_mine(item.path):
            continue
        item._nodeid = f"{item.nodeid} <{'no backend' if free else os.environ['KERAS_BACKEND']}>"
        kept.append(item)
    items[:] = kept


def _is_mine(path: Path) -> bool:
    """Whether this worker runs a file's tests where once is enough: the workers share such files."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return zlib.crc32(path.name.encode()) % int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) == worker


@pytest.fixture
def backend_name() -> str:
    """The backend that this worker tests."""
    name = os.environ["KERAS_BACKEND"]
    if name == "none":
        pytest.skip("no backend is installed")
    return name
