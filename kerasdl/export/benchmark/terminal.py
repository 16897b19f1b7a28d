"""A benchmark on the terminal: tables, what was not measured, and which row to pick."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from kerasdl.export.benchmark.candidates import SHORT
from kerasdl.export.benchmark.choose import Pick
from kerasdl.export.benchmark.result import Benchmark, Cell, Row
from kerasdl.export.benchmark.statistics import Percentile


def show(found: Benchmark, console: Console | None = None) -> None:
    """Prints a benchmark.

    Args:
        found: What was measured.
        console: Where to; by default standard output, 200 characters wide where it is no terminal.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 200)
    console.print(_machine(found), markup=False, highlight=False, soft_wrap=True)
    for size in sorted({size for row in found.rows for size in row.cells}):
        console.print(_latencies([(row, row.cells[size]) for row in found.rows if size in row.cells], size))
    if any(row.loads for row in found.rows):
        console.print(_loads(found.rows))
    console.print(_files(found.rows))
    lines = [f"not measured: {each.what}: {each.reason}" for each in found.missing]
    lines += [f"note: {note}" for note in [*_carried(found), *found.notes]]
    lines += [sentence for pick in found.picks() for sentence in sentences(pick)]
    if found.interrupted:
        lines.append("interrupted: fewer rounds than asked for")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def sentences(pick: Pick) -> list[str]:
    """Says which row to pick."""
    value = {"latency": duration(pick.value), "throughput": f"{pick.value:,.0f} rows/s"}.get(
        pick.purpose, size_text(int(pick.value))
    )
    said = [f"for {pick.purpose}: {pick.row} ({value}, {pick.at})"]
    if pick.alike:
        said.append(f"  not distinguishable from it by their intervals: {'; '.join(pick.alike)}")
    if pick.left_out and pick.purpose == "latency":
        said.append(f"  not considered, as too many outputs differ from float32: {'; '.join(pick.left_out)}")
    return said


def _machine(found: Benchmark) -> str:
    machine = found.machine
    load = "" if machine["load_at_start"] is None else f", load {machine['load_at_start']:.1f} at the start"
    versions = sorted({f"{name} {number}" for row in found.rows for name, number in row.facts["versions"].items()})
    devices = "".join(f", {name}" for name in machine["devices"])
    return (
        f"{machine['processor']}, {machine['cores']} cores{devices}{load}; {machine['system']}, "
        f"Python {machine['python']}, kerasdl {machine['kerasdl']}, {', '.join(versions)}; {found.seconds:.0f} s"
    )


def _latencies(cells: Sequence[tuple[Row, Cell]], size: int) -> Table:
    table = Table(title=f"{size} row{'' if size == 1 else 's'} at once", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("called by", overflow="fold")
    table.add_column("precision")
    table.add_column("calls", justify="right")
    for name in ("median", "p90", "p95", "p99", "rows/s", "first run"):
        table.add_column(name, justify="right")
    for row, cell in sorted(cells, key=lambda pair: pair[1].median):
        rate = cell.throughput
        table.add_row(
            row.file,
            row.way,
            row.precision,
            f"{cell.percentiles[0].calls:,}",
            *map(percentile_text, cell.percentiles),
            f"{rate.value:,.0f} ± {rate.high - rate.value:,.0f}",
            duration(cell.first_seconds),
        )
    return table


def _loads(rows: Sequence[Row]) -> Table:
    table = Table(title="Server: Poisson arrivals of one row, latency from arrival", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("called by", overflow="fold")
    for name in ("load", "requests/s", "requests", "median", "p90", "p95", "p99"):
        table.add_column(name, justify="right")
    for row in rows:
        for load in row.loads:
            table.add_row(
                row.file,
                row.way,
                f"{load.fraction:.0%}",
                f"{load.rate:,.0f}",
                f"{load.percentiles[0].calls:,}",
                *map(percentile_text, load.percentiles),
            )
    return table


def _files(rows: Sequence[Row]) -> Table:
    table = Table(title="Files", title_justify="left")
    table.add_column("file", overflow="fold")
    table.add_column("called by", overflow="fold")
    for name in ("asked for", "computed by", "threads", "size", "import", "load", "memory", "same class", "error"):
        table.add_column(name, justify="right")
    for row in rows:
        agreement = row.agreement
        share = None if agreement is None else agreement.same_class
        threads = row.facts.get("threads")
        table.add_row(
            row.file,
            row.way,
            SHORT.get(row.candidate.requested, row.candidate.requested),
            provider_text(row),
            "-" if threads is None else str(threads),
            size_text(row.candidate.source.size),
            duration(row.import_seconds),
            duration(row.load_seconds),
            "-" if row.memory is None else size_text(row.memory),
            "-" if agreement is None or share is None else f"{share:.1%} of {agreement.rows}",
            "-" if agreement is None else f"{agreement.relative_error:.1e}",
        )
    return table


def provider_text(row: Row) -> str:
    """Names what computed, with the nodes of each provider where there is more than one."""
    nodes = row.facts.get("nodes_by_provider") or {}
    used = SHORT.get(row.provider, row.provider)
    if len(nodes) < 2:
        return used
    return ", ".join(f"{SHORT.get(name, name)} {count} nodes" for name, count in nodes.items())


def _carried(found: Benchmark) -> list[str]:
    """Explains a percentile that is missing, and what a claim would need."""
    every = [each for row in found.rows for cell in row.cells.values() for each in cell.percentiles]
    every += [each for row in found.rows for load in row.loads for each in load.percentiles]
    left_out = sorted({(each.percent, each.fewest) for each in every if each.value is None})
    stable = {each.percent: each.stable for each in every if each.percent > 50}
    notes = []
    if left_out:
        needs = ", ".join(f"p{percent:g} {fewest:,}" for percent, fewest in left_out)
        notes.append(
            f"'-': these calls cannot carry the percentile: as their rounds differ, they say no more than fewer "
            f"independent calls than a 95 % interval needs ({needs})"
        )
    if stable:
        asked = ", ".join(f"p{percent:g} {queries:,}" for percent, queries in sorted(stable.items()))
        notes.append(f"intervals are 95 % order statistics; MLPerf Inference asks for more queries: {asked}")
    return notes


def percentile_text(found: Percentile) -> str:
    """Writes a percentile with its interval, `"-"` where the calls cannot carry it."""
    if found.value is None or found.low is None or found.high is None:
        return "-"
    unit, scale = _unit(found.value)
    low, value, high = (_digits(each * scale) for each in (found.low, found.value, found.high))
    return f"{value} [{low}, {high}] {unit}"


def duration(seconds: float) -> str:
    """Writes a duration with three digits."""
    unit, scale = _unit(seconds)
    return f"{_digits(seconds * scale)} {unit}"


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 1e-3:
        return "µs", 1e6
    return ("ms", 1e3) if seconds < 1 else ("s", 1.0)


def _digits(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.1f}" if number >= 10 else f"{number:.2f}"


def size_text(size: int) -> str:
    """Writes a number of bytes."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{_digits(size / scale)} {unit}"
    return f"{size} B"
