"""C's allocator, where it is glibc's."""

import ctypes
import sys


def call(name: str, *numbers: int) -> None:
    """Calls one of its functions by name; does nothing where there is no such function."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*numbers)
