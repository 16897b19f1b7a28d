"""Handwritten digits of 8 x 8 pixels, which come with scikit-learn and need no download."""

import numpy as np

from kerasdl.data.dataset import Dataset
from kerasdl.data.images import from_training_rows
from kerasdl.data.scaling import by_range
from kerasdl.data.spec import Spec
from kerasdl.data.split import hold_out


def load(spec: Spec, seed: int) -> Dataset:
    """Loads scikit-learn's digits: 1,797 images `(8, 8, 1)`, split 64/16/20 %, pixels of 0 to 16 scaled to [0, 1].

    Args:
        spec: `rows`, the size of a stratified sample of the rows that are not for test, before validation is split
            off; `size`, `channels` and `resize`, what images are brought to; `memory`.
        seed: Draws the splits and the sample.

    Returns:
        The data set.

    Raises:
        UserError: More rows are asked for than there are.
    """
    import sklearn
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8, 1)
    generator = np.random.default_rng(seed)
    rest, test = hold_out(labels, 0.2, generator)
    return from_training_rows(
        spec,
        (images[rest], labels[rest]),
        (images[test], labels[test]),
        generator,
        held_out=0.2,
        scaling=by_range(16),
        classes=tuple("0123456789"),
        source=f"UCI Optical Recognition of Handwritten Digits via scikit-learn {sklearn.__version__}",
        licence="CC BY 4.0",
    )
