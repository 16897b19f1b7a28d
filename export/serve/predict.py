"""Says what the model makes of rows or images: `python predict.py rows.csv`, `python predict.py *.png`.

It needs NumPy and onnxruntime, and for images Pillow.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from inference.answers import answers, by_class, masks, name_of, word
from inference.errors import BundleError, InputError
from inference.images import SUFFIXES, write_mask
from inference.model import DEVICES, Model
from inference.sources import Batch, batches

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Reads the command line; exit status 2 and one line where an input cannot be used."""
    options = _options()
    try:
        _predict(options)
        sys.stdout.flush()
    except (BundleError, InputError) as failure:
        sys.exit(_fail(str(failure)))
    except OSError as failure:
        if isinstance(failure, BrokenPipeError):
            # Whoever read the answers has had enough of them.
            sys.stdout = None
            sys.exit(0)
        sys.exit(_fail(f"{failure.filename or 'input'}: {failure.strerror}"))


def _fail(message: str) -> int:
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr)
    return 2


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE", help=f"CSV, JSON, JSON lines or {', '.join(SUFFIXES)}; - is standard input"
    )
    parser.add_argument("--format", choices=["csv", "json", "jsonl", "image"], help="of the inputs, not by their names")
    parser.add_argument("--separator", default=",", help="of CSV (default: a comma)")
    parser.add_argument(
        "--output", choices=["csv", "json", "jsonl"], default="csv", help="of the answers (default: csv)"
    )
    parser.add_argument(
        "--masks", type=Path, metavar="FOLDER", help="for a class of each pixel: write masks as PNG there"
    )
    parser.add_argument("--invert", action="store_true", help="swap black and white: dark strokes on white paper")
    parser.add_argument("--batch", type=int, default=256, metavar="N", help="rows at once (default: 256)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="(default: auto)")
    parser.add_argument("--model", type=Path, default=HERE, metavar="FOLDER", help="with model.onnx and model.json")
    options = parser.parse_args()
    if options.batch < 1:
        parser.error("--batch: give a number from 1 on")
    if len(options.separator) != 1:
        parser.error("--separator: give one character")
    return options


def _predict(options: argparse.Namespace) -> None:
    model = Model(options.model, options.device)
    if options.masks is not None and model.facts["answer"] != "masks":
        raise InputError("no_masks", "--masks is for models that give a class for each pixel, and this one does not")
    write, finish = _writer(model, options)
    for batch in batches(model, options, note=lambda text: print(f"note: {text}", file=sys.stderr)):
        outputs = model.run(batch.arrays, options.batch)
        try:
            found = answers(model, outputs)
        except InputError as failure:
            row = int(failure.where.strip("rows[]") or 0)
            raise InputError(failure.reason, failure.message, f"{batch.files[row]}, row {batch.rows[row]}") from None
        write(batch, outputs, found)
    finish()


Write = Callable[[Batch, list[np.ndarray], list[dict[str, Any]]], None]


def _writer(model: Model, options: argparse.Namespace) -> tuple[Write, Callable[[], None]]:
    """Returns what writes the answers of one batch, and what ends the output."""
    kind = model.facts["answer"]
    if kind == "masks" and options.masks is not None:
        return _mask_writer(model, options.masks), lambda: None
    if options.output == "csv" and kind == "classes":
        return _csv_writer(model, sys.stdout), lambda: None
    if options.output == "csv" and kind == "masks":
        raise InputError("no_csv", "a class for each pixel is no row of CSV; give --masks FOLDER or --output json")
    # Numbers without a class have no columns of their own.
    return _json_writer("json" if options.output == "json" else "jsonl", sys.stdout)


def _csv_writer(model: Model, out: TextIO) -> Write:
    writer = csv.writer(out, lineterminator="\n")
    started = False
    one = word(model)

    def write(batch: Batch, outputs: list[np.ndarray], _: list[dict[str, Any]]) -> None:
        nonlocal started
        values = by_class(model, outputs[0])
        if not started:
            # Set apart, as a class may be called `row`.
            names = [f"{one} of {name_of(model, number)}" for number in range(values.shape[1])]
            writer.writerow(["input", "row", "class", one, *names])
            started = True
        for file, row, line in zip(batch.files, batch.rows, values, strict=True):
            best = int(line.argmax())
            writer.writerow([file, row, name_of(model, best), f"{line[best]:.7g}", *(f"{each:.7g}" for each in line)])

    return write


def _json_writer(kind: str, out: TextIO) -> tuple[Write, Callable[[], None]]:
    count = 0

    def write(batch: Batch, _: list[np.ndarray], found: list[dict[str, Any]]) -> None:
        nonlocal count
        for file, row, answer in zip(batch.files, batch.rows, found, strict=True):
            text = json.dumps({"input": file, "row": row, **answer}, ensure_ascii=False, allow_nan=False)
            out.write(text + "\n" if kind == "jsonl" else (",\n" if count else "[\n") + text)
            count += 1

    def finish() -> None:
        if kind == "json":
            out.write("\n]\n" if count else "[]\n")

    return write, finish


def _mask_writer(model: Model, folder: Path) -> Write:
    folder.mkdir(parents=True, exist_ok=True)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["input", "row", "mask", "shares"])

    def write(batch: Batch, outputs: list[np.ndarray], found: list[dict[str, Any]]) -> None:
        for file, row, mask, answer in zip(batch.files, batch.rows, masks(outputs[0]), found, strict=True):
            path = _new(folder, "stdin" if file == "-" else Path(file).stem, row if row > 1 else None)
            write_mask(path, mask)
            writer.writerow([file, row, path, json.dumps(answer["shares"], ensure_ascii=False)])

    return write


def _new(folder: Path, stem: str, row: int | None) -> Path:
    """Returns a path that no file has: two images of one name in two folders must not share a mask."""
    name = stem if row is None else f"{stem}-{row}"
    for number in _numbers():
        path = folder / f"{name}{number}.png"
        if not path.exists():
            return path
    raise AssertionError


def _numbers() -> Iterator[str]:
    yield ""
    number = 2
    while True:
        yield f" ({number})"
        number += 1


if __name__ == "__main__":
    main()
