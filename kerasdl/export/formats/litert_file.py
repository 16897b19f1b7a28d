"""Writes LiteRT files by TensorFlow's converter. Keras must run on TensorFlow."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.export.formats.ends import Ends
from kerasdl.export.samples import input_specifications


def write_litert(
    model: Any, path: Path, ends: Ends, properties: Mapping[str, object], *, half: bool = False
) -> tuple[str, ...]:
    """Converts a model by way of a SavedModel, with a signature that names its inputs and outputs.

    Args:
        model: A Keras model on TensorFlow that takes raw features.
        path: Where the file goes.
        ends: The names of its inputs and outputs.
        properties: What is known about the model; the format has no place for it.
        half: Whether weights are stored in float16.

    Returns:
        What a reader must know.

    Raises:
        UserError: The converter failed; the message holds the first line of what it said.
    """
    import tensorflow

    with tempfile.TemporaryDirectory(prefix="kerasdl-litert-") as folder:
        _save(model, folder, ends)
        converter = tensorflow.lite.TFLiteConverter.from_saved_model(folder)
        # TensorFlow's own operators (Flex) are left out: no runtime of Python has them, so nothing could be compared.
        converter.target_spec.supported_ops = [tensorflow.lite.OpsSet.TFLITE_BUILTINS]
        converter.experimental_enable_resource_variables = True
        if half:
            converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tensorflow.float16]
        try:
            path.write_bytes(converter.convert())
        except Exception as error:  # what a foreign converter can raise has no common class
            line = next(iter(str(error).strip().splitlines()), "")[:300]
            hint = "; a target with dynamic_batch = false may do" if ends.dynamic_batch else ""
            raise UserError(f"{type(error).__name__}: {line}{hint}") from error
    return ()


def _save(model: Any, folder: str, ends: Ends) -> None:
    import keras
    import tensorflow

    specifications = input_specifications(model)
    rows = None if ends.dynamic_batch else 1
    signature = [
        tensorflow.TensorSpec((rows, *shape[1:]), dtype, name=name)
        for name, (_, shape, dtype) in zip(ends.inputs, specifications, strict=True)
    ]
    structure = getattr(model, "_inputs_struct", None)

    def serve(*given: Any) -> dict[str, Any]:
        inputs = given[0] if len(given) == 1 else list(given)
        if structure is not None:
            inputs = keras.tree.pack_sequence_as(structure, list(given))
        outputs = keras.tree.flatten(model(inputs, training=False))
        return dict(zip(ends.outputs, outputs, strict=True))

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", serve, input_signature=signature)
    archive.write_out(folder, verbose=False)
