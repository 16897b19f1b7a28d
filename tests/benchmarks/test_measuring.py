import importlib
from pathlib import Path

import pytest

from tests.benchmarks.measuring import HEADING, RESULTS, write_section

pytestmark = pytest.mark.backend_free

NAMES = ("alone", "convolution", "latency", "matrix_rate", "memory", "packs", "sweep", "watched_packs")


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    for title, text in (("One", "first\n\n| a |\n| --- |"), ("Two", "second"), ("Three", "third")):
        write_section(path, title, text)
    before = path.read_text()
    assert before.startswith(f"{HEADING}\n\n")
    write_section(path, "Two", "second\n")
    assert path.read_text() == before
    write_section(path, "Two", "new\n")
    assert path.read_text() == before.replace("second", "new")


def test_every_benchmark_has_a_section_and_a_module_of_its_own() -> None:
    every = [importlib.import_module(f"tests.benchmarks.{name}").BENCHMARK for name in NAMES]
    assert [one.module for one in every] == [f"tests.benchmarks.{name}" for name in NAMES]
    assert len({one.title for one in every}) == len(NAMES)
    kept = [line[3:] for line in RESULTS.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert len(kept) == len(set(kept))


def test_operations_are_those_of_every_product_forth_and_back() -> None:
    from tests.benchmarks.matrix_rate import operations

    weights = 784 * 64 + 64 * 64 + 64 * 10
    # Forth, the gradients of the weights, and those of the inputs but the first layer's.
    assert operations(1, 0) == 2 * (2 * weights + weights - 784 * 64)
    assert operations(0, 1) == 2 * weights
