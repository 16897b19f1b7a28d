"""`python -m kerasdl.export RUN_OR_MODEL`: exports the winner of a run, or a `.keras` file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kerasdl.commands import PlainCommand, plain_errors
from kerasdl.errors import UserError

if TYPE_CHECKING:
    from kerasdl.export.folder import Folder
    from kerasdl.export.result import Export
    from kerasdl.export.target import Target

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

BENCHMARK = "benchmark"


@application.command(cls=PlainCommand)
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="The folder of a run, or a .keras file.")],
    target: Annotated[
        list[str] | None,
        typer.Option(help="A shipped target, or the path of a TOML file; may be given again; by default onnx."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; by default export in the run, or MODEL-export.")
    ] = None,
    trial: Annotated[int | None, typer.Option(help="The trial of the run; by default the winner.")] = None,
    rows: Annotated[
        Path | None, typer.Option(help="For a .keras file: rows it takes, .npy, or .npz with x and y, to compare on.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="torch, tensorflow or jax.")] = None,
    benchmark: Annotated[bool, typer.Option("--benchmark", help="Measure the files afterwards.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier folder of exports.")] = False,
) -> None:
    """Writes a model as files that take raw features, after comparing their outputs with Keras'.

    `python -m kerasdl.export benchmark PATH...` measures files that were written; its own --help has more.
    """
    with plain_errors():
        folder = _export(source, target or ["onnx"], out, trial, rows, backend, force)
        for each in folder.exports:
            _report(each)
        print(f"wrote {folder.path}")
        for name, message in folder.refused.items():
            print(f"refused: {name}: {message}", file=sys.stderr)
    if benchmark:
        _measure([str(folder.path)])
        _tell_of_benchmark(folder.path)
    if folder.refused:
        raise SystemExit(2)


def _export(
    source: Path,
    names: list[str],
    out: Path | None,
    trial: int | None,
    rows: Path | None,
    backend: str | None,
    force: bool,
) -> "Folder":
    from kerasdl.backend import choose, start

    is_model = source.is_file()
    _check_source(source)
    for option, given, wrong in (("--trial", trial, is_model), ("--rows", rows, not is_model)):
        if given is not None and wrong:
            kind = "a run" if is_model else "a .keras file; a run's own test rows are taken"
            raise UserError(f"{option} is for {kind}; leave it out")
    from kerasdl.export.folder import check_folder, write_folder
    from kerasdl.export.target import load_targets

    targets = load_targets(names)
    path = out or (source.with_name(f"{source.stem}-export") if is_model else source / "export")
    check_folder(path, force)
    if choose(backend) == "tensorflow":
        start()
    if is_model:
        from kerasdl.export.subject import subject_of_file

        subject = subject_of_file(source, rows)
    else:
        from kerasdl.export.run import subject_of_run

        subject = subject_of_run(source, trial=trial, tested=any(each.reduced for each in targets))
    return write_folder(subject, targets, path, force=force, told=_tell)


def _tell(target: "Target") -> None:
    if sys.stderr.isatty():
        print(f"exporting to {target.name} ...", file=sys.stderr, flush=True)


def _check_source(source: Path) -> None:
    if not source.exists():
        raise UserError(f"{source}: no such run or model; give the folder of a run, or a .keras file")
    if source.is_dir():
        return
    if source.suffix in {".h5", ".hdf5"}:
        raise UserError(f"{source}: the old h5 format is not read; load it in Keras once and save it as .keras")
    if source.suffix != ".keras":
        raise UserError(f"{source}: not a .keras file; give the folder of a run, or a .keras file")


def _report(export: "Export") -> None:
    graph = "" if export.nodes is None else f"{export.nodes} nodes of opset {export.opset}, "
    print(f"{export.path.name}: {graph}{export.bytes:,} bytes, by {export.exporter}, in {export.seconds:.1f} s")
    agreement = "" if export.argmax_agreement is None else f", same class for {export.argmax_agreement:.2%} of the rows"
    sizes = ", ".join(map(str, export.batch_sizes))
    print(
        f"  outputs within {export.max_abs_diff:.2g} of Keras' (99 % within {export.p99_abs_diff:.2g}{agreement}; "
        f"batches of {sizes})"
    )
    _report_change(export)
    used = f" ({', '.join(export.providers)})" if export.providers else ""
    print(f"  compared by {export.runtime}{used}")
    for warning in export.warnings:
        print(f"  note: {warning}")


def _report_change(export: "Export") -> None:
    change = export.change
    if change is None or change.changed_classes is None:
        return
    from kerasdl.export.change import told_interval

    lost = ""
    if change.metric is not None:
        lost = (
            f"; {change.metric} {change.before:.4f} becomes {change.after:.4f}, "
            f"a drop of {change.drop:.4f} ({told_interval(change)})"
        )
    print(f"  {export.precision}: another class for {change.changed_classes:.2%} of {change.rows} test rows{lost}")


def _measure(arguments: list[str]) -> None:
    from kerasdl.export.benchmark.command import main as measure

    measure(arguments)


def _tell_of_benchmark(folder: Path) -> None:
    """Writes the bundle's card again, which names the files to pick."""
    from kerasdl.export.folder import deploy

    with plain_errors():
        deploy(folder)


def main() -> None:
    """Runs the command line."""
    if sys.argv[1:2] == [BENCHMARK]:
        _measure(sys.argv[2:])
        return
    application(prog_name="python -m kerasdl.export")


if __name__ == "__main__":
    main()
