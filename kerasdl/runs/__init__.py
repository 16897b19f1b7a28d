"""What happened: the run directory and its SQLite file."""

from kerasdl.runs.best import Best
from kerasdl.runs.run import Run
from kerasdl.runs.writer import RunWriter, TrialResult

__all__ = ["Best", "Run", "RunWriter", "TrialResult"]
