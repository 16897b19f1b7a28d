"""Labels of pixels as data sets hold them, uint8 and perhaps mapped from disk, are what the sparse losses take."""

import numpy as np
import pytest
from PIL import Image

from kerasdl import data


@pytest.mark.parametrize("memory", ["1GB", "1KB"])
def test_losses_and_metrics_take_pixel_labels(tmp_path, monkeypatch, backend_name, memory):
    import keras

    monkeypatch.setenv("KERASDL_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for number in range(12):
        mask = generator.integers(0, 3, (6, 8), dtype="uint8")
        for folder, pixels in (("images", 100 * mask), ("masks", mask)):
            (tmp_path / "set" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "set" / folder / f"{number}.png")
    dataset = data.load(f"segmentation:{tmp_path / 'set'}", memory=memory)
    assert dataset.train.y.dtype == "uint8" and isinstance(dataset.train.x, np.memmap) == (memory == "1KB")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(dataset.input_shape), keras.layers.Conv2D(3, 1)])
    # Of probabilities of pixels, Keras 3.15's loss has no gradient on torch ("grad_input must be contiguous").
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.5), loss, metrics=["accuracy"])
    x, y = dataset.train.x, dataset.train.y
    begin = model.evaluate(x, y, verbose=0, return_dict=True)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(model(np.array(x))))
    told = np.take_along_axis(probabilities, y[..., None].astype("int64"), axis=-1)
    assert begin["loss"] == pytest.approx(float(-np.log(told).mean()), rel=1e-4)
    assert begin["accuracy"] == pytest.approx(float((probabilities.argmax(-1) == y).mean()), abs=1e-6)
    model.fit(x, y, epochs=20, batch_size=4, verbose=0)
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] < begin["loss"]
