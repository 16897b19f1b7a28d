"""Says in words what the outputs of a model mean."""

from typing import Any

import numpy as np

from inference.errors import InputError
from inference.model import Model

# Digits behind the point of a probability: float32 has no more.
DIGITS = 7


def answers(model: Model, outputs: list[np.ndarray], first: int = 0) -> list[dict[str, Any]]:
    """Returns for each row what the model says, as values that JSON can hold.

    Args:
        model: The model.
        outputs: What `Model.run` returned.
        first: The number of the first row in messages.

    Returns:
        For each row `class`, `probability` and `probabilities` in the order of the classes (`score` and `scores` where
        outputs are none); for a model of pixels `mask`, numbers of classes, and `shares`, the part of the pixels that
        each class has; for all other models `outputs` by name.

    Raises:
        InputError: An output is not finite, so that the row is far from all that the model can tell.
    """
    for array in outputs:
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if len(bad):
            raise InputError("no_answer", "the model gives no finite values for it", f"rows[{first + bad[0]}]")
    kind = model.facts["answer"]
    if kind == "classes":
        return _classes(model, outputs[0])
    if kind == "masks":
        return [_mask(model, mask) for mask in masks(outputs[0])]
    names = [each["name"] for each in model.facts["outputs"]]
    return [
        {"outputs": {name: array[row].tolist() for name, array in zip(names, outputs, strict=True)}}
        for row in range(len(outputs[0]))
    ]


def by_class(model: Model, output: np.ndarray) -> np.ndarray:
    """Returns one column for each class, `(rows, classes)`; of one probability its counterpart comes first."""
    if output.shape[1] == 1 and model.facts["outputs"][0]["meaning"] == "probabilities":
        return np.hstack([1 - output, output])
    return output


def masks(output: np.ndarray) -> np.ndarray:
    """Returns the class of each pixel, `(rows, height, width)`, of outputs with the classes last."""
    return (output[..., 0] > 0.5).astype("int64") if output.shape[-1] == 1 else output.argmax(axis=-1)


def word(model: Model) -> str:
    """Returns what an output is called: `"probability"`, or `"score"` where it is none."""
    return "probability" if model.facts["outputs"][0]["meaning"] == "probabilities" else "score"


def name_of(model: Model, number: int) -> str:
    """Returns the name of a class, or its number where classes have no names."""
    return model.classes[number] if model.classes else str(number)


def _classes(model: Model, output: np.ndarray) -> list[dict[str, Any]]:
    values = np.round(by_class(model, output).astype("float64"), DIGITS)
    one = word(model)
    many = "probabilities" if one == "probability" else "scores"
    return [
        {"class": name_of(model, int(best)), one: row[best], many: row}
        for best, row in zip(values.argmax(axis=1).tolist(), values.tolist(), strict=True)
    ]


def _mask(model: Model, mask: np.ndarray) -> dict[str, Any]:
    numbers, counts = np.unique(mask, return_counts=True)
    shares = {
        name_of(model, int(number)): round(count / mask.size, 6) for number, count in zip(numbers, counts, strict=True)
    }
    return {"mask": mask.tolist(), "shares": shares}
