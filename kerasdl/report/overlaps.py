"""How well predicted masks overlap the true ones: Dice and IoU of each class, over all pixels and by image."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasdl.errors import UserError
from kerasdl.report.statistics import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

    from kerasdl.runs import Run


@dataclass(frozen=True)
class ClassOverlap:
    """Dice and IoU of one class, or their means over classes, all of them means over the winner's repeats.

    Attributes:
        name: The class; empty for the mean over classes.
        dice: Over the pixels of all test images together; NaN where the class is neither true nor predicted.
        iou: The same.
        images: How many test images hold the class, in the mask or in some prediction.
        image_dice: The mean over these images.
        image_iou: The same.
        low: Lower end of the 95 % bootstrap interval of `image_dice`, images being what is drawn.
        high: Upper end.
    """

    name: str
    dice: float
    iou: float
    images: int
    image_dice: float
    image_iou: float
    low: float
    high: float


@dataclass(frozen=True)
class Overlaps:
    """The winner's overlaps.

    Attributes:
        classes: One entry a class.
        mean: The means over classes.
        images: By image, `row`, `dice`, `iou`, `dice_NAME` and `iou_NAME`: means over repeats.
        saved: The same columns of the trial whose weights are saved alone.
    """

    classes: list[ClassOverlap]
    mean: ClassOverlap
    images: "pd.DataFrame"
    saved: "pd.DataFrame"


def read_overlaps(run: "Run") -> Overlaps | None:
    """Reads the winner's overlaps; `None` where the data give no class for each pixel, or nothing was kept."""
    if run.data.get("task") != "segmentation" or run.best is None:
        return None
    try:
        by_image, by_class = run.image_scores(), run.class_scores()
    except UserError:
        return None
    images = by_image.drop(columns=["trial", "seed"]).groupby("row").mean().reset_index()
    names = [str(name) for name in run.data["classes"]]
    whole = by_class.groupby("class", sort=False)[["dice", "iou"]].mean()
    entries = [
        _overlap(name, (whole["dice"][name], whole["iou"][name]), images[f"dice_{name}"], images[f"iou_{name}"])
        for name in names
    ]
    # As the metrics have it: the mean over classes of each repeat, then over repeats.
    over_classes = by_class.groupby("trial")[["dice", "iou"]].mean().mean()
    mean = _overlap("", (over_classes["dice"], over_classes["iou"]), images["dice"], images["iou"])
    return Overlaps(entries, mean, images, by_image[by_image["trial"] == by_image["trial"].iloc[0]])


def _overlap(name: str, whole: tuple[float, float], dice: "pd.Series[float]", iou: "pd.Series[float]") -> ClassOverlap:
    known = dice.dropna().to_numpy()
    of_images = (float(np.mean(known)), float(np.mean(iou.dropna()))) if len(known) else (math.nan, math.nan)
    return ClassOverlap(name, float(whole[0]), float(whole[1]), len(known), *of_images, *bootstrap_interval(known))
