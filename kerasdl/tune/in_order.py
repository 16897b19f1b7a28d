"""Ends KerasTuner's trials in an order that does not depend on which of several packs is the faster."""

from collections.abc import Callable, Sequence

from kerasdl.tune.executions import Executions
from kerasdl.tune.planner import Pack


class InOrder:
    """Ends trials in the order of their packs, so that an oracle that learns from them proposes the same each time.

    Args:
        packs: All packs.
        taken: All trials.
        is_ready: Tells whether a completed trial can end while its pack trains; else it ends after it.
        end: Ends a completed trial.
    """

    def __init__(
        self,
        packs: Sequence[Pack],
        taken: Sequence[Executions],
        is_ready: Callable[[Executions], bool],
        end: Callable[[Executions], None],
    ) -> None:
        self._places = {training.number: place for place, pack in enumerate(packs) for training in pack.trials}
        self._taken, self._is_ready, self._end = list(taken), is_ready, end
        self._trained: set[int] = set()
        self._head = 0
        self._held: list[Executions] = []

    def complete(self, own: Executions) -> None:
        """Takes a trial all of whose executions have ended; ends it now if no pack before its own still trains."""
        self._held.append(own)
        self._release(self._is_ready)

    def trained(self, pack: Pack) -> None:
        """Takes a pack that has ended."""
        self._trained.add(self._places[pack.trials[0].number])
        while self._head in self._trained:
            self._release(lambda own: True)
            self._head += 1
            self._release(self._is_ready)

    def _release(self, may: Callable[[Executions], bool]) -> None:
        for own in sorted(filter(may, filter(self._is_next, self._held)), key=self._when):
            self._held.remove(own)
            self._end(own)

    def _is_next(self, own: Executions) -> bool:
        return self._place(own) <= self._head

    def _place(self, own: Executions) -> int:
        return max(self._places[training.number] for training in own.trainings)

    def _when(self, own: Executions) -> tuple[int, int]:
        last = self._place(own)
        epochs = [course.epochs for course in own.courses if self._places[course.training.number] == last]
        return max(epochs), self._taken.index(own)
