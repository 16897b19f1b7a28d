"""Opens models that others made: each file is checked before a library that would act on its contents sees it."""

from kerasdl.safety.keras_model import check_keras, load_model
from kerasdl.safety.onnx_model import check_onnx
from kerasdl.safety.torchscript import load_torchscript

__all__ = ["check_keras", "check_onnx", "load_model", "load_torchscript"]
