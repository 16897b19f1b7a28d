"""Opens ONNX files with onnxruntime, asking only for execution providers that can work here.

onnxruntime lists what it was built for, not what runs: a GPU build on a machine without CUDA prints long errors when it
is asked for CUDA, and then computes on the CPU. So the shared libraries and a device are looked for first.
"""

import ctypes
import functools
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError, nearest
from kerasdl.safety import check_onnx

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# Fatal errors only: what matters is checked and raised here.
SILENT = 4


def create_session(
    path: str | Path,
    providers: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    provider_options: Mapping[str, Mapping[str, str]] | None = None,
) -> Any:
    """Opens an ONNX file.

    Args:
        path: The file.
        providers: Execution providers in the order of preference; by default CUDA where it works, then the CPU.
            TensorRT is taken only where it is named, as it builds an engine for minutes.
        threads: How many threads compute one operator on the CPU; by default one for each core.
        provider_options: More options of providers by name, such as `{CUDA: {"enable_cuda_graph": "1"}}`.

    Returns:
        The `onnxruntime.InferenceSession`; its `get_providers()` holds only what was asked for.

    Raises:
        UserError: The file reaches out of its folder or claims more than it holds, or a provider is not known, cannot
            work here, or was dropped by onnxruntime.
    """
    import onnxruntime

    check_onnx(path)
    available = onnxruntime.get_available_providers()
    if providers is None:
        wanted = [name for name in (CUDA, CPU) if name in available and missing(name) is None]
    else:
        wanted = list(providers)
        for name in wanted:
            _check(name, available)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = SILENT
    if threads is not None:
        options.intra_op_num_threads = threads
    # For `placement`.
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    onnxruntime.set_default_logger_severity(SILENT)
    # TensorFloat-32 keeps 10 bits of each factor: enough for speed, too few to compare outputs with Keras'.
    given = provider_options or {}
    exact = [(name, {**({"use_tf32": "0"} if name == CUDA else {}), **given.get(name, {})}) for name in wanted]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=exact, enable_fallback=0)
    except Exception:  # every status of onnxruntime has a class of its own
        if providers is not None or wanted == [CPU]:
            raise
        # A device that is there but cannot be used (full, or too old); the caller reads get_providers().
        session = onnxruntime.InferenceSession(str(path), options, providers=[CPU], enable_fallback=0)
    used = session.get_providers()
    dropped = [name for name in wanted if name not in used]
    if providers is not None and dropped:
        raise UserError(f"onnxruntime did not start {', '.join(dropped)}; it used {', '.join(used)}")
    return session


def placement(session: Any) -> dict[str, int]:
    """Counts the nodes that each execution provider of a session really computes.

    A session with CUDA in `get_providers()` may leave nodes, or all of them, to the CPU.

    Args:
        session: From `create_session`.

    Returns:
        The number of nodes of the optimized graph by provider; empty where this onnxruntime cannot tell (before 1.24).
    """
    ask = getattr(session, "get_provider_graph_assignment_info", None)
    counts: dict[str, int] = {}
    for part in ask() if ask else ():
        counts[part.ep_name] = counts.get(part.ep_name, 0) + len(part.get_nodes())
    return counts


def usable_providers() -> list[str]:
    """Returns the execution providers that onnxruntime was built with and that can work here."""
    import onnxruntime

    return [name for name in onnxruntime.get_available_providers() if missing(name) is None]


def _check(name: str, available: Sequence[str]) -> None:
    if name not in available:
        raise UserError(f"{name!r} is not a provider of the installed onnxruntime; {nearest(name, available)}")
    lacking = missing(name)
    if lacking is not None:
        raise UserError(f"{name} cannot work here: {lacking}; choose from {', '.join(usable_providers())}")


@functools.cache
def missing(provider: str) -> str | None:
    """Says what a provider lacks on this machine.

    Args:
        provider: The name of an execution provider that onnxruntime was built with.

    Returns:
        `None` where nothing is lacking, else `"libcudnn.so.9 does not load"` or `"no CUDA device"`.
    """
    if provider not in {CUDA, TENSORRT}:
        return None
    needed, rarely = _libraries(provider)
    for name in needed:
        if not _loads(name):
            return f"{name} does not load"
    for name in rarely:
        _loads(name)
    return None if has_cuda_device() else "no CUDA device"


def _libraries(provider: str) -> tuple[list[str], list[str]]:
    """Names the shared libraries that a provider of the installed onnxruntime needs, and those of few operators."""
    from onnxruntime.capi import build_and_package_info

    cuda = str(getattr(build_and_package_info, "cuda_version", "") or "12").split(".")[0]
    fourier = "12" if int(cuda) >= 13 else "11"
    if sys.platform == "win32":
        needed = [f"cudart64_{cuda}.dll", f"cublasLt64_{cuda}.dll", f"cublas64_{cuda}.dll", "cudnn64_9.dll"]
        tensorrt, rarely = ["nvinfer_10.dll", "nvonnxparser_10.dll"], [f"cufft64_{fourier}.dll"]
    else:
        needed = [f"libcudart.so.{cuda}", f"libcublasLt.so.{cuda}", f"libcublas.so.{cuda}"]
        needed += ["libcurand.so.10", "libcudnn.so.9"]
        tensorrt, rarely = ["libnvinfer.so.10", "libnvonnxparser.so.10"], [f"libcufft.so.{fourier}"]
    return needed + (tensorrt if provider == TENSORRT else []), rarely


@functools.cache
def _loads(name: str) -> bool:
    """Loads a shared library: from where the system looks, else from NVIDIA's installed wheels.

    It stays loaded, which is how onnxruntime then finds those of the wheels.
    """
    wheels = importlib.util.find_spec("nvidia")
    folders = (wheels.submodule_search_locations or []) if wheels else []
    for candidate in (name, *(str(file) for folder in folders for file in sorted(Path(folder).glob(f"**/{name}")))):
        try:
            ctypes.CDLL(candidate, mode=getattr(ctypes, "RTLD_GLOBAL", 0))
        except OSError:
            continue
        return True
    return False


@functools.cache
def has_cuda_device() -> bool:
    """Asks the CUDA driver whether there is a device."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
