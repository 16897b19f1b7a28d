"""Benchmarks: they print ratios against real peers measured in the same run, and never fail by time."""
