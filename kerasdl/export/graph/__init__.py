"""Writes Keras models as ONNX graphs directly, on any backend: no backend's own exporter takes part."""

from kerasdl.export.graph.build import build_graph
from kerasdl.export.graph.plan import UnsupportedError

__all__ = ["UnsupportedError", "build_graph"]
