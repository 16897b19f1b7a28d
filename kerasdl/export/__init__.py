"""Where a model goes: ONNX files whose outputs were compared with Keras'."""

from kerasdl.export.export import export_model
from kerasdl.export.result import Export, ExportError
from kerasdl.export.run import export_run
from kerasdl.export.session import create_session
from kerasdl.export.target import Target, load_target

__all__ = ["Export", "ExportError", "Target", "create_session", "export_model", "export_run", "load_target"]
