"""`python -m tests.benchmarks.memory`: the resident memory of a long random search, early and at its end.

Small models of many architectures on the digits, one epoch each: what a search keeps of trials that have ended shows.
"""

import argparse
import sqlite3
import tempfile
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run

EARLY = 50


class Watch(threading.Thread):
    """Notes the process' resident memory with the number of trials that have ended, several times a second.

    Args:
        directory: The run's directory.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self._file = directory.absolute() / "run.sqlite"
        self._over = threading.Event()
        self.noted: list[tuple[int, int]] = []

    def run(self) -> None:
        while not self._over.wait(0.2):
            self._note()

    def _note(self) -> None:
        import psutil

        try:
            with closing(sqlite3.connect(f"{self._file.as_uri()}?mode=ro", uri=True)) as connection:
                query = "SELECT COUNT(*) FROM trial WHERE status != 'running'"
                ended = connection.execute(query).fetchone()[0]
        except sqlite3.OperationalError:
            # The search has not begun to write.
            return
        self.noted.append((ended, psutil.Process().memory_info().rss))

    def stop(self) -> None:
        """Ends the thread."""
        self._over.set()
        self.join()
        self._note()

    def resident(self, trials: int) -> float:
        """Returns the first noted memory, in MiB, with at least so many trials ended."""
        return next(resident for ended, resident in self.noted if ended >= trials) / 2**20


def kerasdl(options: Options) -> Facts:
    from kerasdl.tune import Study

    study = Study(
        data="digits",
        model="mlp",
        search="random",
        trials=options.trials,
        epochs=1,
        optimizer="adam",
        space={
            "depth": [1, 2, 3],
            "width": {"low": 4, "high": 64},
            "learning_rate": {"low": 1e-4, "high": 1e-1, "sampling": "log"},
        },
    )
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        watch = Watch(directory)
        watch.start()
        with study.run(directory, export=False, progress=False) as done:
            watch.stop()
            trials = len(done.trials())
            return {
                "early": watch.resident(min(EARLY, trials)),
                "end": watch.resident(trials),
                "trials": trials,
                "seconds": done.seconds,
            }


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    rows = []
    for backend in options.backends:
        own = medians["kerasdl", backend]
        rows.append(
            [
                backend,
                f"{own['early']:.0f} MiB",
                f"{own['end']:.0f} MiB",
                f"{100 * (own['end'] / own['early'] - 1):+.1f} %",
                f"{own['trials']:.0f}",
                f"{own['seconds']:.0f} s",
            ]
        )
    head = ["backend", f"after {EARLY} trials", "at the end", "growth", "trials", "search"]
    return (
        f"Resident memory of a random search of {options.trials} MLPs on the digits, one epoch each; depth (1 to 3), "
        f"width (4 to 64) and learning rate vary, so that most programs are compiled for a few trials; medians of "
        f"{options.times}. `python -m tests.benchmarks.memory` measures them again.\n\n{markdown(head, rows)}"
    )


def declare(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    parser.add_argument("--trials", type=int, default=1000)
    parser.set_defaults(times=1)


BENCHMARK = Benchmark(
    module="tests.benchmarks.memory",
    title="Memory of a long search",
    description="The resident memory of a long random search, early and at its end.",
    peers={"kerasdl": kerasdl},
    table=table,
    declare=declare,
)

if __name__ == "__main__":
    run(BENCHMARK)
