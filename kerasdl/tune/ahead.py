"""Makes the next pack ready while one trains."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from kerasdl.train.pack import PackTrainer
from kerasdl.tune.planner import Pack


def made_ahead(
    packs: Sequence[Pack], make: Callable[[Pack], PackTrainer]
) -> Iterator[tuple[Pack, Callable[[], PackTrainer]]]:
    """Goes through packs; while the caller trains one, a thread compiles the program of the next.

    Args:
        packs: All that is to be trained, in order.
        make: Makes the trainer of a pack that runs as one program.

    Yields:
        Each pack, and a function that gives its trainer, or raises what making it raised.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="compile") as pool:
        following: Callable[[], PackTrainer] | None = None
        for number, pack in enumerate(packs):
            present = following or _later(pack, make)
            following = _begun(packs[number + 1], make, pool) if number + 1 < len(packs) else None
            yield pack, present


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
