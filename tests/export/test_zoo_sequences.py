"""Recurrence, attention and embeddings: written directly, on every backend."""

import keras
import pytest

layers = keras.layers

# Of one width: JAX compiles a recurrence once for all layers of the same kind and shape.
RECURRENT = {
    "lstm": layers.LSTM(3),
    "lstm sequence": layers.LSTM(3, return_sequences=True),
    "lstm other activations": layers.LSTM(3, activation="relu", recurrent_activation="softsign", use_bias=False),
    "lstm backwards": layers.LSTM(3, go_backwards=True),
    "gru": layers.GRU(3),
    "gru sequence": layers.GRU(3, return_sequences=True),
    "gru reset before": layers.GRU(3, reset_after=False),
    "gru without bias": layers.GRU(3, use_bias=False),
    "simple": layers.SimpleRNN(3),
    "bidirectional lstm": layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
    "bidirectional gru": layers.Bidirectional(layers.GRU(3)),
    "bidirectional sum": layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
    "bidirectional mean": layers.Bidirectional(layers.SimpleRNN(3), merge_mode="ave"),
    "bidirectional product": layers.Bidirectional(layers.LSTM(3), merge_mode="mul"),
}


def on_series(*stack, steps=5):
    return keras.Sequential([keras.Input((steps, 3)), *stack])


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name, shake, written):
    layer = RECURRENT[name]
    written(shake(on_series(type(layer).from_config(layer.get_config()), layers.Dense(2))))


def test_a_stack_of_recurrent_layers_is_what_one_would_write_by_hand(shake, written, nodes):
    model = shake(on_series(layers.LSTM(4, return_sequences=True), layers.GRU(3), layers.Dense(2)))
    export = written(model)
    assert nodes(export.path) == ["Transpose", "LSTM", "Squeeze", "GRU", "Squeeze", "Gemm"]


def test_recurrence_over_an_open_length(shake, written):
    model = shake(on_series(layers.Bidirectional(layers.LSTM(3)), layers.Dense(2), steps=None))
    assert written(model).batch_sizes == (1, 7, 64, 2)


@pytest.mark.parametrize("settings", [{}, {"use_bias": False}, {"output_shape": 5}])
@pytest.mark.parametrize("causal", [False, True])
def test_self_attention(settings, causal, shake, written):
    entry = keras.Input((5, 6))
    hidden = layers.MultiHeadAttention(2, 3, **settings)(entry, entry, use_causal_mask=causal)
    written(shake(keras.Model(entry, hidden)))


def test_attention_to_another_sequence(shake, written):
    query, value, key = (
        keras.Input(shape, name=name) for name, shape in (("query", (4, 6)), ("value", (7, 5)), ("key", (7, 3)))
    )
    hidden = layers.MultiHeadAttention(2, 3, name="heads")(query, value=value, key=key)
    hidden = layers.Concatenate()([hidden, layers.MultiHeadAttention(1, 2)(query, value)])
    written(shake(keras.Model([query, value, key], hidden)))


@pytest.mark.parametrize(
    "layer",
    [layers.Attention(), layers.Attention(use_scale=True), layers.AdditiveAttention()],
    ids=lambda each: each.name,
)
def test_older_attention(layer, shake, written):
    query, value = keras.Input((4, 3), name="query"), keras.Input((6, 3), name="value")
    fresh = type(layer).from_config(layer.get_config())
    written(shake(keras.Model([query, value], fresh([query, value]))))


def test_a_transformer_block(shake, written):
    entry = keras.Input((6,), dtype="int32")
    places = keras.ops.arange(6)
    hidden = layers.Embedding(11, 8)(entry) + layers.Embedding(6, 8)(places)
    normal = layers.LayerNormalization()(hidden)
    hidden = hidden + layers.Dropout(0.1)(layers.MultiHeadAttention(2, 4)(normal, normal))
    inner = layers.Dense(16, activation="gelu")(layers.RMSNormalization()(hidden))
    hidden = layers.Add()([hidden, layers.Dense(8)(inner)])
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(hidden))
    written(shake(keras.Model(entry, outputs)))


@pytest.mark.parametrize(
    ("equation", "shape", "axes"),
    [("abc,cd->abd", (None, 4), "d"), ("abc,cde->abde", (None, 2, 4), "de"), ("...x,xy->...y", 4, "y")],
)
def test_einsum_layers(equation, shape, axes, shake, written):
    written(shake(on_series(layers.EinsumDense(equation, output_shape=shape, bias_axes=axes))))


def test_layers_at_every_time(shake, written):
    written(shake(on_series(layers.TimeDistributed(layers.Dense(4, activation="tanh")), layers.Flatten())))


def test_masks_that_nobody_reads_are_left_out_and_others_named(shake, written):
    from kerasdl.export.graph import UnsupportedError, build_graph
    from kerasdl.export.target import load_target

    words = layers.Embedding(9, 4, mask_zero=True)
    written(shake(keras.Sequential([keras.Input((7,)), words, layers.Dense(2)])))
    read = keras.Sequential([keras.Input((7,)), layers.Embedding(9, 4, mask_zero=True), layers.LSTM(3, name="memory")])
    with pytest.raises(UnsupportedError, match=r"layer 'memory' \(LSTM\) reads a mask"):
        build_graph(read, load_target("onnx"))
