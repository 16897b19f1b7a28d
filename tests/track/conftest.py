import importlib.util
import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import kerasdl
from kerasdl.runs import Run
from kerasdl.track.finding import NAMES
from kerasdl.tune import Study


@dataclass
class Written:
    """What a tracker's own files hold of one run.

    Attributes:
        settings: Its hyperparameters, as text.
        curves: Step and value of each metric, in the order of writing.
        status: How it ended; empty while it has not.
        sittings: How many times it was opened, where the tracker tells.
    """

    settings: dict[str, str] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    status: str = ""
    sittings: int = 1

    def add(self, metric: str, step: int, value: float) -> None:
        self.curves.setdefault(metric, []).append((step, value))


def read_tensorboard(directory: Path) -> dict[str, Written]:
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins.base_plugin import TBContext
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    found: dict[str, Written] = {}
    folders = [path for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []
    for folder in folders:
        own = found[folder.name] = Written(sittings=len(list(folder.iterdir())))
        accumulator = EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
        for tag in accumulator.Tags()["tensors"]:
            for event in accumulator.Tensors(tag):
                if not tag.startswith("_hparams_"):
                    own.add(tag, event.step, float(event.tensor_proto.float_val[0]))
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    provider = MultiplexerDataProvider(multiplexer, str(directory))
    context = backend_context.Context(TBContext(data_provider=provider))
    statuses = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_FAILURE, api_pb2.STATUS_RUNNING]
    request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=1000, allowed_statuses=statuses)
    metadata = context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(RequestContext(), "", True, metadata, [])
    reply = list_session_groups.Handler(RequestContext(), context, "", request).run()
    for group in reply.session_groups:
        (session,) = group.sessions
        own = found[session.name]
        own.status = {api_pb2.STATUS_SUCCESS: "success", api_pb2.STATUS_FAILURE: "failure"}.get(session.status, "")
        for name, value in group.hparams.items():
            own.settings[name] = str(getattr(value, value.WhichOneof("kind")))
    if any(own.settings for own in found.values()):
        assert {info.name.tag for info in experiment.metric_infos} >= {"loss"}
    return found


def wandb_records(path: Path) -> Iterator[Any]:
    """Reads a file of W&B's offline mode: records in the format of LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, size, kind = struct.unpack("<IHB", content[position : position + 7])
        whole += content[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


def ended_records(path: Path) -> list[Any]:
    """Reads a file whose run was finished; the process that writes it may be a moment behind."""
    for _ in range(200):
        records = list(wandb_records(path))
        if records and records[-1].WhichOneof("record_type") == "exit":
            return records
        time.sleep(0.05)
    raise AssertionError(f"{path} has no end")


def read_wandb(directory: Path) -> dict[str, Written]:
    found: dict[str, Written] = {}
    for path in sorted(directory.glob("wandb/offline-run-*/*.wandb")):
        own = Written()
        for record in ended_records(path):
            kind = record.WhichOneof("record_type")
            if kind == "run":
                if record.run.display_name in found:
                    own = found[record.run.display_name]
                    own.sittings += 1
                found[record.run.display_name] = own
                pairs = {item.key: json.loads(item.value_json) for item in record.run.config.update}
                own.settings |= {key: str(value) for key, value in pairs.items() if key != "_wandb"}
            elif kind == "history":
                for item in record.history.item:
                    name = item.key or "/".join(item.nested_key)
                    if not name.startswith("_"):
                        own.add(name, record.history.step.num, float(json.loads(item.value_json)))
            elif kind == "summary":
                for item in record.summary.update:
                    if item.key == "status":
                        own.status = json.loads(item.value_json)
                    elif item.key.startswith(("score", "test_")):
                        own.curves[item.key] = [(0, float(json.loads(item.value_json)))]
    return found


def read_mlflow(directory: Path) -> dict[str, Written]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    found: dict[str, Written] = {}
    experiment = client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"])
    for run in client.search_runs([experiment.experiment_id] if experiment else []):
        assert run.info.run_name not in found
        own = found[run.info.run_name] = Written(dict(run.data.params))
        own.status = run.data.tags.get("kerasdl.status", "")
        for metric in run.data.metrics:
            for one in client.get_metric_history(run.info.run_id, metric):
                own.add(metric, one.step, one.value)
    return found


PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "sqlalchemy"}


@pytest.fixture(params=NAMES)
def tracker(request: pytest.FixtureRequest) -> str:
    """Each tracker; one whose package is missing is skipped."""
    pytest.importorskip(request.param)
    pytest.importorskip(PACKAGES[request.param])
    return str(request.param)


@pytest.fixture
def trackers() -> list[str]:
    """The trackers whose packages are installed."""
    present = [name for name in NAMES if all(importlib.util.find_spec(one) for one in (name, PACKAGES[name]))]
    if not present:
        pytest.skip("no tracker is installed")
    return present


@pytest.fixture
def written() -> Callable[[str, Path], dict[str, Written]]:
    """Reads what a tracker holds of the runs in a study's directory, by their name, with the tracker's own reader."""

    def read(name: str, directory: Path) -> dict[str, Written]:
        readers = {"tensorboard": read_tensorboard, "wandb": read_wandb, "mlflow": read_mlflow}
        return readers[name](directory if name == "wandb" else directory / name)

    return read


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where MLflow writes: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def folder(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, from which new processes find the kerasdl that is tested; nothing goes online."""
    tested = str(Path(kerasdl.__file__).parent.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [tested, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tmp_path.name)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def study() -> Callable[..., Study]:
    """Makes a study of small MLPs that learn in a moment."""

    def make(**keys: Any) -> Study:
        fixed = {"width": 4}
        space = {"depth": [0, 1], "learning_rate": [0.01, 0.1]}
        common = {"data": "xor?rows=60", "model": "mlp", "epochs": 3, "batch_size": 16, "fixed": fixed, "space": space}
        return Study(**{**common, **keys})

    return make


@pytest.fixture(autouse=True)
def quick_report(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares searches the seconds that figures take."""
    if request.node.get_closest_marker("backend_free"):
        return

    def write(run: Run) -> Path:
        path = run.path / "report.html"
        path.write_text("not drawn")
        return path

    monkeypatch.setattr(importlib.import_module("kerasdl.report"), "write_report", write)
