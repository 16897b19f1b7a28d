import numpy as np
import pytest


@pytest.fixture(autouse=True)
def quick_weights(monkeypatch):
    """Draws first weights with NumPy: JAX compiles a program for each new shape, half of these tests' time."""
    import keras

    def draw(self, shape, dtype=None):
        values = np.random.default_rng(0).normal(size=shape) * 0.3
        return keras.ops.convert_to_tensor(values.astype(dtype or "float32"))

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    # Most of these models are asked once, so that compiling them well costs more than it saves.
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture
def shake():
    """Gives a model weights as if trained: batch statistics, gains and shifts far from their first values."""

    def apply(model, seed=0):
        generator = np.random.default_rng(seed)
        for weight in model.weights:
            if str(weight.dtype) != "float32":
                continue
            values = generator.normal(size=weight.shape) * 0.3
            if "variance" in weight.path:
                values = np.abs(values) + 0.3
            if "gamma" in weight.path:
                values = values + 1.0
            weight.assign(values.astype("float32"))
        return model

    return apply


@pytest.fixture
def small(shake):
    """An MLP of 6 features and 4 classes with batch normalization and dropout."""
    import keras

    layers = [keras.Input((6,), name="table")]
    for _ in range(2):
        layers += [
            keras.layers.Dense(16),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.3),
        ]
    layers.append(keras.layers.Dense(4, activation="softmax"))
    return shake(keras.Sequential(layers, name="small"))


@pytest.fixture
def scaling():
    """Per-feature scaling with offsets and scales of very different sizes."""
    from kerasdl.data.dataset import Scaling

    generator = np.random.default_rng(1)
    offset = (generator.normal(size=6) * [1, 10, 100, 1000, 1, 1]).astype("float32")
    return Scaling(offset, generator.uniform(0.5, 20, 6).astype("float32"))


@pytest.fixture
def nodes():
    """Lists the operators of an ONNX file, in order."""

    def read(path):
        import onnx

        return [node.op_type for node in onnx.load(path).graph.node]

    return read


@pytest.fixture
def written(tmp_path):
    """Exports a model and asserts that the graph writer itself did it, and that the outputs are Keras'."""
    from kerasdl.export import export_model

    def export(model, **options):
        done = export_model(model, tmp_path / "model.onnx", **options)
        assert done.exporter == "kerasdl", done.warnings
        assert done.warnings == ()
        assert done.batch_sizes[:3] == (1, 7, 64)
        assert done.max_rel_diff <= 1e-3
        return done

    return export
