"""Keeps compiled programs on disk, so that the same study compiles them once."""

import hashlib
import os
import platform
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from packaging.version import Version

from kerasdl.backend import installed
from kerasdl.caches import cache_folder

# JAX 0.4.38 spoils its memory where it reads a processor's program; from this version on it was seen to read them.
FIRST_TO_READ = Version("0.6.2")

# Bytes; the programs that were used longest ago go first. A pack's are a tenth of a megabyte.
MOST_BYTES = 256 * 2**20


def keep_programs() -> None:
    """Lets JAX keep what it compiles in this process, and in those that it starts.

    Programs are made for one kind of processor, and kept apart by it: a folder may be shared by machines. Where JAX is
    imported already or before 0.6.2, a person has chosen a folder (`JAX_COMPILATION_CACHE_DIR`), or nothing can be
    written, nothing is changed; `JAX_ENABLE_COMPILATION_CACHE=0` keeps nothing. TensorFlow names its programs anew in
    each process, and PyTorch's recordings take no longer to make than to read: those are not kept.
    """
    if "jax" not in installed() or "jax" in sys.modules or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    if Version(version("jax")) < FIRST_TO_READ:
        return
    folder = cache_folder("programs") / _processor()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    # A full disk, for instance: the program is there all the same.
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache entry")


def _processor() -> str:
    """Returns letters that stand for what this machine's processor can do."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    told = {line for line in lines if line.startswith(("model name", "flags", "Features"))}
    text = "\n".join(sorted(told)) or platform.processor()
    return hashlib.sha256(f"{platform.machine()}\n{text}".encode()).hexdigest()[:16]
