"""How the command lines speak of errors: the user's mistakes in one line and exit status 2, no traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

from kerasdl.errors import UserError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns a `UserError` into a line on standard error and exit status 2, an interruption into exit status 130."""
    try:
        yield
    except UserError as error:
        # Messages of other libraries may have been quoted; the answer stays one line.
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        # Backends keep threads that would hold up an ordinary exit.
        os._exit(130)


class PlainCommand(TyperCommand):
    """A command that answers a misused option like any other mistake: one line on standard error, exit status 2.

    Give it to typer: `@application.command(cls=PlainCommand)`.
    """

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Reads the command line."""
        # typer carries its own copy of click, so that only its public errors lead to the class of all of them.
        usage_error: Any = typer.BadParameter.__bases__[0]
        with plain_errors():
            try:
                return super().make_context(info_name, args, parent, **extra)
            except usage_error as error:
                raise UserError(f"{error.format_message().rstrip('.')}; see {info_name} --help") from error
