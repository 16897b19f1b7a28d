"""Trains packs, some side by side, and makes the next ready meanwhile."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import NamedTuple

from kerasdl.train.pack import PackTrainer
from kerasdl.tune.planner import Pack


class Turn(NamedTuple):
    """A pack whose turn is over, or is its caller's.

    Attributes:
        pack: The pack.
        trained: Whether kerasdl's program trained it to its end; the caller lets `fit` train what is left.
        error: What was raised meanwhile.
    """

    pack: Pack
    trained: bool
    error: Exception | None = None


@dataclass
class _Course:
    """One pack on its way.

    Attributes:
        pack: The pack.
        trainer: Who trains it; `None` where no program of kerasdl's does.
        error: What making the trainer raised.
        work: What a thread does for it now.
        training: Whether it trains; before, it is only made ready.
        epochs: How many it trained.
    """

    pack: Pack
    trainer: PackTrainer | None = None
    error: Exception | None = None
    work: "Future[None] | None" = None
    training: bool = False
    epochs: int = 0


class SideBySide:
    """Trains packs in threads; the thread of the caller makes them and tells what comes of them.

    Small operations leave processors idle that another pack can use. Programs of convolutions fill them all, and so do
    trials that `fit` trains: these train while nothing else does.

    Args:
        packs: All that is to be trained, in the order in which they begin.
        make: Makes the trainer of a pack that runs as one program.
        begin: Told of each such pack when it begins to train.
        width: How many packs may train at once.
        undisturbed: How many epochs of a program run before the next is made beside it.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        make: Callable[[Pack], PackTrainer],
        begin: Callable[[Pack, PackTrainer], None],
        width: int,
        undisturbed: int = 0,
    ) -> None:
        self._coming = deque(packs)
        self._make, self._begin = make, begin
        self._width, self._undisturbed = width, undisturbed
        # One beside those that train, so that it is ready when one of them ends.
        self._most = width + 1
        self._executor = ThreadPoolExecutor(self._most, thread_name_prefix="pack")
        self._courses: list[_Course] = []

    def turns(self) -> Iterator[Turn]:
        """Trains; gives each pack when it has ended, has failed, or has to be trained by `fit` now."""
        with self._executor:
            while self._coming or self._courses:
                for course in [one for one in self._courses if one.work is not None and one.work.done()]:
                    yield from self._worked(course)
                while (ready := self._next_ready()) is not None:
                    yield from self._begun(ready)
                if self._may_make():
                    self._make_next()
                else:
                    wait([one.work for one in self._courses if one.work is not None], return_when=FIRST_COMPLETED)

    def _may_make(self) -> bool:
        if not self._coming or len(self._courses) >= self._most:
            return False
        return all(one.epochs >= self._undisturbed for one in self._courses)

    def _make_next(self) -> None:
        course = _Course(self._coming.popleft())
        self._courses.append(course)
        if not course.pack.fused:
            return
        try:
            course.trainer = self._make(course.pack)
        except Exception as error:  # noqa: BLE001 - it is told when the pack's turn comes
            course.error = error
        else:
            course.work = self._executor.submit(course.trainer.prepare)

    def _next_ready(self) -> _Course | None:
        """Returns a pack that is ready and may train beside those that do."""
        training = [one for one in self._courses if one.training]
        if len(training) >= self._width:
            return None
        for course in self._courses:
            if course.training:
                continue
            together = [*training, course]
            if training and not (all(one.pack.narrow for one in together) and _have_memory(together)):
                # Others that come after it do not pass it, or it would never begin.
                return None
            if course.work is None:
                return course
        return None

    def _begun(self, course: _Course) -> Iterator[Turn]:
        if course.trainer is None:
            self._courses.remove(course)
            yield Turn(course.pack, False, course.error)
            return
        try:
            self._begin(course.pack, course.trainer)
            course.trainer.begin(course.pack.how)
        except Exception as error:  # noqa: BLE001 - whoever asks for turns knows what it means
            yield self._failed(course, error)
            return
        course.training = True
        self._compute(course)

    def _compute(self, course: _Course) -> None:
        assert course.trainer is not None
        course.work = self._executor.submit(course.trainer.compute, sum(one.training for one in self._courses))

    def _worked(self, course: _Course) -> Iterator[Turn]:
        assert course.work is not None and course.trainer is not None
        work, course.work = course.work, None
        if not course.training:
            # What compiling raised, training raises too.
            work.exception()
            return
        try:
            work.result()
            course.trainer.tell()
        except Exception as error:  # noqa: BLE001 - as above
            yield self._failed(course, error)
            return
        course.epochs += 1
        if course.trainer.ended:
            self._courses.remove(course)
            yield Turn(course.pack, True)
        else:
            self._compute(course)

    def _failed(self, course: _Course, error: Exception) -> Turn:
        self._courses.remove(course)
        return Turn(course.pack, False, error)


def _have_memory(courses: Sequence[_Course]) -> bool:
    """Whether packs fit into the memory that one of them may use."""
    return sum(one.pack.share for one in courses) <= 1
