"""Writes a bundle round an exported model."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.export.bundle.card import model_card
from kerasdl.export.bundle.describe import describe
from kerasdl.export.bundle.reading import MODEL, read_exported
from kerasdl.export.bundle.triton import triton_files
from kerasdl.recipes import folder as recipes
from kerasdl.runs.writer import write_atomically

FACTS = "model.json"


def write_bundle(folder: Path, *, force: bool = False) -> None:
    """Adds to a folder with `model.onnx` what it takes to use it without Keras.

    `model.json`, `predict.py`, `serve.py` and what they share, a Dockerfile, `MODEL_CARD.md`, a repository for Triton
    in `triton/`, and a page that runs the model in a browser in `web/`. Everything is known from the metadata of
    `model.onnx`, from `report.json` and from `benchmark.json`, which may be missing.

    Args:
        folder: The folder. Files that an earlier bundle wrote there are replaced.
        force: Whether those are replaced, too, that were changed since, or that no bundle wrote.

    Raises:
        UserError: There is no model, or a file would be lost; nothing was written.
    """
    folder = Path(folder)
    exported = read_exported(folder)
    facts = describe(exported)
    files = _files(facts, exported.content)
    earlier = _earlier(folder)
    if not force:
        _refuse_changed(folder, files, earlier)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_bytes() != content:
            write_atomically(path, content)
    _remove_left_over(folder, files, earlier)
    digests = {name: _digest(content) for name, content in sorted(files.items())}
    # Last, as it vouches for the others.
    write_atomically(folder / FACTS, _json({**facts, "files": digests}))


def _files(facts: Mapping[str, Any], content: bytes) -> dict[str, bytes]:
    """Returns all files but `model.onnx` and `model.json`, by their paths."""
    source = recipes("export") / "serve"
    files = {
        path.relative_to(source).as_posix(): path.read_bytes()
        for path in sorted(source.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files["MODEL_CARD.md"] = model_card(facts).encode()
    files |= {f"triton/{name}": each for name, each in triton_files(facts, content).items()}
    # The page is published without what lies above it.
    return files | {f"web/{MODEL}": content, f"web/{FACTS}": _json(facts)}


def _json(facts: Mapping[str, Any]) -> bytes:
    return (json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _earlier(folder: Path) -> Mapping[str, str]:
    """Returns the digests of the files that an earlier bundle wrote."""
    try:
        files = json.loads((folder / FACTS).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _refuse_changed(folder: Path, files: Mapping[str, bytes], earlier: Mapping[str, str]) -> None:
    changed = []
    for name, content in files.items():
        path = folder / name
        if path.is_file() and _digest(path.read_bytes()) not in (earlier.get(name), _digest(content)):
            changed.append(name)
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise UserError(
            f"{folder}: {', '.join(changed[:3])}{more} would be overwritten, and no export wrote them as they are; "
            "move them away, or give --force"
        )


def _remove_left_over(folder: Path, files: Mapping[str, bytes], earlier: Mapping[str, str]) -> None:
    """Removes what only the earlier bundle had, such as Triton's folder of a model of another name."""
    for name in set(earlier) - set(files):
        path = folder / name
        inside = folder.resolve() in path.resolve().parents
        if inside and path.is_file() and _digest(path.read_bytes()) == earlier[name]:
            path.unlink()
            for parent in path.relative_to(folder).parents:
                if parent != Path() and not any((folder / parent).iterdir()):
                    (folder / parent).rmdir()
