"""What a benchmark found."""

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kerasdl.export.benchmark.candidates import SHORT, Candidate, Missing
from kerasdl.export.benchmark.rows import Agreement
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.statistics import Interval, Percentile

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.export.benchmark.choose import Pick

JSON_NAME = "benchmark.json"
FIGURE_NAME = "benchmark.png"


@dataclass(frozen=True)
class Cell:
    """One row at one batch size.

    Attributes:
        batch_size: Rows at once.
        first_seconds: The first run of this size, with what it compiles or allocates.
        stable: Whether warming up became stable within its limit.
        percentiles: Of the latency of a call, in seconds.
        throughput: Rows a second of calls one after another, with the 95 % interval over rounds.
        medians: The median latency of each round, in seconds.
        rates: The throughput of each round.
    """

    batch_size: int
    first_seconds: float
    stable: bool
    percentiles: tuple[Percentile, ...]
    throughput: Interval
    medians: tuple[float, ...]
    rates: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median latency of a call; where too few calls carry it, the median of the rounds' medians."""
        if self.percentiles[0].value is not None:
            return self.percentiles[0].value
        ordered = sorted(self.medians)
        return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


@dataclass(frozen=True)
class Load:
    """One row under open-loop load, one row a request.

    Attributes:
        fraction: The arrival rate as a fraction of the measured capacity.
        rate: The arrival rate, requests a second.
        percentiles: Of the seconds from scheduled arrival to answer.
    """

    fraction: float
    rate: float
    percentiles: tuple[Percentile, ...]


@dataclass
class Row:
    """A file on a runtime.

    Attributes:
        file: Its name, as short as it is unique.
        candidate: What was asked for.
        provider: What really computed.
        precision: Of its weights, or the lower one that the runtime computes in.
        import_seconds: Of importing the runtime, once.
        load_seconds: Of opening the file, once, its bytes in the system's cache.
        facts: Versions, threads, and what else the runtime tells.
        memory: Peak resident memory over that of the process before it imported the runtime, in bytes.
        agreement: With the float32 file; `None` for that file itself, and where there is none.
        cells: By batch size.
        loads: By fraction of the capacity.
    """

    file: str
    candidate: Candidate
    provider: str
    precision: str
    import_seconds: float
    load_seconds: float
    facts: dict[str, Any]
    memory: int | None = None
    agreement: Agreement | None = None
    cells: dict[int, Cell] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)

    @property
    def way(self) -> str:
        """How the file was called, by what really computed: `"ONNX Runtime CPU, 1 thread"`."""
        return name_way(self.candidate, self.provider)

    @property
    def label(self) -> str:
        """The row's name."""
        return f"{self.file}, {self.way}"


def name_way(candidate: Candidate, provider: str) -> str:
    """Names how a file is called, by the provider that really computes.

    Args:
        candidate: What was asked for.
        provider: What the runtime says that it uses.

    Returns:
        `"ONNX Runtime CUDA, IO binding"`, or `"ONNX Runtime CPU (CUDA was asked for)"`.
    """
    threads = candidate.threads
    number = "" if threads is None else f", {threads} thread{'' if threads == 1 else 's'}"
    mode = f", {candidate.mode}" if candidate.mode else ""
    runtime = candidate.source.runtime
    if runtime == "onnxruntime":
        used, asked = SHORT.get(provider, provider), SHORT.get(candidate.requested, candidate.requested)
        return f"ONNX Runtime {used}{'' if used == asked else f' ({asked} was asked for)'}{mode}{number}"
    if runtime == "keras":
        return f"Keras {candidate.mode}, {provider}"
    names = {"torchscript": "TorchScript, ", "torch-export": f"{candidate.mode or '.pt2'}, "}
    return f"{names.get(runtime, '')}{provider}{number}"


