"""Checks ZIP archives before anything in them is unpacked: names, links, sizes."""

import stat
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

from kerasdl.errors import UserError

# More files than any model has.
MOST_MEMBERS = 10_000

# DEFLATE packs nothing but repetition more than 100 to 1; below the floor nothing can be harmed.
LARGEST_RATIO = 100
HARMLESS = 2**24


def check_archive(path: Path) -> list[zipfile.ZipInfo]:
    """Checks the table of contents of a ZIP archive; nothing is unpacked.

    Args:
        path: The archive.

    Returns:
        Its members.

    Raises:
        UserError: It is no archive, or a member would leave the folder that it is unpacked into, is a link, comes
            twice, or grows far beyond what is stored of it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: not a readable archive ({error}); get the file again from where it came") from error
    if len(members) > MOST_MEMBERS:
        raise UserError(f"{path}: refused, as it holds {len(members):,} files; a model has at most {MOST_MEMBERS:,}")
    seen: set[str] = set()
    for member in members:
        fault = _fault(member) or ("comes twice" if member.filename in seen else None)
        if fault is not None:
            raise UserError(f"{path}: refused, as {member.filename[:200]!r} inside it {fault}")
        seen.add(member.filename)
    # Members that lie over one another cost their maker nothing and the reader each its full size.
    if sum(member.compress_size for member in members) > path.stat().st_size:
        raise UserError(f"{path}: refused, as its members lie over one another")
    return members


def _fault(member: zipfile.ZipInfo) -> str | None:
    if leaves_folder(member.filename):
        return "would be unpacked outside of its folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a symbolic link"
    if member.flag_bits & 1:
        return "is encrypted"
    if member.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return "is packed by a method that models do not use"
    if member.file_size > max(HARMLESS, LARGEST_RATIO * member.compress_size):
        return f"grows from {member.compress_size:,} to {member.file_size:,} bytes when it is unpacked"
    return None


def leaves_folder(name: str) -> bool:
    """Tells whether a path may lead out of its folder, on any system: absolute, with `..`, a drive or a backslash."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return (
        not name
        or "\0" in name
        or "\\" in name
        or ".." in posix.parts
        or posix.is_absolute()
        or bool(windows.drive or windows.root)
    )
