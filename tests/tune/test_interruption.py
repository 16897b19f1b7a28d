import os
import signal
import weakref

import pytest

from kerasdl.tune.interruption import Interruption

pytestmark = pytest.mark.backend_free


class Thing:
    pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_swallows_is_heard_at_the_next_check() -> None:
    thing = Thing()
    # What a weak reference's callback raises, Python prints and forgets.
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    with Interruption() as interruption:
        interruption.check()
        del thing
        assert reference() is None
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_once_and_a_handler_of_ones_own_stays() -> None:
    with pytest.raises(KeyboardInterrupt), Interruption():
        os.kill(os.getpid(), signal.SIGINT)
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        with Interruption():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]
