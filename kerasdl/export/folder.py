"""Writes a folder of exports: one file per target, and `report.json` with what was found about each."""

import importlib.metadata
import json
import platform
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import kerasdl
from kerasdl.errors import UserError
from kerasdl.export.result import Export
from kerasdl.export.subject import Subject
from kerasdl.export.target import Target

REPORT_NAME = "report.json"
BUNDLED = "model.onnx"

# Whose versions decide what the files hold and what they were compared with.
PACKAGES = (
    *("numpy", "keras", "torch", "tensorflow", "jax", "onnx", "onnxslim", "onnxscript", "tf2onnx", "openvino"),
    *("onnxruntime", "onnxruntime-gpu", "ai-edge-litert"),
)


@dataclass(frozen=True)
class Folder:
    """A folder of exports.

    Attributes:
        path: Where it is.
        exports: What was written, in the order of the targets.
        refused: Why each of the other targets was not, by its name.
    """

    path: Path
    exports: tuple[Export, ...]
    refused: dict[str, str]


def check_folder(path: Path, force: bool) -> None:
    """Checks that a folder of exports may be written, before anything is done.

    Args:
        path: The folder.
        force: Whether an earlier folder of exports may be replaced.

    Raises:
        UserError: Something else is there, or an earlier one that may not be replaced.
    """
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.absolute().parent}; make it first")
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise UserError(f"{path}: a file; the exports are a folder: give another --out")
    if not (path / REPORT_NAME).is_file():
        raise UserError(f"{path}: holds something else than exports (no {REPORT_NAME}); give another --out")
    if not force:
        raise UserError(f"{path}: already there; give --force to replace it, or another --out")


def write_folder(
    subject: Subject,
    targets: Sequence[Target],
    path: str | Path,
    *,
    force: bool = False,
    told: Callable[[Target], None] = lambda target: None,
) -> Folder:
    """Exports a model to every target. The folder appears whole, once all are done.

    A target that is refused, because its outputs differ or its conversion fails, leaves the others alone; where none is
    left, there is no folder.

    Args:
        subject: The model and what is known about it.
        targets: The targets, each with a file of its own.
        path: The folder.
        force: Whether an earlier folder of exports may be replaced.
        told: Is told each target before its turn.

    Returns:
        What was written.

    Raises:
        UserError: The folder may not be written, or every target was refused.
    """
    path = Path(path)
    check_folder(path, force)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        exports: list[Export] = []
        refused: dict[str, str] = {}
        for target in targets:
            told(target)
            try:
                exports.append(subject.export(temporary / target.file_name, target))
            except UserError as error:
                refused[target.name] = " ".join(str(error).split()).replace(f"{temporary}", f"{path}")
        if not exports:
            raise UserError("; ".join(f"{name}: {message}" for name, message in refused.items()))
        _write_report(temporary, exports, refused)
        deploy(temporary)
        _take_place(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Folder(path, tuple(replace(each, path=path / each.path.name) for each in exports), refused)


def _write_report(folder: Path, exports: Sequence[Export], refused: dict[str, str]) -> None:
    report = {
        "exports": [{**each.as_dict(), "path": each.path.name} for each in exports],
        "refused": [{"target": name, "message": message} for name, message in refused.items()],
        "versions": versions(),
    }
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / REPORT_NAME).write_text(text, encoding="utf-8")


def versions() -> dict[str, str]:
    """Returns the versions of what takes part in an export, as far as installed."""
    import keras

    found: dict[str, Any] = {"kerasdl": kerasdl.__version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "backend": keras.backend.backend(), "platform": platform.platform()}


def deploy(folder: Path) -> None:
    """Adds what makes the ONNX file ready to deploy, or writes it again; nothing where there is no such file."""
    from kerasdl.export.bundle import write_bundle

    if (folder / BUNDLED).is_file():
        write_bundle(folder)


def _take_place(temporary: Path, path: Path) -> None:
    """Puts the new folder where the old one is, and deletes that only then."""
    if not path.exists():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    path.replace(old)
    try:
        temporary.replace(path)
    except BaseException:
        old.replace(path)
        raise
    shutil.rmtree(old)
