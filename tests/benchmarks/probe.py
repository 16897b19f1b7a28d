"""`python -m tests.benchmarks.probe`: linear probes of a pretrained network, with and without keeping features."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, run
from tests.benchmarks.training import against_fit, by_fit, by_kerasdl, declare, rates

if TYPE_CHECKING:
    import keras

RATES = 5


def kerasdl(options: Options) -> Facts:
    space = {"learning_rate": rates(RATES)}
    return by_kerasdl(options, model="transfer", optimizer="adam", space=space, fixed={"mode": "probe"})


def fit(options: Options) -> Facts:
    from kerasdl import models

    def build(input_shape: tuple[int, ...], classes: int) -> "keras.Model":
        return models.transfer(input_shape, classes, mode="probe")

    return by_fit(options, build, "adam", [(0, rate) for rate in rates(RATES)])


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    return (
        f"{RATES} learning rates of a linear probe of EfficientNet-Lite0 with ImageNet weights; 1,400 images of two "
        f"classes of Fashion-MNIST at 96 x 96, batch 128, {options.epochs} epochs; medians of {options.times}. `fit` "
        "runs the frozen body in every epoch of every trial, kerasdl once for all of them; kerasdl's hold that "
        "and the scoring of test rows.\n`python -m tests.benchmarks.probe` measures them again.\n\n"
        f"{against_fit(medians, options)}"
    )


BENCHMARK = Benchmark(
    module="tests.benchmarks.probe",
    title="Probes of a frozen network",
    description="Linear probes by learning rate: features computed once against Keras' fit of the whole.",
    peers={"fit": fit, "kerasdl": kerasdl},
    table=table,
    declare=partial(declare, epochs=3, source="fashion_pair"),
)

if __name__ == "__main__":
    run(BENCHMARK)
