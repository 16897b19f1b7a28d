"""Lets go of what was made for packs that have ended."""

import gc
import itertools

from kerasdl.train import allocator
from kerasdl.train.backends import current_backend

# How many packs' programs are kept at most; letting go takes about a second, which so many packs share.
PACKS = 10

_begun = itertools.count(1)


def release() -> None:
    """Bounds what compiled programs hold. To be called when a pack begins; some of the calls do the work."""
    if next(_begun) % PACKS:
        return
    # Models and their programs refer to each other, so that only the collector ends them.
    gc.collect()
    current_backend().forget()
    # Compiling leaves much memory free that C keeps for the process.
    allocator.call("malloc_trim", 0)
