"""Ctrl-C, also where it comes at a moment at which Python lets an exception go unheard."""

import signal
import threading
from types import FrameType


class Interruption:
    """Remembers that Ctrl-C was pressed. Use it as a context manager.

    An exception that is raised while Python runs a finalizer or the callback of a weak reference is printed and
    forgotten, KeyboardInterrupt too; after a program was recorded, such moments are long.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._takes_over = False

    def __enter__(self) -> "Interruption":
        # Only the main thread may, and a handler of the caller's own stays.
        main = threading.current_thread() is threading.main_thread()
        self._takes_over = main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._takes_over:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._takes_over:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._pressed = True
        signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raises KeyboardInterrupt if Ctrl-C was pressed."""
        if self._pressed:
            raise KeyboardInterrupt
