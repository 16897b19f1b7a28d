"""`python -m tests.benchmarks.matrix_rate`: how much of the machine's matrix rate packs of an MLP reach.

The rate is that of one large float32 matrix product on the same backend, measured in the same process, before and
after. What a pack computes is counted: two operations for each weight and row forth, two for the gradient of each
weight, two for that of each input but the first layer's. Biases, activations and the optimizer are left out, so that a
share is no flattery.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run
from tests.benchmarks.training import BATCH_SIZE, by_fit, declare, epoch_seconds, load, rates

SIZES = (784, 64, 64, 10)
FIGURE = Path(__file__).parents[2] / "docs" / "matrix_rate.png"


def operations(train_rows: int, validation_rows: int) -> float:
    """Counts the operations that one member's epoch takes in matrix products.

    Args:
        train_rows: Rows that are learned from.
        validation_rows: Rows that are scored.
    """
    products = [before * after for before, after in itertools.pairwise(SIZES)]
    forth, back = 2 * sum(products), 2 * sum(products) + 2 * sum(products[1:])
    return train_rows * (forth + back) + validation_rows * forth


def matrix_rate(size: int) -> float:
    """Measures operations per second of a product of two square float32 matrices, the best of several."""
    import keras
    import numpy as np

    matrix = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(size, size)).astype("float32"))
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        product = keras.ops.matmul(matrix, matrix)
        # One number of the result waits for all of it.
        float(keras.ops.convert_to_numpy(product[0, 0]))
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def kerasdl(options: Options) -> Facts:
    from kerasdl.tune import Study

    rows = load(options)
    own = operations(len(rows.train), len(rows.validation))
    operations_per_second = {}
    before = matrix_rate(options.matrix)
    for members in options.members:
        study = Study(
            data=rows,
            model="mlp",
            optimizer="adam",
            batch_size=BATCH_SIZE,
            epochs=options.epochs,
            space={"learning_rate": rates(members)},
        )
        with (
            tempfile.TemporaryDirectory() as folder,
            study.run(Path(folder) / "run", export=False, progress=False) as done,
        ):
            how = set(done.trials()["how"])
            if members > 1 and not all(one.startswith(f"pack of {members} ") for one in how):
                raise SystemExit(f"{members} members did not run as one pack but so: {how}")
            operations_per_second[str(members)] = members * own / epoch_seconds(done)
    # The better of two: other processes can only slow it down.
    rate = max(before, matrix_rate(options.matrix))
    return {"rate": rate, **{members: reached / rate for members, reached in operations_per_second.items()}}


def fit(options: Options) -> Facts:
    from kerasdl.models import mlp

    rows = load(options)
    before = matrix_rate(options.matrix)
    epoch = by_fit(options, mlp, "adam", [(0, rates(1)[0])])["epoch"]
    rate = max(before, matrix_rate(options.matrix))
    return {"rate": rate, "1": operations(len(rows.train), len(rows.validation)) / epoch / rate}


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section, and draws the figure."""
    rows = []
    for backend in options.backends:
        theirs, ours = medians["fit", backend], medians["kerasdl", backend]
        shares = [f"{100 * ours[str(members)]:.1f} %" for members in options.members]
        rows.append([backend, f"{ours['rate'] / 1e9:.0f} GFLOP/s", f"{100 * theirs['1']:.1f} %", *shares])
    draw(medians, options)
    counts = [f"{members} member{'s' if members > 1 else ''}" for members in options.members]
    return (
        f"Members (learning rates) of the MLP {'-'.join(map(str, SIZES))} with Adam on {options.rows or 'all'} rows of "
        f"Fashion-MNIST, batch {BATCH_SIZE}: the share of the rate of a {options.matrix} x {options.matrix} float32 "
        f"matrix product, from the median of the epochs 2 to {options.epochs}, validation included; medians of "
        f"{options.times}. `python -m tests.benchmarks.matrix_rate` measures them again, and draws "
        f"`docs/{FIGURE.name}`.\n\n{markdown(['backend', 'matrix rate', 'one by `fit`', *counts], rows)}"
    )


def draw(medians: Mapping[Case, Facts], options: Options) -> None:
    """Draws the shares against the number of members."""
    from kerasdl.drawing import BLUE, GREEN, VERMILION, new_figure, styled
    from kerasdl.report.figures.style import number_ticks

    with styled():
        figure = new_figure(5.6, 3.6)
        axes = figure.subplots()
        for backend, colour, marker in zip(options.backends, (BLUE, VERMILION, GREEN), "osD", strict=False):
            shares = [100 * medians["kerasdl", backend][str(members)] for members in options.members]
            axes.plot(options.members, shares, marker, linestyle="-", color=colour, linewidth=1.8, label=backend)
            alone = 100 * medians["fit", backend]["1"]
            axes.plot(1, alone, marker, color=colour, markerfacecolor="white", zorder=3, clip_on=False)
        axes.set_xscale("log")
        number_ticks(axes.xaxis, options.members)
        axes.set_ylim(0)
        axes.set_xlabel("members of a pack (hollow: one by Keras' fit)")
        axes.set_ylabel("share of the matrix rate (%)")
        axes.set_title("How near to the machine's limit")
        figure.legend(loc="outside lower center", ncols=3)
        figure.savefig(options.figure, dpi=150, metadata={"Software": None})


def options_of(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    declare(parser, epochs=4)
    parser.add_argument("--members", nargs="+", type=int, default=[1, 3, 9, 27, 81])
    parser.add_argument("--matrix", type=int, default=4096, help="rows and columns of the large product")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the picture that is drawn")


BENCHMARK = Benchmark(
    module="tests.benchmarks.matrix_rate",
    title="The share of the matrix rate",
    description="How much of the machine's matrix rate packs of an MLP reach.",
    peers={"fit": fit, "kerasdl": kerasdl},
    table=table,
    declare=options_of,
)

if __name__ == "__main__":
    run(BENCHMARK)
