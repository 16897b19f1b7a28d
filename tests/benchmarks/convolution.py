"""`python -m tests.benchmarks.convolution`: members of a small CNN by kerasdl's choice and by `fit` one after another.

Members are seeds and learning rates in equal parts, as far as their number allows.
"""

import argparse
import math
from collections.abc import Mapping

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, run
from tests.benchmarks.training import against_fit, by_fit, by_kerasdl, cnn, declare, rates


def shape(options: Options) -> tuple[int, int]:
    """Returns the numbers of seeds and of learning rates whose product is the number of members."""
    seeds = max(count for count in range(1, math.isqrt(options.members) + 1) if options.members % count == 0)
    return seeds, options.members // seeds


def kerasdl(options: Options) -> Facts:
    seeds, count = shape(options)
    return by_kerasdl(options, model=cnn, optimizer="adam", repeats=seeds, space={"learning_rate": rates(count)})


def fit(options: Options) -> Facts:
    seeds, count = shape(options)
    return by_fit(options, cnn, "adam", [(seed, rate) for rate in rates(count) for seed in range(seeds)])


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    seeds, count = shape(options)
    return (
        f"{options.members} members of a CNN with 16 and 32 filters on 28 x 28 images: {count} learning rates of Adam "
        f"x {seeds} seeds; {options.rows or 'all'} rows of Fashion-MNIST, batch 128, epochs: {options.epochs} of each; "
        f"medians of {options.times}. kerasdl chooses whether members run at once.\n"
        f"`python -m tests.benchmarks.convolution` measures them again.\n\n{against_fit(medians, options)}"
    )


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    declare(parser, epochs=2, rows=12_000)
    parser.add_argument("--members", type=int, default=9)


BENCHMARK = Benchmark(
    module="tests.benchmarks.convolution",
    title="Convolutions",
    description="Members of a small CNN by kerasdl's choice and by Keras' fit one after another.",
    peers={"fit": fit, "kerasdl": kerasdl},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
