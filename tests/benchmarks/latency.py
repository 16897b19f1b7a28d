"""`python -m tests.benchmarks.latency`: exported files against those of the same model written by hand in PyTorch.

A model of each backend is trained a little and exported by kerasdl; the same weights go into a PyTorch module, which
`torch.onnx` exports and `onnxslim` slims. Both files answer the same rows alike, and are then called in turns, each in
a process of its own.
"""

import argparse
import tempfile
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.benchmarks.measuring import Benchmark, Case, Facts, Options, markdown, run

if TYPE_CHECKING:
    import keras

SIDE = {"mlp": 28, "cnn": 28, "transfer": 96}
CHANNELS = {"mlp": 1, "cnn": 1, "transfer": 3}
CLASSES = 10
BATCHES = (1, 16)


def compare(name: str, options: Options) -> Facts:
    """Exports a model both ways, on the backend of this process, and measures both files."""
    from kerasdl import data
    from kerasdl.backend import start
    from kerasdl.export import export_model

    start()
    digits = data.load(f"digits?size={SIDE[name]}&channels={CHANNELS[name]}&rows={options.rows}")
    model = trained(name, digits.train.x, digits.train.y)
    rows = np.asarray(digits.train.x[:64], "float32")
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "kerasdl.onnx", Path(folder) / "torch.onnx"
        written = export_model(model, ours, rows=rows)
        nodes = export_by_hand(name, model, theirs)
        difference = largest_difference(ours, theirs, rows)
        if difference > 1e-4:
            raise SystemExit(f"{name}: the files differ by {difference}, so that no times can be compared")
        return {"nodes": written.nodes, "torch": nodes, "difference": difference, **times(ours, theirs, options)}


def trained(name: str, x: np.ndarray, y: np.ndarray) -> "keras.Model":
    """Trains for an epoch, so that weights and batch statistics are no initial ones."""
    import keras

    from kerasdl import models

    keras.utils.set_random_seed(0)
    shape = (SIDE[name], SIDE[name], CHANNELS[name])
    settings: dict[str, Any] = {"mlp": {"batch_norm": True}, "cnn": {}, "transfer": {"mode": "probe"}}[name]
    model = getattr(models, name)(shape, CLASSES, **settings)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, batch_size=64, epochs=1, verbose=0)
    return model


def export_by_hand(name: str, model: "keras.Model", path: Path) -> int:
    """Writes the PyTorch module as ONNX, channels first, and returns its number of nodes."""
    import onnx
    import onnxslim
    import torch

    from tests.benchmarks import handwritten

    side, channels = SIDE[name], CHANNELS[name]
    module = {
        "mlp": lambda: handwritten.mlp(side * side * channels, 64, CLASSES),
        "cnn": lambda: handwritten.cnn(channels, side, CLASSES),
        "transfer": lambda: handwritten.Transfer(CLASSES),
    }[name]()
    handwritten.take_weights(module, model)
    example = torch.zeros(2, channels, side, side)
    batch = torch.export.Dim("batch", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (example,), dynamo=True, opset_version=18, dynamic_shapes=({0: batch},), verbose=False
        )
    slim = onnxslim.slim(program.model_proto)
    onnx.save(slim, path)
    return len(slim.graph.node)


def largest_difference(ours: Path, theirs: Path, rows: np.ndarray) -> float:
    """Calls both files with the same images."""
    from kerasdl.export import create_session

    answers = []
    for path, batch in ((ours, rows), (theirs, np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))):
        session = create_session(path)
        answers.append(session.run(None, {session.get_inputs()[0].name: batch})[0])
    return float(np.abs(answers[0] - answers[1]).max())


def times(ours: Path, theirs: Path, options: Options) -> Facts:
    """Calls both files in turns on one thread, and returns the ratio of their medians with its interval."""
    from kerasdl.export.benchmark import Settings, benchmark
    from kerasdl.export.benchmark.statistics import paired_ratio

    settings = Settings(batch_sizes=BATCHES, seconds=options.seconds, rounds=options.rounds, server=False, threads=(1,))
    found = {row.file: row for row in benchmark([ours, theirs], settings=settings).rows}
    facts: dict[str, float] = {}
    for size in BATCHES:
        one, other = (found[path.name].cells[size] for path in (ours, theirs))
        ratio = paired_ratio(one.medians, other.medians)
        facts |= {f"ms_{size}": one.median * 1e3, f"ratio_{size}": ratio.value}
        facts |= {f"low_{size}": ratio.low, f"high_{size}": ratio.high}
    return facts


def table(medians: Mapping[Case, Facts], options: Options) -> str:
    """Returns the section."""
    import onnxruntime

    head = ["model", "backend", "nodes, kerasdl", "nodes, by hand", *(f"ms, {_rows(size)}" for size in BATCHES)]
    head += [f"kerasdl / by hand, {_rows(size)}" for size in BATCHES]
    lines = []
    for (name, backend), facts in medians.items():
        ratios = [f"{facts[f'ratio_{n}']:.3f} [{facts[f'low_{n}']:.3f}, {facts[f'high_{n}']:.3f}]" for n in BATCHES]
        counts = [f"{facts['nodes']:.0f}", f"{facts['torch']:.0f}"]
        lines.append([name, backend, *counts, *(f"{facts[f'ms_{n}']:.4f}" for n in BATCHES), *ratios])
    difference = max(facts["difference"] for facts in medians.values())
    return (
        "The file that kerasdl writes of a Keras model, against the same model and weights written by hand in PyTorch "
        f"(channels first, exported by `torch.onnx`, slimmed by `onnxslim`): `mlp` 784-64-64-10 with batch "
        f"normalization, `cnn` on 28 x 28, `transfer` on 96 x 96 x 3, trained for one epoch. Outputs are alike within "
        f"{difference:.0e}. Median latency of onnxruntime {onnxruntime.__version__} on the CPU, one thread, "
        f"each file in a process of its own, in {options.rounds} turns of {options.seconds / options.rounds:g} "
        f"s; the ratio of a turn's medians, its median over turns and 95 % interval; medians of {options.times}.\n"
        f"`python -m tests.benchmarks.latency` measures them again.\n\n{markdown(head, lines)}"
    )


def _rows(size: int) -> str:
    return "1 row" if size == 1 else f"{size} rows"


def declare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=128, help="rows to train with")
    parser.add_argument("--seconds", type=float, default=1.5, help="seconds of each file at each batch size")
    parser.add_argument("--rounds", type=int, default=30, help="turns into which they are divided")


BENCHMARK = Benchmark(
    module="tests.benchmarks.latency",
    title="Exported files",
    description="Exported files against those of the same model written by hand in PyTorch.",
    peers={name: partial(compare, name) for name in SIDE},
    table=table,
    declare=declare,
)

if __name__ == "__main__":
    run(BENCHMARK)
