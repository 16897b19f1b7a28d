"""Graphs of TensorFlow without its optimizer of graphs, Grappler."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from tensorflow.core.protobuf import config_pb2
from tensorflow.python.eager import context


@contextmanager
def as_traced_graphs() -> Iterator[None]:
    """Runs graphs as they were traced, in this thread within a `with` statement.

    `tf.config.optimizer` would change all threads.
    """
    eager = context.context()
    before = eager.function_call_options
    config = config_pb2.ConfigProto.FromString(before.config_proto_serialized)
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    own = copy.copy(before)
    own.config_proto_serialized = config
    eager.function_call_options = own
    try:
        yield
    finally:
        eager.function_call_options = before
