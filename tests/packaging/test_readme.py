"""Runs what the README shows, block by block, in one folder, as a reader would."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_iris

from kerasdl import backend

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

# One backend is enough here, and the quickest to start is taken.
QUICKEST = next((name for name in ("jax", "tensorflow", "torch") if name in backend.installed()), None)


@dataclass(frozen=True)
class Block:
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block is the content of, by its first line."""
        match = re.match(r"# (\S+\.(?:py|toml))\n", self.text)
        return match[1] if match else None

    @property
    def sets_up(self) -> bool:
        return "-m venv" in self.text


def blocks() -> list[Block]:
    return [Block(*match) for match in re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An empty folder with the reader's own table and pictures and, as in an activated environment, a `python`."""
    folder = tmp_path_factory.mktemp("reader")
    iris = load_iris(as_frame=True)
    table = iris.data.set_axis(["sepal_length", "sepal_width", "petal_length", "petal_width"], axis=1)
    table.assign(species=[iris.target_names[number] for number in iris.target]).to_csv(
        folder / "flowers.csv", index=False
    )
    pixels, labels = load_digits(return_X_y=True)
    for number in range(150):
        place = folder / "pictures" / f"digit {labels[number]}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels[number] * 15).astype("uint8").reshape(8, 8)).save(place)
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return folder


def environment(folder: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    return {**inherited, "PATH": path, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": QUICKEST or "none"}


def run(block: Block, folder: Path) -> str:
    command = [sys.executable, "-c", block.text] if block.language == "python" else ["bash", "-ec", block.text]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
    assert all(line.startswith("note: ") for line in done.stderr.splitlines()), done.stderr
    return done.stdout


def walk() -> Iterator[Block]:
    for block in blocks():
        if not block.sets_up:
            yield block


@pytest.mark.slow
@pytest.mark.skipif(QUICKEST is None, reason="no backend is installed")
@pytest.mark.parametrize("block", list(walk()), ids=lambda block: block.file or block.text.strip().splitlines()[0][:60])
def test_each_block_of_the_readme_runs_after_those_before_it(folder, block):
    if block.file is not None:
        (folder / block.file).write_text(block.text, encoding="utf-8")
        return
    assert block.language in ("bash", "python")
    assert run(block, folder).strip()


def test_the_two_commands_stand_first_and_are_one_line_each():
    first, second = [block.text for block in blocks() if block.sets_up]
    assert first.count("\n") == second.count("\n") == 1
    assert first.rstrip().endswith("python -m kerasdl.tune mlp")
    assert second.rstrip().endswith("python -m pytest")
    assert all(block.sets_up for block in blocks()[:2])


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_what_the_readme_links_to_is_there(target):
    assert (ROOT / target).exists()


def test_the_picture_is_small():
    assert (ROOT / "docs" / "report.png").stat().st_size < 250_000
