"""Works on many files with all cores and shows how far it is."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

from kerasdl.data.image_file import CorruptError

MOST_THREADS = 16

# Items that are worked on ahead: few enough that what waits to be written down stays small.
_AHEAD = 64

Source = TypeVar("Source")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Source], Result], items: Sequence[Source], doing: str
) -> Iterator[Result | CorruptError]:
    """Works on items in threads, a bounded number ahead, and shows how far it is where somebody looks.

    Args:
        work: What to do with one. Pillow lets other threads run while it decodes.
        items: The items.
        doing: What is done, for the person who waits.

    Yields:
        Each item's result, in the items' order; the error where it could not be read.
    """

    def attempt(item: Source) -> Result | CorruptError:
        try:
            return work(item)
        except CorruptError as error:
            return error

    threads = min(os.cpu_count() or 1, MOST_THREADS)
    with _bar(doing, len(items)) as advance, ThreadPoolExecutor(threads) as pool, warnings.catch_warnings():
        # Pillow warns of odd tags and of large pictures; what it cannot read it raises.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        for start in range(0, len(items), _AHEAD):
            chunk = items[start : start + _AHEAD]
            yield from pool.map(attempt, chunk)
            advance(len(chunk))


@contextmanager
def _bar(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Shows a bar on a terminal once a second has passed."""
    from rich.console import Console
    from rich.errors import LiveError
    from rich.progress import Progress

    console, begin, done, started = Console(stderr=True), time.monotonic(), 0, False
    bars = Progress(console=console, transient=True, disable=not console.is_terminal)
    task = bars.add_task(doing, total=total)

    def advance(count: int) -> None:
        nonlocal done, started
        done += count
        bars.update(task, completed=done)
        if not started and time.monotonic() - begin > 1:
            started = True
            # Where something else shows its progress, that is enough.
            with suppress(LiveError):
                bars.start()

    try:
        yield advance
    finally:
        bars.stop()
