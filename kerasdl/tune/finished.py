"""Tells a run that has nothing left to do, before a backend is started or data are read."""

import tomllib
from pathlib import Path

from kerasdl.runs import Run
from kerasdl.runs.database import FILE_NAME
from kerasdl.runs.summary import FILE_NAME as SUMMARY_NAME
from kerasdl.runs.writer import STUDY_NAME
from kerasdl.tune.study import Study


def finished_run(study: Study, directory: Path, backend: str, *, export: bool) -> Run | None:
    """Returns the run in a directory if it is this study's, on this backend, and complete.

    The data are not compared: nothing would be learned from them.

    Args:
        study: The study.
        directory: The run's directory.
        backend: The backend that was chosen.
        export: Whether a complete run has an exported winner.
    """
    frozen = directory / STUDY_NAME
    if not all((directory / name).is_file() for name in (STUDY_NAME, FILE_NAME, SUMMARY_NAME, "report.html")):
        return None
    try:
        content = tomllib.loads(frozen.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError:
        return None
    identity = content.get("identity", {})
    now = tomllib.loads(study.frozen({"backend": backend, "data": identity.get("data", "")}))
    if now != content:
        return None
    run = Run.open(directory)
    exported = bool(run.exported) and (directory / run.exported["path"]).is_file()
    if run.finished and (exported or not export or run.best is None):
        return run
    run.close()
    return None
