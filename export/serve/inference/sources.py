"""Reads rows and images from files and standard input, batch by batch."""

import argparse
import csv
import difflib
import io
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from inference.errors import InputError
from inference.images import SUFFIXES, looks_like_image, read_image
from inference.model import Model
from inference.replies import parse_json
from inference.rows import array_from_rows, arrays_from_json, checked, flat_to_row

_Read = TypeVar("_Read")
Note = Callable[[str], None]

_FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together.

    Attributes:
        arrays: One array for each input, `(rows, ...)`.
        files: Where each row comes from.
        rows: The number of each row in its file, the first is 1.
    """

    arrays: dict[str, np.ndarray]
    files: list[str]
    rows: list[int]


def batches(model: Model, options: argparse.Namespace, note: Note) -> Iterator[Batch]:
    """Reads all inputs, one file after another.

    Args:
        model: The model.
        options: `inputs`, `format`, `separator`, `batch` and `invert` of the command line.
        note: Is told what a reader must know.

    Returns:
        Batches of at most `options.batch` rows; images of several files go together.

    Raises:
        InputError: Something cannot be used; the message names the file and the line.
    """
    for is_image, group in itertools.groupby(options.inputs, lambda name: _is_image(name, options.format)):
        if is_image:
            yield from _image_batches(model, list(group), options)
            continue
        for name in group:
            with _opened(name) as stream:
                yield from _read(model, name, stream, options, note)


def _is_image(name: str, stated: str | None) -> bool:
    return stated == "image" or (stated is None and Path(name).suffix.lower() in SUFFIXES)


def _opened(name: str) -> BinaryIO:
    return sys.stdin.buffer if name == "-" else Path(name).open("rb")


def _read(model: Model, name: str, stream: BinaryIO, options: argparse.Namespace, note: Note) -> Iterator[Batch]:
    kind = options.format or _FORMATS.get(Path(name).suffix.lower()) or _guess(stream)
    if kind == "image":
        yield _images_to_batch(model, [(name, stream.read())], options.invert)
        return
    if kind == "json":
        content = parse(stream.read(), name)
        arrays = _placed(name, arrays_from_json, model, content)
        count = len(next(iter(arrays.values())))
        for start in range(0, count, options.batch):
            part = {key: array[start : start + options.batch] for key, array in arrays.items()}
            yield _batch(name, part, start)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        yield from (_csv if kind == "csv" else _json_lines)(model, name, text, options, note)
    except UnicodeDecodeError:
        raise InputError("not_text", "is no text in UTF-8", name) from None
    except csv.Error as error:
        raise InputError("not_csv", str(error), name) from None


def _guess(stream: BinaryIO) -> str:
    """Tells the format by how the content begins."""
    start = stream.peek(4096)  # type: ignore[attr-defined]
    if looks_like_image(start):
        return "image"
    start = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith((b"[", b"{")):
        return "csv"
    first, _, rest = start.partition(b"\n")
    try:
        whole = isinstance(parse(first, ""), dict | list)
    except InputError:
        return "json"
    return "jsonl" if whole and rest.strip() else "json"


def parse(content: bytes, name: str) -> object:
    """Reads JSON; a failure names the file."""
    try:
        return parse_json(content.removeprefix(b"\xef\xbb\xbf"))
    except InputError as error:
        place = f"{name}, {error.where}" if error.where else name
        raise InputError(error.reason, f"not JSON: {error.message}", place) from None


def _placed(name: str, read: Callable[..., _Read], *arguments: Any) -> _Read:
    """Calls what reads, so that its failures name the file, too."""
    try:
        return read(*arguments)
    except InputError as error:
        raise InputError(error.reason, error.message, f"{name}, {error.where}" if error.where else name) from None


def _batch(name: str, arrays: dict[str, np.ndarray], start: int) -> Batch:
    count = len(next(iter(arrays.values())))
    return Batch(arrays, [name] * count, list(range(start + 1, start + count + 1)))


def _json_lines(model: Model, name: str, text: Iterable[str], options: argparse.Namespace, _: Note) -> Iterator[Batch]:
    if len(model.inputs) > 1:
        raise InputError("wrong_shape", "JSON lines hold rows of one input; give JSON with all inputs", name)
    wanted, start = model.inputs[0], 0
    lines = ((number, line) for number, line in enumerate(text, 1) if line.strip())
    while part := list(itertools.islice(lines, options.batch)):
        rows = [parse(line.encode(), f"{name}, line {number}") for number, line in part]
        for (number, _line), row in zip(part, rows, strict=True):
            # One by one, so that a wrong one is named by its line.
            _placed(f"{name}, line {number}", array_from_rows, model, wanted, [row], "row")
        yield _batch(name, {wanted.name: array_from_rows(model, wanted, rows, name, start)}, start)
        start += len(part)


def _csv(model: Model, name: str, text: Iterable[str], options: argparse.Namespace, note: Note) -> Iterator[Batch]:
    if len(model.inputs) > 1:
        raise InputError("wrong_shape", "CSV holds rows of one input; give JSON with all inputs", name)
    wanted = model.inputs[0]
    reader = csv.reader(text, delimiter=options.separator)
    lines: Iterator[tuple[int, list[str]]] = (
        (reader.line_num, row) for row in reader if any(cell.strip() for cell in row)
    )
    first = next(lines, None)
    if first is None:
        raise InputError("no_rows", "is empty", name)
    columns = None
    if all(_is_number(cell) for cell in first[1]):
        lines = itertools.chain([first], lines)
    else:
        columns = _columns(model, first[1], name, note)
    width, start = len(first[1]), 0
    while part := list(itertools.islice(lines, options.batch)):
        table = _table(part, columns, width, name, model.features)
        table = _placed(name, checked, flat_to_row(table, wanted), wanted, "row", start + 1)
        yield _batch(name, {wanted.name: table}, start)
        start += len(part)
    if not start:
        raise InputError("no_rows", "has a header and no rows", name)


def _columns(model: Model, header: Sequence[str], name: str, note: Note) -> list[int] | None:
    """Returns where the features stand by the names in the header."""
    names = [cell.strip() for cell in header]
    if not model.features:
        # Columns without names of their own come in the order of the model.
        return None
    places = []
    for feature in model.features:
        if feature not in names:
            near = difflib.get_close_matches(feature, [each for each in names if each not in model.features], n=1)
            hint = f"rename {near[0]!r}, if that is it" if near else f"its columns are {', '.join(names)}"
            raise InputError("missing_column", f"has no column {feature!r}; {hint}", f"{name}, line 1")
        if names.count(feature) > 1:
            raise InputError("double_column", f"has several columns {feature!r}", f"{name}, line 1")
        places.append(names.index(feature))
    others = [each for each in names if each not in model.features]
    if others:
        note(f"{name}: columns that the model does not use: {', '.join(others)}")
    return places


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _table(
    part: Sequence[tuple[int, list[str]]], columns: list[int] | None, width: int, name: str, features: Sequence[str]
) -> np.ndarray:
    """Brings the cells of some lines to numbers, float64, `(rows, columns)`."""
    for number, row in part:
        if len(row) != width:
            raise InputError("wrong_shape", f"has {len(row)} cells, the first line {width}", f"{name}, line {number}")
    rows = [row if columns is None else [row[place] for place in columns] for _, row in part]
    try:
        return np.array([[float(cell) for cell in row] for row in rows])
    except ValueError:
        pass
    for (number, _), row in zip(part, rows, strict=True):
        for place, cell in enumerate(row):
            if not _is_number(cell):
                column = repr(features[place]) if place < len(features) else str(place + 1)
                raise InputError("not_a_number", f"column {column}: {cell!r} is not a number", f"{name}, line {number}")
    raise AssertionError("every cell is a number")


def _image_batches(model: Model, names: Sequence[str], options: argparse.Namespace) -> Iterator[Batch]:
    for start in range(0, len(names), options.batch):
        part = names[start : start + options.batch]
        contents = []
        for name in part:
            with _opened(name) as stream:
                contents.append((name, stream.read()))
        yield _images_to_batch(model, contents, options.invert)


def _images_to_batch(model: Model, files: Sequence[tuple[str, bytes]], invert: bool) -> Batch:
    images = [read_image(content, model.image, name, invert=invert) for name, content in files]
    for (name, _), image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise InputError("wrong_shape", "has another size than the first image; give those of one size", name)
    (wanted,) = model.inputs
    return Batch({wanted.name: np.stack(images).astype(wanted.dtype)}, [name for name, _ in files], [1] * len(files))
