"""`python -m tests.benchmarks.alone`: one trial by kerasdl, a pack of one, against Keras' `fit`."""

from collections.abc import Mapping
from functools import partial

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run
from tests.benchmarks.training import by_fit, by_kerasdl, declare

# Each with its optimizer and its learning rate.
MODELS = {"softmax": ("sgd", 0.1), "mlp": ("adam", 0.001)}


def kerasdl(model: str, options: Options) -> Facts:
    optimizer, rate = MODELS[model]
    return by_kerasdl(options, model=model, optimizer=optimizer, learning_rate=rate)


def fit(model: str, options: Options) -> Facts:
    from kerasdl import models

    optimizer, rate = MODELS[model]
    return by_fit(options, getattr(models, model), optimizer, [(0, rate)])


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    rows = []
    for model in MODELS:
        for backend in options.backends:
            theirs, ours = medians[f"fit {model}", backend], medians[f"kerasdl {model}", backend]
            rows.append(
                [
                    model,
                    backend,
                    f"{theirs['epoch']:.3f} s",
                    f"{ours['epoch']:.3f} s",
                    f"{theirs['epoch'] / ours['epoch']:.2f} x",
                    f"{theirs['seconds'] / ours['seconds']:.2f} x",
                    f"{theirs['accuracy']:.4f} / {ours['accuracy']:.4f}",
                ]
            )
    head = ["model", "backend", "epoch, `fit`", "epoch, kerasdl", "`fit` / kerasdl", "the same of the whole"]
    head.append("validation accuracy")
    return (
        f"One trial on Fashion-MNIST, {options.rows or 'all'} rows, batch 128, {options.epochs} epochs; medians of "
        f"{options.times}. An epoch: the median of all but the first, validation included. The whole: from loaded data "
        "to the end of training; kerasdl's holds planning, the scoring of test rows and the run's database too.\n"
        f"`python -m tests.benchmarks.alone` measures them again.\n\n{markdown(head, rows)}"
    )


BENCHMARK = Benchmark(
    module="tests.benchmarks.alone",
    title="One trial alone",
    description="A pack of one against Keras' fit, for the softmax and the MLP.",
    peers={f"{peer.__name__} {model}": partial(peer, model) for model in MODELS for peer in (fit, kerasdl)},
    table=table,
    declare=partial(declare, epochs=5),
)

if __name__ == "__main__":
    run(BENCHMARK)
