"""What tests of data share."""

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keeps each test's arrays away from the user's."""
    monkeypatch.setenv("KERASDL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "arrays"


@pytest.fixture
def draw_image():
    """Writes an image of random pixels whose first row tells its class, and returns the pixels."""
    from PIL import Image

    generator = np.random.default_rng(0)

    def draw(path, size=(6, 8), mode="L", mark=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = size if mode == "L" else (*size, len(mode))
        pixels = generator.integers(0, 256, shape, dtype="uint8")
        pixels[0] = mark
        Image.fromarray(pixels, mode if mode != "L" else None).save(path)
        return pixels

    return draw
