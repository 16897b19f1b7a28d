"""Answers questions about training: from a study file to a report and a verified ONNX model."""

__version__ = "0.1.0"
