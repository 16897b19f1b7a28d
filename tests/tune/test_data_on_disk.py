"""Data that memory would not hold are trained on batch by batch, with what they come to in memory."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.data import Dataset, Split
from kerasdl.tune import Study

Make = Callable[..., Study]


def on_disk(dataset: Dataset, folder: Path) -> Dataset:
    """The same data set, its features mapped from files."""
    import dataclasses

    splits = {}
    for name in ("train", "validation", "test"):
        split = getattr(dataset, name)
        np.save(folder / f"{name}.npy", split.x)
        splits[name] = Split(np.load(folder / f"{name}.npy", mmap_mode="c"), split.y)
    return dataclasses.replace(dataset, **splits)


def test_mapped_data_are_trained_by_fit_and_never_copied_as_a_whole(
    backend_name: str, study: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kerasdl import data
    from kerasdl.train import resident

    kept = data.load("xor?rows=200")
    keys: dict[str, Any] = {
        "epochs": 3,
        "learning_rate": 0.02,
        "refine": {"rounds": 0, "trials": 1, "retrain": 1},
    }
    with study(data=kept, **keys).run(tmp_path / "kept", export=False, progress=False) as whole:
        expected, again = whole.trials(), whole.retrained
        assert not any("larger than memory" in how for how in expected["how"])

    def refused(*arguments: Any) -> Any:
        raise AssertionError("a pack took data from disk")

    monkeypatch.setattr(resident, "_tensors", refused)
    monkeypatch.setenv("KERASDL_CACHE", str(tmp_path / "cache"))
    mapped = on_disk(kept, tmp_path)
    assert mapped.mapped
    assert not kept.mapped
    with study(data=mapped, **keys).run(tmp_path / "mapped", export=False, progress=False) as run:
        trials = run.trials()
        assert all("fit on" in how and "its data are larger than memory" in how for how in trials["how"])
        np.testing.assert_allclose(trials["val_loss"], expected["val_loss"], rtol=1e-4)
        np.testing.assert_allclose(trials["test_loss"], expected["test_loss"], rtol=1e-4)
        for one, other in zip(run.retrained, again, strict=True):
            np.testing.assert_allclose(one["test"]["loss"], other["test"]["loss"], rtol=1e-4)
    assert not list((tmp_path / "cache" / "arrays").iterdir())
