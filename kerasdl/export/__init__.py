"""Where a model goes: files whose outputs were compared with Keras'."""

from kerasdl.export.export import export_model
from kerasdl.export.folder import Folder, write_folder
from kerasdl.export.parity import verify
from kerasdl.export.result import Change, Export, ExportError, Parity
from kerasdl.export.run import export_run
from kerasdl.export.session import create_session
from kerasdl.export.subject import Subject
from kerasdl.export.target import Target, load_target, load_targets

__all__ = [
    "Change",
    "Export",
    "ExportError",
    "Folder",
    "Parity",
    "Subject",
    "Target",
    "create_session",
    "export_model",
    "export_run",
    "load_target",
    "load_targets",
    "verify",
    "write_folder",
]
