"""What the command line says at the end of a run."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from kerasdl.report import find
from kerasdl.runs import Run

# Rows of the table that a terminal shows; the report has the others.
SHOWN = 20


def show(run: Run, console: Console | None = None) -> None:
    """Prints the ranked table, the findings that are sure, and where everything is."""
    # What is read by a program or kept in a file need not fold at a terminal's width.
    console = console or Console(width=None if sys.stdout.isatty() else 160)
    table = run.table()
    name, _ = run.objective
    console.print(_table(run, table.head(SHOWN), name))
    if len(table) > SHOWN:
        console.print(f"and {len(table) - SHOWN} more configurations: see the report", highlight=False)
    sure = [finding.sentence for finding in find(run) if finding.sure]
    if sure:
        console.print("\nFindings", style="bold")
        for sentence in sure:
            console.print(f"- {sentence}", markup=False, highlight=False)
    console.print()
    for label, line in _places(run):
        console.print(f"{label:<8} {line}", markup=False, highlight=False, soft_wrap=True)


def _table(run: Run, rows: pd.DataFrame, objective: str) -> Table:
    summary = run.summary()
    table = Table(
        title=f"{run.study.get('title') or summary['study']}: {objective} over repeats on {summary['backend']}",
        title_justify="left",
    )
    table.add_column("#", justify="right", no_wrap=True)
    for name in run.varying:
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("mean", "std", "95 % interval", "repeats", "parameters", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.to_dict("records"):
        table.add_row(
            f"{row['rank']:.0f}",
            *(_cell(row[name]) for name in run.varying),
            _number(row["mean"]),
            _number(row["std"]),
            f"{_number(row['low'])} to {_number(row['high'])}" if pd.notna(row["low"]) else "-",
            _repeats(row),
            "-" if pd.isna(row["parameters"]) else f"{int(row['parameters']):,}",
            f"{row['seconds']:.1f}",
        )
    return table


def _repeats(row: Mapping[Any, Any]) -> str:
    spoilt = [f"{row[status]:.0f} {status}" for status in ("diverged", "failed") if row[status]]
    return ", ".join([f"{row['completed']:.0f}", *spoilt])


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return "-" if pd.isna(value) else f"{value:.4f}"


def _places(run: Run) -> list[tuple[str, str | Path]]:
    places: list[tuple[str, str | Path]] = [("report", run.path / "report.html")]
    if run.best is not None:
        places.append(("model", run.best.path))
    onnx = run.summary()["onnx"]
    if onnx:
        difference = f"differs from Keras by at most {onnx['max_abs_diff']:.1e}"
        places.append(("onnx", f"{run.path / run.exported['path']} ({difference}; {', '.join(onnx['providers'])})"))
    places.append(("numbers", run.path / "summary.json"))
    return places
