"""The row to pick, and when two rows are one."""

from pathlib import Path

import numpy as np
import pytest

from kerasdl.export.benchmark.candidates import Candidate
from kerasdl.export.benchmark.choose import choose
from kerasdl.export.benchmark.result import Cell, Row
from kerasdl.export.benchmark.rows import Agreement
from kerasdl.export.benchmark.settings import Settings
from kerasdl.export.benchmark.sources import Source
from kerasdl.export.benchmark.statistics import mean_interval, percentile
from kerasdl.export.session import CPU

pytestmark = pytest.mark.backend_free


def row(name, milliseconds, size=1000, agreement=None, noise=0.0, drift=None):
    """A row whose calls take these times by batch size."""
    source = Source(Path(name), "onnxruntime", "float32", size, True)
    made = Row(name, Candidate(source, CPU), CPU, "float32", 0.1, 0.1, {"versions": {}}, agreement=agreement)
    generator = np.random.default_rng(len(name))
    level = np.ones(20) if drift is None else drift
    for batch, time in milliseconds.items():
        rounds = [time * each * np.exp(noise * generator.standard_normal(10)) / 1e3 for each in level]
        rates = [batch / each.mean() for each in rounds]
        medians = tuple(float(np.median(each)) for each in rounds)
        cell = Cell(batch, 0.1, True, (percentile(rounds, 50),), mean_interval(rates), medians, tuple(rates))
        made.cells[batch] = cell
    return made


def picks(*rows):
    return {pick.purpose: pick for pick in choose(rows, Settings())}


def test_each_purpose_has_its_row():
    found = picks(
        row("quick", {1: 1.0, 64: 64.0}, size=3000, noise=0.05),
        row("wide", {1: 2.0, 64: 4.0}, size=2000, noise=0.05),
        row("small", {1: 9.0, 64: 90.0}, size=1000, noise=0.05),
    )
    assert {purpose: pick.row.partition(",")[0] for purpose, pick in found.items()} == {
        "latency": "quick",
        "throughput": "wide",
        "size": "small",
    }
    assert found["throughput"].at == "64 rows at once"
    assert found["throughput"].value == pytest.approx(16_000, rel=0.05)
    assert all(not pick.alike for pick in found.values())


def test_a_difference_within_the_noise_is_said_to_be_none():
    found = picks(row("one", {1: 1.0}, noise=0.3), row("other", {1: 1.03}, noise=0.3), row("slow", {1: 2.0}, noise=0.3))
    assert len(found["latency"].alike) == 1
    assert not any("slow" in label for label in found["latency"].alike)


def test_a_drift_that_rows_share_does_not_hide_a_difference():
    drift = np.exp(np.random.default_rng(0).normal(0, 0.5, 20))
    found = picks(row("one", {1: 1.0}, noise=0.05, drift=drift), row("other", {1: 1.2}, noise=0.05, drift=drift))
    assert found["latency"].row.startswith("one")
    assert not found["latency"].alike


def test_less_than_a_processs_layout_is_no_difference():
    found = picks(row("one", {1: 1.0}), row("other", {1: 1.01}), row("third", {1: 1.05}))
    assert [label.partition(",")[0] for label in found["latency"].alike] == ["other"]


@pytest.mark.parametrize(("share", "winner"), [(0.5, "right"), (0.975, "wrong")])
def test_a_fast_wrong_model_is_no_winner(share, winner):
    agreement = Agreement("right", 256, share, 1.0, 0.5)
    found = picks(row("right", {1: 2.0}, size=9), row("wrong", {1: 1.0}, size=5, agreement=agreement))
    assert {pick.row.partition(",")[0] for pick in found.values()} == {winner}
    assert bool(found["latency"].left_out) == (winner == "right")


def test_nothing_measured_is_nothing_chosen():
    assert choose([], Settings()) == []
    assert choose([row("empty", {})], Settings()) == []