@dataclass
class Benchmark:
    """What a benchmark found.

    Attributes:
        rows: The files on each runtime.
        missing: What was not measured, and why.
        machine: Processor, cores, load at the start, versions.
        settings: How long and how often was measured.
        interrupted: Whether it was ended before its last round.
        seconds: How long it took.
        notes: What a reader must know.
    """

    rows: list[Row]
    missing: list[Missing]
    machine: dict[str, Any]
    settings: Settings
    interrupted: bool = False
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def picks(self) -> "list[Pick]":
        """Returns the rows to choose for latency, for throughput and for size."""
        from kerasdl.export.benchmark.choose import choose

        return choose(self.rows, self.settings)

    def table(self) -> "pd.DataFrame":
        """Returns one line for each row and batch size; times in seconds, sizes in bytes, NaN for what is not known."""
        import pandas as pd

        return pd.DataFrame([_line(row, cell) for row in self.rows for cell in row.cells.values()])

    def load_table(self) -> "pd.DataFrame":
        """Returns one line for each row and load of the server scenario, times in seconds."""
        import pandas as pd

        lines: list[dict[str, Any]] = []
        for row in self.rows:
            for load in row.loads:
                line = {"file": row.file, "way": row.way, "fraction": load.fraction, "rate": load.rate}
                lines.append({**line, **_columns(load.percentiles)})
        return pd.DataFrame(lines)

    def as_dict(self) -> dict[str, Any]:
        """Returns everything as values that JSON can hold."""
        rows = []
        for row in self.rows:
            fields = {each.name: getattr(row, each.name) for each in dataclasses.fields(row)}
            candidate = fields.pop("candidate")
            source = candidate.source
            fields |= {"way": row.way, "requested": candidate.requested, "mode": candidate.mode}
            fields |= {"path": str(source.path), "runtime": source.runtime, "size": source.size}
            fields |= {"cells": list(row.cells.values()), "threads_asked": candidate.threads}
            rows.append(fields)
        found = {
            "machine": self.machine,
            "settings": self.settings.model_dump(),
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "notes": self.notes,
            "picks": self.picks(),
            "missing": self.missing,
            "rows": rows,
        }
        plain: dict[str, Any] = _plain(found)
        return plain

    def save(self, folder: str | Path) -> list[Path]:
        """Writes `benchmark.json` and `benchmark.png` into a folder, in the place of those that are there.

        Args:
            folder: Where to; it must be there.

        Returns:
            The files.
        """
        from kerasdl.export.benchmark.figure import draw

        text = json.dumps(self.as_dict(), indent=1, allow_nan=False)
        written = Path(folder) / JSON_NAME
        written.write_text(text + "\n", encoding="utf-8")
        figure = Path(folder) / FIGURE_NAME
        return [written, figure] if draw(self, figure) else [written]


def _line(row: Row, cell: Cell) -> dict[str, Any]:
    agreement = row.agreement
    return {
        "file": row.file,
        "way": row.way,
        "precision": row.precision,
        "requested": row.candidate.requested,
        "provider": row.provider,
        "batch_size": cell.batch_size,
        **_columns(cell.percentiles),
        "rows_per_second": cell.throughput.value,
        "rows_per_second_low": cell.throughput.low,
        "rows_per_second_high": cell.throughput.high,
        "first_run": cell.first_seconds,
        "stable": cell.stable,
        "load": row.load_seconds,
        "size": row.candidate.source.size,
        "memory": row.memory,
        "same_class": None if agreement is None else agreement.same_class,
        "relative_error": None if agreement is None else agreement.relative_error,
    }


def _columns(percentiles: Sequence[Percentile]) -> dict[str, Any]:
    columns: dict[str, Any] = {"calls": percentiles[0].calls}
    for each in percentiles:
        name = "median" if each.percent == 50 else f"p{each.percent:g}"
        columns |= {name: each.value, f"{name}_low": each.low, f"{name}_high": each.high}
    return columns


def _plain(value: Any) -> Any:
    """Turns dataclasses, paths and numbers without end into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
