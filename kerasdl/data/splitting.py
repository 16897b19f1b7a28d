"""Makes train, validation and test of what folders hold of them."""

import numpy as np

from kerasdl.data.decoding import Item
from kerasdl.data.spec import Spec
from kerasdl.data.split import MINIMUM, choose, hold_out, three_way
from kerasdl.errors import UserError

_VALIDATION = 0.1
_TEST = 0.2


def split_parts(labels: np.ndarray, parts: np.ndarray, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Splits rows where they are not split already, stratified by class.

    Args:
        labels: int64, `(rows,)`, the class of each row, or what else to stratify by.
        parts: `(rows,)`, the split of each row by its folder: `"train"`, `"validation"` or `"test"`; `""` for all where
            the folder is not split.
        generator: Draws.

    Returns:
        Row numbers of train, validation and test. Rows that are not split, or of which there are training rows alone,
        are split 64/16/20 %; beside test rows 10 % of the training rows are for validation; beside validation rows
        20 % are for test.
    """
    given = {part: np.flatnonzero(parts == part) for part in ("", "train", "validation", "test")}
    rows = generator.permutation(np.concatenate([given[""], given["train"]]))
    validation, test = given["validation"], given["test"]
    if not len(validation) and not len(test):
        three = three_way(labels[rows], generator)
        return {name: rows[drawn] for name, drawn in zip(("train", "validation", "test"), three, strict=True)}
    if not len(validation):
        kept, held = hold_out(labels[rows], _VALIDATION, generator)
        rows, validation = rows[kept], rows[held]
    elif not len(test):
        kept, held = hold_out(labels[rows], _TEST, generator)
        rows, test = rows[kept], rows[held]
    return {"train": rows, "validation": validation, "test": test}


def sample(spec: Spec, items: list[Item], classes: int, generator: np.random.Generator) -> tuple[list[Item], list[str]]:
    """Draws what `rows` asks for of the items that are not for validation or test by their folder.

    Args:
        spec: The specification, with `rows` or without.
        items: The items.
        classes: How many classes they have.
        generator: Draws.

    Returns:
        The items that stay, in their order, and what a reader must know.

    Raises:
        UserError: `rows` cannot be met.
    """
    free = np.flatnonzero([item.part in ("", "train") for item in items])
    rows, least = spec.parameters.get("rows", len(free)), MINIMUM * classes
    if "rows" in spec.parameters and not least <= rows <= len(free):
        raise UserError(
            f"{spec.file}: rows={rows} is out of range; there are {len(free)} images to draw from, and {least} are "
            "needed"
        )
    if rows == len(free):
        return items, []
    drawn, _ = choose(np.array([items[row].label for row in free]), rows, generator, at_least=MINIMUM)
    kept = set(free[drawn].tolist()) | (set(range(len(items))) - set(free.tolist()))
    how = "stratified by class" if classes > 1 else "drawn at random"
    where = "training images" if items[free[0]].part else "images"
    return [items[row] for row in sorted(kept)], [f"a sample, {how}: {rows} of {len(free)} {where}"]


def missing_notes(items: list[Item]) -> list[str]:
    """Says which splits the folders lack and how they were made."""
    present = {item.part for item in items}
    if present == {"train"}:
        return ["no val/ and no test/: train/ was split 64/16/20 % into train, validation and test"]
    if "" in present or present == {"train", "validation", "test"}:
        return []
    if "test" in present:
        return [f"no val/: {_VALIDATION:.0%} of train/ was held out for validation"]
    return [f"no test/: {_TEST:.0%} of train/ was held out for test"]
