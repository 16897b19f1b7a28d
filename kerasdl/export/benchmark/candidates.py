"""Which rows a benchmark has: each file on each runtime, provider and setting that really loads here."""

import importlib.util
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kerasdl import backend
from kerasdl.cores import cores
from kerasdl.export.benchmark.runners import MODULES
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.sources import Source
from kerasdl.export.session import CPU, CUDA, TENSORRT, has_cuda_device, missing

# How a Keras model is called: as people do it first, and as one does who serves it from Keras.
MODES = ("predict_on_batch", "compiled")

SHORT = {CPU: "CPU", CUDA: "CUDA", TENSORRT: "TensorRT"}


@dataclass(frozen=True)
class Candidate:
    """A file on a runtime: one row, measured in a process of its own.

    Attributes:
        source: The file.
        requested: The execution provider or backend that is asked for; what really computes is told when it is open.
        mode: How it is called, such as `"predict_on_batch"` or `"IO binding"`; empty for the ordinary way.
        threads: How many threads it is given; `None` leaves it to the runtime.
    """

    source: Source
    requested: str
    mode: str = ""
    threads: int | None = None

    @property
    def imports(self) -> list[str]:
        """What is imported before the file is opened."""
        if self.source.runtime == "keras":
            return [backend.MODULES[self.requested], "keras"]
        return [MODULES[self.source.runtime]]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its process."""
        return {"KERAS_BACKEND": self.requested} if self.source.runtime == "keras" else {}

    def request(self) -> dict[str, Any]:
        """Returns what its worker is told."""
        fields = asdict(self)
        source = fields.pop("source")
        return {**fields, "runtime": source["runtime"], "path": str(source["path"]), "imports": self.imports}


@dataclass(frozen=True)
class Missing:
    """What was not measured, and why."""

    what: str
    reason: str


def find_candidates(sources: Sequence[Source], settings: Settings) -> tuple[list[Candidate], list[Missing]]:
    """Lists the rows of a benchmark.

    Args:
        sources: The files.
        settings: Tells the threads and the backends.

    Returns:
        The rows, and each runtime, provider or backend that cannot work here with its reason.
    """
    threads = sorted(set(settings.threads)) or sorted({1, cores()})
    backends = settings.backends or tuple(backend.MODULES)
    candidates: list[Candidate] = []
    lacking: dict[str, str] = {}
    for source in sources:
        runtime = source.runtime
        if runtime == "keras":
            for name in backends:
                if name in backend.installed():
                    candidates += [Candidate(source, name, mode) for mode in MODES]
                else:
                    lacking[f"Keras on {name}"] = "not installed here"
        elif not _installed(runtime):
            lacking[f"{source.path.name} by {runtime}"] = f"{MODULES[runtime]} is not installed here"
        elif runtime == "onnxruntime":
            candidates += _by_provider(source, threads, lacking)
        elif runtime in {"torchscript", "torch-export"}:
            # On a device the threads of the CPU wait.
            numbers = [None] if has_cuda_device() else threads
            modes = ("", "torch.compile") if runtime == "torch-export" else ("",)
            candidates += [Candidate(source, "torch", mode, number) for mode in modes for number in numbers]
        else:
            candidates += [Candidate(source, "CPU", threads=number) for number in threads]
    return candidates, [Missing(what, reason) for what, reason in lacking.items()]


def _installed(runtime: str) -> bool:
    return importlib.util.find_spec(MODULES[runtime]) is not None


def _by_provider(source: Source, threads: Sequence[int], lacking: dict[str, str]) -> list[Candidate]:
    """Lists the rows of an ONNX file; a provider is asked for where its libraries load and a device is there."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    rows: list[Candidate] = []
    for provider in (TENSORRT, CUDA):
        reason = "not in the installed onnxruntime" if provider not in available else missing(provider)
        if reason is not None:
            lacking[provider] = reason
            continue
        rows += [Candidate(source, provider, mode) for mode in ("", "IO binding")]
        if provider == CUDA:
            rows.append(Candidate(source, provider, "CUDA graph"))
    return rows + [Candidate(source, CPU, threads=number) for number in threads]
