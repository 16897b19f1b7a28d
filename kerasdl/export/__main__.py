"""`python -m kerasdl.export RUN_OR_MODEL`: exports the winner of a run, or a `.keras` file."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kerasdl.commands import PlainCommand, plain_errors
from kerasdl.errors import UserError

if TYPE_CHECKING:
    from kerasdl.export.result import Export

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@application.command(cls=PlainCommand)
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_MODEL", help="The folder of a run, or a .keras file.")],
    target: Annotated[str, typer.Option(help="A shipped target, or the path of a TOML file.")] = "onnx",
    out: Annotated[Path | None, typer.Option(help="The file to write; by default best.onnx in the run.")] = None,
    backend: Annotated[str | None, typer.Option(help="torch, tensorflow or jax.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Writes a model as a file that takes raw features, after comparing its outputs with Keras'."""
    with plain_errors():
        _report(_export(source, target, out, backend, force))


def _export(source: Path, target: str, out: Path | None, backend: str | None, force: bool) -> "Export":
    from kerasdl.backend import choose

    is_model = source.is_file()
    _check_source(source)
    path = source.with_suffix(".onnx") if is_model and out is None else out
    if path is not None and path.exists() and not force:
        raise UserError(f"{path}: already there; give --force to overwrite it, or another --out")
    from kerasdl.export.target import load_target

    checked = load_target(target)
    choose(backend)
    if not is_model:
        from kerasdl.export.run import export_run

        return export_run(source, checked, path)
    from kerasdl.export.export import export_model
    from kerasdl.export.files import load_model

    return export_model(load_model(source), source.with_suffix(".onnx") if path is None else path, checked)


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
    print(
        f"wrote {export.path}: {export.nodes} nodes of opset {export.opset}, by {export.exporter}, "
        f"in {export.seconds:.1f} s"
    )
    agreement = "" if export.argmax_agreement is None else f", same class for {export.argmax_agreement:.2%} of the rows"
    sizes = ", ".join(map(str, export.batch_sizes))
    print(
        f"outputs within {export.max_abs_diff:.2g} of Keras' (99 % within {export.p99_abs_diff:.2g}{agreement}; "
        f"batches of {sizes})"
    )
    print(f"compared on {', '.join(export.providers)}")
    for warning in export.warnings:
        print(f"note: {warning}")


def main() -> None:
    """Runs the command line; `benchmark` as the first word is a command of its own."""
    if sys.argv[1:2] == ["benchmark"]:
        from kerasdl.export.benchmark.command import main as benchmark

        benchmark(sys.argv[2:])
        return
    application(prog_name="python -m kerasdl.export")


if __name__ == "__main__":
    main()
