"""`python -m tests.benchmarks.watched_packs`: what watching every batch's gradients costs in packs.

Learning rates of an MLP of six layers of 64 run as one pack, with an empty `[watch]` table and without one.
"""

import argparse
from collections.abc import Mapping

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run
from tests.benchmarks.training import by_kerasdl, declare, rates


def _study(options: Options, watch: dict[str, object] | None) -> Facts:
    return by_kerasdl(
        options,
        model="mlp",
        optimizer="adam",
        fixed={"depth": 6, "width": 64},
        space={"learning_rate": rates(options.members)},
        watch=watch,
    )


def plain(options: Options) -> Facts:
    return _study(options, None)


def watched(options: Options) -> Facts:
    return _study(options, {})


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    rows = []
    for backend in options.backends:
        without, with_it = medians["plain", backend], medians["watched", backend]
        epochs = f"{without['epoch']:.3f} s", f"{with_it['epoch']:.3f} s"
        rows.append([backend, *epochs, f"{with_it['epoch'] / without['epoch']:.2f} x"])
    return (
        f"{options.members} learning rates of an MLP of six layers of 64 with Adam as one pack on Fashion-MNIST, "
        f"{options.rows or 'all'} rows, batch 128; the median epoch of all, the first left out; medians of "
        f"{options.times}. Watched: four numbers of each weight in every step, their statistics and the run's rows. "
        "`python -m tests.benchmarks.watched_packs` measures them again.\n\n"
        f"{markdown(['backend', 'epoch', 'epoch, watched', 'watched / not'], rows)}"
    )


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    declare(parser, epochs=6, rows=12_000)
    parser.add_argument("--members", type=int, default=9)


BENCHMARK = Benchmark(
    module="tests.benchmarks.watched_packs",
    title="Watching gradients in packs",
    description="Packs of an MLP with gradients watched in every step and without.",
    peers={"plain": plain, "watched": watched},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
