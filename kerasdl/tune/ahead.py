"""Makes the next pack ready while one trains."""

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from kerasdl.train.pack import PackTrainer
from kerasdl.tune.planner import Pack


class Turn(NamedTuple):
    """One pack's turn to train.

    Attributes:
        pack: The pack.
        trainer: Gives its trainer, or raises what making it raised.
        make_next: Begins to make the next pack's trainer ready, if that has not begun; the next turn does so otherwise.
    """

    pack: Pack
    trainer: Callable[[], PackTrainer]
    make_next: Callable[[], None]


def made_ahead(packs: Sequence[Pack], make: Callable[[Pack], PackTrainer]) -> Iterator[Turn]:
    """Goes through packs; while the caller trains one, a thread compiles the program of the next.

    Args:
        packs: All that is to be trained, in order.
        make: Makes the trainer of a pack that runs as one program.

    Yields:
        Each pack's turn.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="compile") as pool:
        trainers: dict[int, Callable[[], PackTrainer]] = {}

        def begin(number: int) -> None:
            if number < len(packs) and number not in trainers:
                trainers[number] = _begun(packs[number], make, pool)

        for number, pack in enumerate(packs):
            present = trainers.pop(number, None) or _later(pack, make)
            yield Turn(pack, present, functools.partial(begin, number + 1))


def _later(pack: Pack, make: Callable[[Pack], PackTrainer]) -> Callable[[], PackTrainer]:
    return lambda: make(pack)


def _begun(pack: Pack, make: Callable[[Pack], PackTrainer], pool: ThreadPoolExecutor) -> Callable[[], PackTrainer]:
    if not pack.fused:
        return _later(pack, make)
    try:
        trainer = make(pack)
    except Exception as error:  # noqa: BLE001 - it is raised when the pack's turn comes
        return _raising(error)
    compiled = pool.submit(trainer.prepare)
    return lambda: _ready(trainer, compiled)


def _raising(error: Exception) -> Callable[[], PackTrainer]:
    def give() -> PackTrainer:
        raise error

    return give


def _ready(trainer: PackTrainer, compiled: "Future[None]") -> PackTrainer:
    # What compiling raised, running raises too, where it can be told of.
    compiled.exception()
    return trainer
