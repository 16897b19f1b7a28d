"""Opens a model and runs it on arrays, whatever their number of rows."""

import contextlib
import ctypes
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from inference.errors import BundleError, InputError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

DEVICES = ("auto", "cpu", "cuda")

# Fatal errors only: what matters is checked and raised here.
SILENT = 4


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: Its name in the file.
        dtype: The NumPy type of its values.
        shape: The sizes of its dimensions, rows first; `None` where any size will do.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]

    @property
    def row(self) -> tuple[int | None, ...]:
        """The shape of one row."""
        return self.shape[1:]


class Model:
    """A model and what is known about it.

    Args:
        folder: Holds `model.onnx` and `model.json`.
        device: `"cpu"`; `"cuda"`, which fails where CUDA cannot be used; or `"auto"`, CUDA where there is a device.
        threads: Processor threads for one call; 0 leaves it to onnxruntime.

    Raises:
        BundleError: A file is missing, is not the one that `model.json` describes, or CUDA cannot be used.
    """

    def __init__(self, folder: Path, device: str = "auto", threads: int = 0) -> None:
        self.facts = read_facts(folder)
        self.session = _open(_checked(folder, self.facts), device, threads)
        self.inputs = tuple(
            Input(each["name"], np.dtype(each["dtype"]), tuple(each["shape"])) for each in self.facts["inputs"]
        )
        self.classes: tuple[str, ...] = tuple(self.facts["classes"])
        self.features: tuple[str, ...] = tuple(each["name"] for each in self.facts["features"])
        self.image: dict[str, Any] | None = self.facts["preprocessing"]["image"]

    @property
    def providers(self) -> list[str]:
        """The execution providers that onnxruntime really uses."""
        return list(self.session.get_providers())

    def run(self, arrays: Mapping[str, np.ndarray], batch: int = 256) -> list[np.ndarray]:
        """Runs the model, so many rows at a time.

        Args:
            arrays: One array for each input, `(rows, ...)`, all with the same number of rows.
            batch: How many rows at most go through at once; a file that takes one row at a time gets one.

        Returns:
            One array for each output, `(rows, ...)`.

        Raises:
            InputError: The model refuses the values, such as an index past the end of a table.
        """
        rows = len(next(iter(arrays.values())))
        step = self.inputs[0].shape[0] or batch
        parts = []
        for start in range(0, rows, step):
            part = {name: array[start : start + step] for name, array in arrays.items()}
            try:
                parts.append(self.session.run(None, part))
            except onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument as error:
                line = str(error).strip().splitlines()[0]
                raise InputError("refused_by_model", f"the model does not take these values ({line})") from None
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def read_facts(folder: Path) -> dict[str, Any]:
    """Reads `model.json`.

    Raises:
        BundleError: It is not there, or is no such file.
    """
    path = folder / "model.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        known = {"inputs", "outputs", "classes", "features", "preprocessing", "model"} <= set(facts)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; it lies beside model.onnx") from None
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read ({error})") from None
    if not known:
        raise BundleError(f"{path}: describes no model; export the model again")
    return facts


def _checked(folder: Path, facts: Mapping[str, Any]) -> Path:
    path = folder / facts["model"]["file"]
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from None
    if digest != facts["model"]["sha256"]:
        raise BundleError(f"{path}: not the file that model.json describes (its SHA-256 differs); export both again")
    return path


def _open(path: Path, device: str, threads: int) -> Any:
    available = CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not available:
        raise BundleError("this onnxruntime has no CUDA; pip install onnxruntime-gpu, or choose the device cpu")
    with_cuda = available and (device == "cuda" or (device == "auto" and _has_device()))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    onnxruntime.set_default_logger_severity(SILENT)
    if with_cuda and hasattr(onnxruntime, "preload_dlls"):
        # It prints what it does not find, and standard output is for answers.
        with contextlib.redirect_stdout(sys.stderr):
            onnxruntime.preload_dlls()
    # TensorFloat-32 keeps 10 bits of each factor, fewer than the file was compared with.
    wanted = [(CUDA, {"use_tf32": "0"}), CPU] if with_cuda else [CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted, enable_fallback=0)
    except Exception as error:  # noqa: BLE001 - every status of onnxruntime has a class of its own
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BundleError(f"{path}: onnxruntime cannot open it ({line})") from None
    if device == "cuda" and CUDA not in session.get_providers():
        raise BundleError("CUDA cannot be used here: a library or a device is missing; or choose the device cpu")
    return session


def _has_device() -> bool:
    """Asks the CUDA driver for its number of devices."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int(0)
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
