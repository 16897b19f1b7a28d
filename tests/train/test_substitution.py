"""What stands in for Keras' functions does so in one thread only, however threads overlap."""

import threading
from types import SimpleNamespace

import pytest

from kerasdl.train.backends.substitution import Substitution

pytestmark = pytest.mark.backend_free


@pytest.fixture
def owner():
    return SimpleNamespace(__name__="owner", draw=lambda: "original", other=lambda: "other")


def test_within_the_statement_only_and_by_name(owner):
    substitution = Substitution(owner, "draw")
    with substitution.by({"draw": lambda: "ours"}):
        assert (owner.draw(), owner.other()) == ("ours", "other")
        with substitution.by({"draw": lambda: "inner"}):
            assert owner.draw() == "inner"
        assert owner.draw() == "ours"
    assert owner.draw() == "original"


def test_threads_that_overlap_leave_nothing_behind(owner):
    substitution = Substitution(owner, "draw")
    entered, left = threading.Event(), threading.Event()
    heard = []

    def compile_another():
        with substitution.by({"draw": lambda: "theirs"}):
            entered.set()
            left.wait(10)
            heard.append(owner.draw())
        heard.append(owner.draw())

    thread = threading.Thread(target=compile_another)
    with substitution.by({"draw": lambda: "ours"}):
        thread.start()
        assert entered.wait(10)
        assert owner.draw() == "ours"
    # The other thread entered later and leaves later: what it found must not come back.
    assert owner.draw() == "original"
    left.set()
    thread.join()
    assert heard == ["theirs", "original"]
    assert owner.draw() == "original"
