"""`python -m kerasdl.export benchmark PATH...`: measures models side by side."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdl.commands import PlainCommand, plain_errors
from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    from kerasdl.export.benchmark.settings import Settings

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@application.command(cls=PlainCommand)
def benchmark(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Models, folders with models, runs. Their programs are run."),
    ],
    batch_sizes: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Rows at once [default: 1,8,64,256].")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds for each row and batch size, all rounds.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Turns into which the seconds are divided.")] = None,
    server: Annotated[
        bool | None, typer.Option("--server/--no-server", help="Whether to load each row with requests, too.")
    ] = None,
    server_seconds: Annotated[float | None, typer.Option(help="Seconds of requests at each load.")] = None,
    threads: Annotated[
        str | None, typer.Option(metavar="N,N,...", help="Threads on the CPU, a row for each [default: 1, all cores].")
    ] = None,
    backends: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Keras' backends [default: all that are installed].")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="[INPUT=]NxN", help="The shape of a row where the file leaves it open; repeatable."),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Rows to call with: a run, .npy, or .npz with one array an input."),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Takes the settings from a target's [benchmark] table: a name or a TOML file.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where benchmark.json and .png go [default: beside the first].")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite them.")] = False,
) -> None:
    """Measures models side by side on every runtime and provider that really loads here.

    A model as .onnx and .keras takes about two minutes on 2 cores with three backends; each row about 10 seconds.
    """
    with plain_errors():
        given = {
            "batch_sizes": _numbers("--batch-sizes", batch_sizes),
            "backends": None if backends is None else _backends(backends),
            "threads": _numbers("--threads", threads),
            "seconds": seconds,
            "rounds": rounds,
            "server": server,
            "server_seconds": server_seconds,
        }
        settings = _settings(target, {name: value for name, value in given.items() if value is not None})
        _run(paths, settings, _shapes(shape or []), rows, out, force)


def _run(
    paths: list[Path],
    settings: "Settings",
    shapes: dict[str, tuple[int, ...]],
    rows: Path | None,
    out: Path | None,
    force: bool,
) -> None:
    from kerasdl.export.benchmark.measure import benchmark as measure
    from kerasdl.export.benchmark.opening import run_rows
    from kerasdl.export.benchmark.progress import Progress
    from kerasdl.export.benchmark.rows import read_rows
    from kerasdl.export.benchmark.sources import is_run
    from kerasdl.export.benchmark.terminal import show

    folder = _check_folder(paths, out, force)
    given = None if rows is None else [run_rows(rows)] if is_run(rows) else read_rows(rows)
    found = measure(paths, settings=settings, shapes=shapes, rows=given, progress=Progress(enabled=True))
    if not found.rows:
        raise UserError("; ".join(f"{each.what}: {each.reason}" for each in found.missing) or "nothing was measured")
    show(found)
    folder.mkdir(exist_ok=True)
    for path in found.save(folder):
        print(f"wrote {path}", flush=True)
    if found.interrupted:
        os._exit(130)


def _check_folder(paths: list[Path], out: Path | None, force: bool) -> Path:
    """Returns the folder of the results, before anything takes long."""
    from kerasdl.export.benchmark.result import FIGURE_NAME, JSON_NAME

    first = paths[0]
    folder = out or (first if first.is_dir() else first.parent)
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UserError(f"--out: {out} is a file; give a folder")
        if not out.exists() and not out.parent.is_dir():
            raise UserError(f"--out: there is no folder {out.parent}; make it first")
    there = [folder / name for name in (JSON_NAME, FIGURE_NAME) if (folder / name).exists()]
    if there and not force:
        raise UserError(f"{there[0]}: already there; give --force to overwrite it, or another --out")
    if folder.is_dir() and not os.access(folder, os.W_OK):
        raise UserError(f"{folder}: nothing can be written there; give another --out")
    return folder


def _settings(target: str | None, given: dict[str, Any]) -> "Settings":
    """Builds the settings: the target's, changed by those given."""
    from pydantic import ValidationError

    from kerasdl.export.benchmark.settings import Settings

    base: dict[str, Any] = {}
    if target is not None:
        from kerasdl.export.target import load_target

        table = getattr(load_target(target), "benchmark", None)
        if table is None:
            raise UserError(f"--target: {target} has no [benchmark] table")
        fields = table.model_dump(exclude_none=True)
        # 0 leaves the threads to the runtime, which is one of the rows that are there by default.
        fields["threads"] = (fields["threads"],) if fields.get("threads") else ()
        base = {name: value for name, value in fields.items() if name in Settings.model_fields}
    try:
        return Settings.model_validate({**base, **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0]).replace("_", "-")
        said = first["msg"].removeprefix("Value error, ")
        raise UserError(f"--{name}: {first['input']!r} cannot be used: {said[0].lower()}{said[1:]}") from error


def _backends(text: str) -> tuple[str, ...]:
    from kerasdl.backend import MODULES

    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in MODULES:
            raise UserError(f"--backends: {name!r} is not a backend of kerasdl; {nearest(name, MODULES)}")
    return names


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"{option}: {text!r} is no list of whole numbers, such as 1,8,64") from None


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Reads `28x28x1` and `image=28x28x1`."""
    shapes = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        try:
            shapes[name] = tuple(int(part) for part in sizes.replace(",", "x").split("x"))
        except ValueError:
            raise UserError(f"--shape: {text!r} is no shape, such as 28x28x1 or image=28x28x1") from None
        if not all(size > 0 for size in shapes[name]):
            raise UserError(f"--shape: {text!r} has a size below 1")
    return shapes


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: What follows `benchmark`; by default those of this process.
    """
    application(arguments, prog_name="python -m kerasdl.export benchmark")
