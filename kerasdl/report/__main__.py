"""The command `python -m kerasdl.report RUN`."""

from pathlib import Path
from typing import Annotated

import typer

from kerasdl.commands import PlainCommand, plain_errors

application = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@application.command(cls=PlainCommand)
def report(run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a started study.")]) -> None:
    """Writes report.html and figures/ again from what a run holds, and prints the page's path.

    Only the run's directory is read: no data are loaded and nothing is trained.
    """
    from kerasdl.report import write_report
    from kerasdl.runs import Run

    with plain_errors(), Run.open(run) as opened:
        typer.echo(str(write_report(opened)))


def main() -> None:
    """Runs the command."""
    application(prog_name="python -m kerasdl.report")


if __name__ == "__main__":
    main()
