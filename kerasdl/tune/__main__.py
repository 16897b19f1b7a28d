"""`python -m kerasdl.tune STUDY`: runs a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdl.commands import PlainCommand, plain_errors
from kerasdl.compiled import keep_programs
from kerasdl.errors import UserError

if TYPE_CHECKING:
    from kerasdl.tune.study import Study

application = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _list(value: bool) -> None:
    if not value:
        return
    from kerasdl import recipes
    from kerasdl.tune import toml

    for name in recipes.names("tuning"):
        content = toml.read(recipes.find("tuning", name))
        typer.echo(f"{name:<14} {content.get('question') or content.get('title', '')}")
    raise typer.Exit


@application.command(cls=PlainCommand)
def tune(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A shipped study's name (see --list) or a TOML file.")],
    backend: Annotated[
        str | None, typer.Option(help="torch, tensorflow or jax; else KERAS_BACKEND or Keras' configuration.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Other data: a name, csv:PATH?target=COLUMN, npz:PATH.")
    ] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study; repeatable.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Configurations to try at most.")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Seeds to train each configuration with.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each trial.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The run's directory [default: runs/STUDY].")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Move a run that is there aside and start anew.")] = False,
    no_export: Annotated[bool, typer.Option("--no-export", help="Leave the winner unexported.")] = False,
    memory: Annotated[
        float | None, typer.Option(min=0.01, metavar="GIB", help="GiB that a pack of trials may use [default: half].")
    ] = None,
    checkpoint: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Least time between two checkpoints of trials in training."),
    ] = None,
    track: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="tensorboard, wandb or mlflow; repeatable.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print how the study would run, and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json alone on standard output.")] = False,
    listing: Annotated[
        bool, typer.Option("--list", is_eager=True, callback=_list, help="List the shipped studies and leave.")
    ] = False,
) -> None:
    """Run a study: train what it asks for, repeatedly; write a report; export the winner as a verified ONNX model.

    The same command again goes on where it stopped.
    """
    options = {"data": data, "trials": trials, "repeats": repeats, "epochs": epochs}
    with plain_errors():
        loaded = _load(study, options, changes or [])
        budget = None if memory is None else int(memory * 2**30)
        keep_programs()
        if explain:
            typer.echo(loaded.explain(backend=backend, memory=budget))
            return
        run = loaded.run(
            out,
            backend=backend,
            progress=not as_json,
            fresh=fresh,
            export=not no_export,
            memory=budget,
            checkpoint=checkpoint,
            track=track or None,
        )
        with run:
            if as_json:
                typer.echo((run.path / "summary.json").read_text(encoding="utf-8"), nl=False)
            else:
                from kerasdl.tune.ending import show

                show(run)


def _load(name: str, options: dict[str, Any], changes: list[str]) -> "Study":
    from kerasdl import data
    from kerasdl.tune.study import Study
    from kerasdl.tune.toml import parse_value

    chosen: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise UserError(f"--set {change}: not of the form KEY=VALUE, such as --set learning_rate=0.01")
        chosen[key.strip()] = parse_value(text.strip())
    for key, value in options.items():
        if value is not None:
            chosen[key] = data.located(value, Path.cwd()) if key == "data" else value
    return Study.load(name, chosen)


def main() -> None:
    """Runs the command."""
    application(prog_name="python -m kerasdl.tune")


if __name__ == "__main__":
    main()
