"""Puts image data sets together: in memory, or mapped from disk where memory would not hold them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kerasdl.data import cache
from kerasdl.data.dataset import Dataset, Scaling, Split, fingerprint, fingerprint_of
from kerasdl.data.form import Form
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.data.stored import Stored
from kerasdl.errors import UserError

SHARE = 0.5
"""The part of the memory now available that arrays may take before they are kept on disk."""

_SPLITS = ("train", "validation", "test")

# Bytes of scaled pixels that are made in one go.
_BLOCK = 2**24

# Counted up where the same specification and files come to give other arrays.
_VERSION = 1


@dataclass(frozen=True)
class Part:
    """What one split is made of.

    Attributes:
        images: Raw, `(images, height, width, channels)`.
        labels: `(images,)`, the class of each image, or `(images, height, width)`, what stands for that of each pixel.
        rows: int64, `(rows,)`, which images make the split, in its order.
        lookup: uint8, the class of each value of a pixel; `None` where labels are classes.
    """

    images: np.ndarray | Stored
    labels: np.ndarray | Stored
    rows: np.ndarray
    lookup: np.ndarray | None = None

    def label_block(self, start: int, stop: int) -> np.ndarray:
        """Returns the labels of some rows."""
        block = self.labels[self.rows[start:stop]]
        return block if self.lookup is None else self.lookup[block]


def memory_limit(parameters: Mapping[str, Any]) -> int:
    """Returns how many bytes arrays may take in memory: what `memory` says, else half of what is available."""
    import psutil

    return int(parameters.get("memory", SHARE * psutil.virtual_memory().available))


def key_of(*parts: object) -> str:
    """Returns the key under which arrays are kept that depend on these things alone."""
    digest = hashlib.sha256(repr((_VERSION, np.lib.NumpyVersion(np.__version__).major)).encode())
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape};".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(f"{part!r};".encode())
    return digest.hexdigest()[:32]


def file_facts(spec: Spec, seed: int, paths: Iterable[Path]) -> tuple[object, ...]:
    """Returns what arrays depend on that are made of files: parameters, names, sizes and times of change."""
    parameters = sorted((name, value) for name, value in spec.parameters.items() if name != "memory")
    stamps = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); mend or remove it") from None
        stamps.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns))
    return spec.kind, str(spec.file), seed, parameters, stamps


def assemble_images(
    spec: Spec,
    parts: Mapping[str, Part],
    *,
    form: Form,
    scaling: Scaling,
    classes: Iterable[str],
    source: str,
    licence: str,
    notes: Iterable[str] = (),
    key: Callable[[], str] | None = None,
) -> Dataset:
    """Brings raw images to their form, scales them and puts a data set together.

    Arrays of more bytes than `memory` allows are written to the cache, block by block, and mapped from there.

    Args:
        spec: What was asked for.
        parts: `train`, `validation` and `test`.
        form: What images are brought to.
        scaling: From raw pixels to what the model sees.
        classes: The name of each class.
        source: Where the data come from.
        licence: Under which terms.
        notes: What a reader must know.
        key: Gives the cache's key; where it is absent, it is that of the arrays' contents.

    Returns:
        The data set.
    """
    facts: dict[str, Any] = {
        "classes": list(classes),
        "source": source,
        "licence": licence,
        "notes": list(notes),
        "scale": scaling.scale.tolist(),
    }
    shapes = {name: (len(part.rows), *form.shape(*part.images.shape[1:])) for name, part in parts.items()}
    needed = sum(_bytes(parts[name], shape) for name, shape in shapes.items())
    if needed > memory_limit(spec.parameters):
        kept = key() if key else key_of(form, facts, *(item for part in parts.values() for item in _content(part)))
        entry = cache.find(kept) or _write(kept, parts, shapes, form, scaling, facts, needed)
        return from_cache(spec, entry)
    splits = []
    for name in _SPLITS:
        part, x = parts[name], np.empty(shapes[name], "float32")
        start = 0
        for block in _blocks(part, shapes[name], form, scaling):
            x[start : start + len(block)] = block
            start += len(block)
        splits.append(Split(x, part.label_block(0, len(part.rows)).astype(_label_type(part), copy=False)))
    return _dataset(spec, splits, facts, facts["notes"], fingerprint(splits, facts["classes"]))


def from_cache(spec: Spec, entry: cache.Entry) -> Dataset:
    """Returns the data set that an entry of the cache holds, mapped from disk where memory would not hold it."""
    shapes = {name: (dtype, shape) for name, (dtype, shape) in entry.facts["arrays"].items()}
    size = sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for dtype, shape in shapes.values())
    limit = memory_limit(spec.parameters)
    mapped = size > limit
    splits = []
    for name in _SPLITS:
        images = len(shapes[f"{name}-y"][1]) > 1
        x, y = entry.array(f"{name}-x", mapped=mapped), entry.array(f"{name}-y", mapped=mapped and images)
        splits.append(Split(x, y))
    note = f"read from disk while training: {size / 1e6:,.0f} MB of arrays are more than memory={limit / 1e6:,.0f}MB"
    stored = [(Stored.of(entry.path(f"{name}-x")), Stored.of(entry.path(f"{name}-y"))) for name in _SPLITS]
    digest = fingerprint_of(stored, entry.facts["classes"])
    return _dataset(spec, splits, entry.facts, [*entry.facts["notes"], *([note] if mapped else [])], digest)


def _dataset(spec: Spec, splits: list[Split], facts: Mapping[str, Any], notes: list[str], digest: str) -> Dataset:
    classes = tuple(facts["classes"])
    scale = np.array(facts["scale"], "float32")
    return Dataset(
        name=spec.text,
        train=splits[0],
        validation=splits[1],
        test=splits[2],
        classes=classes,
        features=(),
        scaling=by_range(float(scale.ravel()[0])),
        source=facts["source"],
        licence=facts["licence"],
        fingerprint=digest,
        notes=tuple(notes),
    )


def _bytes(part: Part, shape: tuple[int, ...]) -> int:
    return 4 * int(np.prod(shape)) + np.dtype(_label_type(part)).itemsize * int(np.prod(_label_shape(part)))


def _label_type(part: Part) -> str:
    return "int64" if part.labels.ndim == 1 else "uint8"


def _label_shape(part: Part) -> tuple[int, ...]:
    return (len(part.rows), *part.labels.shape[1:])


def _content(part: Part) -> tuple[np.ndarray | Stored | None, ...]:
    return part.images, part.labels, part.rows, part.lookup


def _blocks(part: Part, shape: tuple[int, ...], form: Form, scaling: Scaling) -> Iterator[np.ndarray]:
    rows = max(_BLOCK // (4 * int(np.prod(shape[1:]))), 1)
    for start in range(0, len(part.rows), rows):
        yield scaling.apply(form.apply(part.images[part.rows[start : start + rows]]))


def _label_blocks(part: Part) -> Iterator[np.ndarray]:
    rows = max(_BLOCK // int(np.prod(part.labels.shape[1:])), 1)
    for start in range(0, len(part.rows), rows):
        yield part.label_block(start, start + rows)


def _write(
    key: str,
    parts: Mapping[str, Part],
    shapes: Mapping[str, tuple[int, ...]],
    form: Form,
    scaling: Scaling,
    facts: Mapping[str, Any],
    needed: int,
) -> cache.Entry:
    with cache.partial(needed) as folder:
        for name, part in parts.items():
            blocks = _blocks(part, shapes[name], form, scaling)
            cache.write_array(folder / f"{name}-x.npy", shapes[name], "float32", blocks)
            cache.write_array(folder / f"{name}-y.npy", _label_shape(part), _label_type(part), _label_blocks(part))
        return cache.keep(key, folder, facts)
