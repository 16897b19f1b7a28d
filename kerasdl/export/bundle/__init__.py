"""The folder that a model leaves in: what runs it, serves it, shows it and says what it is, without Keras."""

from kerasdl.export.bundle.write import write_bundle

__all__ = ["write_bundle"]
