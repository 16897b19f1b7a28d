import pytest

from tests.export.graphs import MODELS, Bare, bundle


@pytest.fixture(autouse=True)
def quick_weights():
    """Nothing here has weights of Keras, so that Keras need not start."""


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """A bundle of each small model, by its name, to read."""
    folder = tmp_path_factory.mktemp("bundles")
    return {name: bundle(folder / name, name) for name in MODELS}


@pytest.fixture(scope="session")
def bare():
    """A process that can import nothing that trained the model."""
    process = Bare()
    yield process
    process.close()
