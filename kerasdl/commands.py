"""How the command lines speak of errors: the user's mistakes in one line and exit status 2, no traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kerasdl.errors import UserError


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turns a `UserError` into a line on standard error and exit status 2, an interruption into exit status 130."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr, flush=True)
        # Backends keep threads that would hold up an ordinary exit.
        os._exit(130)
