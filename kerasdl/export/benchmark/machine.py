"""What a figure was measured on."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from kerasdl import __version__
from kerasdl.cores import cores


def describe() -> dict[str, Any]:
    """Returns the machine, its load now, and the versions that every row shares."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "devices": _graphics(),
        "python": platform.python_version(),
        "kerasdl": __version__,
    }


def processor() -> str:
    """Returns the processor's name."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _graphics() -> list[str]:
    """Names the NVIDIA devices that the driver shows in `/proc`."""
    found = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found
