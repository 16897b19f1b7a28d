"""The file formats that a model can leave in: what each can hold, how it is written, and how it is read again."""

from kerasdl.export.formats.format import FORMATS, Format

__all__ = ["FORMATS", "Format"]
