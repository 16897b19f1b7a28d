"""`python -m kerasdl.watch gradients MODEL_OR_STUDY`: checks gradients against finite differences."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from kerasdl.commands import PlainCommand, plain_errors
from kerasdl.errors import UserError, nearest

if TYPE_CHECKING:
    from kerasdl.watch.gradient_check import GradientCheck
    from kerasdl.watch.gradient_check.sources import Source


class PlainGroup(TyperGroup):
    """Answers an unknown command in one line, exit status 2."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Finds the command that the first argument names."""
        with plain_errors():
            if args and args[0] not in self.commands:
                raise UserError(f"{args[0]}: no such command; {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


application = typer.Typer(
    cls=PlainGroup,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@application.callback()
def watch() -> None:
    """Look at what happens inside a network."""


@application.command(cls=PlainCommand)
def gradients(
    source: Annotated[
        str, typer.Argument(metavar="MODEL_OR_STUDY", help="A .keras file, a shipped study's name, or a TOML file.")
    ],
    backend: Annotated[
        str | None, typer.Option(help="torch, tensorflow or jax; else KERAS_BACKEND or Keras' configuration.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Rows: a name, csv:PATH?target=COLUMN, npz:PATH.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows to check on.")] = 32,
    samples: Annotated[int, typer.Option(min=1, help="How many entries of each parameter tensor to compare.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Draws rows, entries, and a study's first weights.")] = 0,
    training: Annotated[bool, typer.Option("--training", help="Call layers as in training.")] = False,
    loss: Annotated[str | None, typer.Option(help="For a .keras file: a loss of Keras' instead of its own.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the study; repeatable.")
    ] = None,
) -> None:
    """Compare a model's gradients with central differences in float64, parameter by parameter.

    Exit status 0 if all pass, 1 if one is wrong or suspicious, 2 if the command was misused.
    """
    with plain_errors():
        from kerasdl import backend as backends

        backends.choose(backend)
        is_model = source.endswith((".keras", ".h5", ".hdf5"))
        settings = _changes(is_model, data, loss, changes or [])
        backends.start()
        from kerasdl.watch.gradient_check import sources

        if is_model:
            found = sources.of_model(Path(source), rows, seed, data, loss)
        else:
            found = sources.of_study(source, rows, seed, settings)
        passed = _check(found, samples, training, seed)
    if not passed:
        raise typer.Exit(1)


def _changes(is_model: bool, data: str | None, loss: str | None, changes: list[str]) -> dict[str, Any]:
    if is_model:
        if changes:
            raise UserError(f"--set {changes[0]}: a .keras file has no settings to change; leave --set out")
        return {}
    if loss is not None:
        raise UserError(f"--loss {loss}: a study says its loss itself; leave --loss out")
    from kerasdl.data import located
    from kerasdl.tune.toml import parse_value

    chosen: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise UserError(f"--set {change}: not of the form KEY=VALUE, such as --set batch_norm=false")
        chosen[key.strip()] = parse_value(text.strip())
    return chosen if data is None else {**chosen, "data": located(data, Path.cwd())}


def _check(source: "Source", samples: int, training: bool, seed: int) -> bool:
    from kerasdl.watch.gradient_check import check_gradients

    found = check_gradients(source.model, source.x, source.y, samples=samples, training=training, seed=seed)
    _show(found, source.words)
    return found.passed


def _show(found: "GradientCheck", words: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kerasdl.watch.gradient_check.result import COLUMNS

    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title=f"Gradients against finite differences: {words}", title_justify="left")
    for name in COLUMNS:
        numeric = name not in ("part", "parameter", "verdict")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for one in found.parameters:
        style = "" if one.passed else "bold red"
        table.add_row(*(Text(word) for word in one.words[:-1]), Text(one.words[-1], style=style))
    console.print(table)
    for line in (found.summary(), *(f"note: {note}" for note in found.notes)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def main() -> None:
    """Runs the command."""
    application(prog_name="python -m kerasdl.watch")


if __name__ == "__main__":
    main()
