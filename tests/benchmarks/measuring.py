"""Runs the peers of a benchmark in processes of their own, and keeps its results as a section of `RESULTS.md`."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kerasdl import __version__
from kerasdl.export.benchmark.machine import processor

RESULTS = Path(__file__).with_name("RESULTS.md")
BACKENDS = ["jax", "tensorflow", "torch"]
PACKAGES = ("keras", "keras-tuner", "torch", "tensorflow", "jax")
HEADING = "# Benchmarks"
INTRODUCTION = (
    "Each section is written by the command that it names, with peers that run in turn, each in a process of its own. "
    "Nothing here is tested: times are the machine's, ratios travel better."
)

# Turns of `in_turns` that are left out: the first compiles.
FIRST = 2

Options = argparse.Namespace
Case = tuple[str, str]
Facts = Mapping[str, float]


@dataclass(frozen=True)
class Benchmark:
    """What is compared.

    Attributes:
        module: The module that `python -m` runs.
        title: The section's heading.
        description: What it measures, for `--help`.
        peers: What a peer measures, in its own process: numbers by name.
        table: The section's Markdown without its heading, from the medians of each peer on each backend.
        declare: Adds options of its own.
        cases: The peers with the backends that they run on; every one on every backend where absent.
    """

    module: str
    title: str
    description: str
    peers: Mapping[str, Callable[[Options], Facts]]
    table: Callable[[Mapping[Case, Facts], Options], str]
    declare: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    cases: Callable[[Options], Sequence[Case]] | None = None


def run(benchmark: Benchmark) -> None:
    """Measures all peers in turn, several times, prints medians and ratios, and writes them into the section."""
    options = _options(benchmark)
    if options.peer:
        print(json.dumps(_answer(benchmark.peers[options.peer], options)))
        return
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    every = [(peer, backend) for backend in options.backends for peer in benchmark.peers]
    cases = benchmark.cases(options) if benchmark.cases else every
    answers: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    for turn in range(options.times):
        for case in cases:
            answers[case].append(_in_own_process(benchmark.module, *case))
            print(f"turn {turn + 1}: {case[0]} on {case[1]}: {_words(answers[case][-1]['facts'])}", flush=True)
    medians = {case: _medians([one["facts"] for one in own]) for case, own in answers.items()}
    devices = sorted({one["device"] for own in answers.values() for one in own})
    text = f"{benchmark.table(medians, options)}\n\n{_machine(devices, load)}"
    print(f"\n{text}")
    on_cpu = all(device.startswith("cpu") for device in devices)
    write_section(options.results, benchmark.title if on_cpu else f"{benchmark.title}, on a GPU", text)


def _options(benchmark: Benchmark) -> Options:
    parser = argparse.ArgumentParser(prog=f"python -m {benchmark.module}", description=benchmark.description)
    parser.add_argument("--peer", choices=benchmark.peers, help="measure this one, in this process, and print numbers")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=BACKENDS)
    parser.add_argument("--times", type=int, default=3, help="how often each peer runs; medians are shown")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file whose section is written")
    benchmark.declare(parser)
    return parser.parse_args()


def _answer(peer: Callable[[Options], Facts], options: Options) -> dict[str, Any]:
    facts = dict(peer(options))
    from kerasdl.train.backends import current_backend

    return {"facts": facts, "device": current_backend().device()}


def _in_own_process(module: str, peer: str, backend: str) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *sys.argv[1:], "--peer", peer]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"{peer} on {backend} failed:\n{ended.stderr[-4000:]}")
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


def _medians(facts: Sequence[Facts]) -> Facts:
    return {name: statistics.median(one[name] for one in facts) for name in facts[0]}


def _words(facts: Facts) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in facts.items())


def in_turns(sides: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, list[Any]]:
    """Measures sides in turns in one process, because a machine's speed drifts: neighbours can be compared.

    Args:
        sides: What measures each side once, by name.
        turns: How many turns there are; which side comes first changes from one to the next.

    Returns:
        What each side gave, the first turns left out.
    """
    found: dict[str, list[Any]] = {name: [] for name in sides}
    for number in range(turns):
        for name in sorted(sides, reverse=bool(number % 2)):
            found[name].append(sides[name]())
    return {name: own[FIRST:] for name, own in found.items()}


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _machine(devices: Sequence[str], load: float | None) -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES if find_spec(name.replace("-", "_")))
    busy = "" if load is None else f", load {load:.1f} at the start"
    return (
        f"{platform.system()} {platform.machine()}, {processor()}, {os.cpu_count()} cores{busy}; devices: "
        f"{', '.join(devices)}; Python {platform.python_version()}, kerasdl {__version__}, {versions}."
    )


def write_section(path: Path, title: str, text: str) -> None:
    """Writes one section, leaving the others as they are.

    Args:
        path: The file; made where it is missing.
        title: The section's heading.
        text: What is below it.
    """
    content = path.read_text(encoding="utf-8") if path.is_file() else f"{HEADING}\n\n{INTRODUCTION}\n"
    start, *sections = content.split("\n## ")
    found = {section.partition("\n")[0]: section.partition("\n")[2].strip() for section in sections}
    found[title] = text.strip()
    parts = [start.strip(), *(f"## {name}\n\n{body}" for name, body in found.items())]
    path.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
