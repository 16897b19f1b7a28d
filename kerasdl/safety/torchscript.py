"""Loads TorchScript archives, which are programs, only where the caller says that they are trusted."""

from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.safety.archive import check_archive


def load_torchscript(path: str | Path, *, trusted: bool = False) -> Any:
    """Loads a TorchScript archive on the CPU.

    Args:
        path: The file.
        trusted: Whether its maker is trusted: an archive holds a program of its maker's, which runs when it is loaded
            and when it is called, and which may read and write files.

    Returns:
        The `torch.jit.ScriptModule`, in evaluation mode.

    Raises:
        UserError: It is not said to be trusted, is no TorchScript archive, or torch is not installed.
    """
    path = Path(path)
    if not trusted:
        raise UserError(
            f"{path}: a TorchScript archive is a program of its maker's; it is loaded only if you say trusted=True"
        )
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a TorchScript archive")
    names = [member.filename.split("/", 1)[-1] for member in check_archive(path)]
    if not any(name.startswith("code/") for name in names):
        # What torch.save writes is a pickle, which can call anything at all.
        raise UserError(f"{path}: not a TorchScript archive, as there is no code in it; pickled models are not loaded")
    try:
        import torch
    except ImportError as error:
        raise UserError(f"{path}: torch is not installed; pip install 'kerasdl[torch]'") from error
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        line = next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
        raise UserError(f"{path}: torch cannot load it ({line}); export the model again") from error
