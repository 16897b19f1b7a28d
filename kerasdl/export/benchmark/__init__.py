"""Measures exported models side by side: latency, throughput, memory, load, and what their outputs are worth."""

from kerasdl.export.benchmark.measure import benchmark
from kerasdl.export.benchmark.result import Benchmark
from kerasdl.export.benchmark.settings import Settings

__all__ = ["Benchmark", "Settings", "benchmark"]
