"""`python -m tests.benchmarks.packs`: learning rates of an MLP by kerasdl, as one pack, and by `fit` one after another.

No epochs are shared: every trial asks for the same number. What is gained comes from running side by side alone.
"""

import argparse
from collections.abc import Mapping

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, run
from tests.benchmarks.training import against_fit, by_fit, by_kerasdl, declare, rates


def kerasdl(options: Options) -> Facts:
    return by_kerasdl(options, model="mlp", optimizer="adam", space={"learning_rate": rates(options.members)})


def fit(options: Options) -> Facts:
    from kerasdl.models import mlp

    return by_fit(options, mlp, "adam", [(0, rate) for rate in rates(options.members)])


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    return (
        f"{options.members} learning rates of the MLP 784-64-64-10 with Adam on Fashion-MNIST, "
        f"{options.rows or 'all'} rows, batch 128, epochs: {options.epochs} of each; medians of {options.times}. "
        "`fit`: a loop of `model.fit` with the data in memory, from loaded data to the last model's end. kerasdl: the "
        "search, with planning, compiling, scoring of test rows and the run's database. One epoch: of all models, the "
        f"first left out, which compiles.\n`python -m tests.benchmarks.packs` measures them again.\n\n"
        f"{against_fit(medians, options)}"
    )


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    declare(parser, epochs=3)
    parser.add_argument("--members", type=int, default=27)


BENCHMARK = Benchmark(
    module="tests.benchmarks.packs",
    title="Packs of an MLP",
    description="Learning rates of an MLP by kerasdl and by Keras' fit one after another.",
    peers={"fit": fit, "kerasdl": kerasdl},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
