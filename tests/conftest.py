"""Runs every test on every installed backend, the backend's name in each result.

Each backend has a worker process of its own; where one backend alone is installed, several workers share its tests.
"""

import os
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from packaging.version import Version

from kerasdl import backend

# Properties are judged by their truth: a busy machine is no failure, and nothing is kept in the checkout.
settings.register_profile("kerasdl", deadline=None, database=None)
settings.load_profile("kerasdl")

# XLA compiles for longer than such small models run. Tests ask what programs compute, not how fast. From 0.11.1 on XLA
# has no choice of fusions on processors, and an unknown flag ends the process.
QUICK = ["--xla_backend_optimization_level=0"]
if "jax" in backend.installed() and Version(version("jaxlib")) < Version("0.11.1"):
    QUICK.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(QUICK))

# Tests in these folders start no backend: they run once.
BACKEND_FREE = ("data", "report", "runs", "packaging")

# These start one, and any will do.
ONCE = ("examples",)

# More workers than this gain little and need 2 GiB each.
MOST_WORKERS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Gives each installed backend a worker, the only one several, unless the person chose one or a distribution."""
    chosen = "KERAS_BACKEND" in os.environ or "PYTEST_XDIST_WORKER" in os.environ
    present = backend.installed()
    if chosen or not present or config.option.dist != "no" or config.option.numprocesses or config.option.collectonly:
        return
    if len(present) > 1:
        config.option.dist = "each"
        config.option.tx = [f"popen//env:KERAS_BACKEND={name}" for name in present]
    else:
        config.option.dist = "loadfile"
        worker = f"popen//env:KERAS_BACKEND={present[0]}"
        config.option.tx = [worker] * min(MOST_WORKERS, os.cpu_count() or 1)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.dist == "no" and backend.installed():
        backend.choose()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    kept = []
    for item in items:
        folder = item.path.relative_to(root).parts[0]
        free = folder in BACKEND_FREE or item.get_closest_marker("backend_free") is not None
        if (free or folder in ONCE) and not _is_mine(config, item.path):
            continue
        item._nodeid = f"{item.nodeid} <{'no backend' if free else os.environ['KERAS_BACKEND']}>"
        kept.append(item)
    items[:] = kept


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells a worker whether every other one has the same tests."""
    node.workerinput["each"] = node.config.option.dist == "each"


def _is_mine(config: pytest.Config, path: Path) -> bool:
    """Whether this worker runs a file's tests where once is enough: workers of several backends share such files."""
    given = getattr(config, "workerinput", None)
    if given is None or not given["each"]:
        return True
    return bool(zlib.crc32(path.name.encode()) % given["workercount"] == int(given["workerid"].removeprefix("gw")))


@pytest.fixture
def backend_name() -> str:
    """The backend that this worker tests."""
    name = os.environ["KERAS_BACKEND"]
    if name == "none":
        pytest.skip("no backend is installed")
    if name == "torch":
        import torch

        # On a GPU convolutions would else sum in another order each time, and tests ask for the same bits.
        torch.backends.cudnn.deterministic = True
    return name


@pytest.fixture(autouse=True, scope="session")
def _away_from_the_users_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["KERASDL_CACHE"] = str(tmp_path_factory.mktemp("cache"))
