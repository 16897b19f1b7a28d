"""The errors that are for the person at the keyboard: no traceback, exit status 2."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something that the user gave cannot be used.

    The message is one line that names the thing, the place and the way out.
    """


class BusyError(UserError):
    """Another process is writing this run."""


def nearest(word: str, valid: Iterable[str]) -> str:
    """Suggests the valid word nearest to a misspelt one.

    Args:
        word: The word that is not known.
        valid: The words that are.

    Returns:
        `"did you mean 'x'?"` where a word is near, else `"choose from a, b, c"`.
    """
    words = sorted(set(valid))
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(words)}"
