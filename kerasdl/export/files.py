"""The one place where the export opens `.keras` files."""

from kerasdl.safety import load_model

__all__ = ["load_model"]
