"""Makes half precision and 8-bit numbers of an ONNX graph, by the tools that come with onnxruntime."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kerasdl.errors import UserError

if TYPE_CHECKING:
    from kerasdl.export.target import Quantization, Target

# Raw features go through these: their ranges belong to the data, not to the network.
SCALING = "scaling/"

# What weighs the classes at the end needs more than 256 steps; other operators stay as they are by themselves.
KEPT = {"Softmax", "LogSoftmax", "Sigmoid"}
RECURRENT = {"LSTM", "GRU", "RNN", "Loop", "Scan"}
ATTENTION = {"Attention", "MultiHeadAttention", "GroupQueryAttention"}

# Rows that calibration gives the graph at once.
CHUNK = 32


@dataclass(frozen=True)
class Calibration:
    """Rows that 8-bit numbers are fitted to.

    Attributes:
        rows: Raw rows, one array per input.
        kind: Which rows they are, in words.
    """

    rows: Sequence[np.ndarray]
    kind: str


def at_precision(
    graph: Any, target: "Target", calibration: Calibration | None
) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Gives a graph at the precision that a target wants; for `"int8"` where one way does not do, then another.

    Args:
        graph: The `onnx.ModelProto`, float32; it is not changed.
        target: Says the precision, and how 8 bits are reached.
        calibration: What 8 bits are fitted to.

    Yields:
        The `onnx.ModelProto`, and what a reader must know.

    Raises:
        UserError: There are no rows to calibrate on.
    """
    if target.precision == "float32":
        yield graph, ()
    elif target.precision == "float16":
        yield _to_float16(graph), ()
    else:
        yield from _to_int8(graph, target.quantization, calibration)


def _to_float16(graph: Any) -> Any:
    import onnx
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    blocked = [node.name for node in copy.graph.node if node.name.startswith(SCALING)]
    with _quiet():
        halved = ONNXModel(convert_float_to_float16(copy, keep_io_types=True, node_block_list=blocked))
    _scale_before_casting(halved.model.graph)
    # Casts were added at the end of the list of nodes.
    halved.topological_sort()
    return halved.model


def _scale_before_casting(graph: Any) -> None:
    """Lets the scaling read raw features as they are: the tool has cast them to half precision and back."""
    casts = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        if node.name.startswith(SCALING):
            for place, name in enumerate(node.input):
                while name in casts:
                    name = casts[name]
                node.input[place] = name
    left = {each.name for each in graph.output}
    while True:
        read = left | {name for node in graph.node for name in node.input}
        dead = [node for node in graph.node if node.op_type == "Cast" and node.output[0] not in read]
        if not dead:
            return
        for node in dead:
            graph.node.remove(node)


def _to_int8(graph: Any, how: "Quantization", calibration: Calibration | None) -> Iterator[tuple[Any, tuple[str, ...]]]:
    if how.method == "static" or (how.method == "auto" and (reason := dynamic_reason(graph)) is None):
        if calibration is None:
            raise UserError(
                "static quantization is calibrated on training rows, and there are none: give rows= (--rows), or "
                'quantization.method = "dynamic" in the target'
            )
        rows = min(how.rows, len(calibration.rows[0]))
        told = f"static, calibrated on {rows} {calibration.kind}"
        yield _static(graph, how, [array[:rows] for array in calibration.rows]), (told,)
        reason = "static quantization is past the target's limit"
    if how.method == "static":
        return
    why = reason if how.method == "auto" else "the target says so"
    yield (
        _dynamic(graph, how),
        (
            f"dynamic, as {why}: ranges are taken from each batch, so a row with huge or missing values changes its "
            "neighbours' outputs",
        ),
    )


def dynamic_reason(graph: Any) -> str | None:
    """Says why dynamic quantization fits a graph better, `None` where static does.

    Ranges of activations that were measured beforehand fit feed-forward networks; those of recurrent networks and of
    products of two activations change with each sequence
    (https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
    """
    kinds = {node.op_type for node in graph.graph.node}
    constant = {each.name for each in graph.graph.initializer}
    if kinds & RECURRENT:
        return f"the network is recurrent ({', '.join(sorted(kinds & RECURRENT))})"
    products = [node for node in graph.graph.node if node.op_type in {"MatMul", "Einsum"}]
    if kinds & ATTENTION or any(not constant & set(node.input) for node in products):
        return "the network attends (products of two activations)"
    return None


def _static(graph: Any, how: "Quantization", rows: Sequence[np.ndarray]) -> Any:
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    names = [each.name for each in graph.graph.input]
    first = graph.graph.input[0].type.tensor_type.shape.dim[0]
    step = CHUNK if first.dim_param else 1

    class Reader(CalibrationDataReader):
        """Gives the training rows in small batches."""

        def __init__(self) -> None:
            self.batches = iter(
                dict(zip(names, (array[start : start + step] for array in rows), strict=True))
                for start in range(0, len(rows[0]), step)
            )

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    kept = [node.name for node in graph.graph.node if node.op_type in KEPT or node.name.startswith(SCALING)]
    with tempfile.TemporaryDirectory(prefix="kerasdl-int8-") as folder, _quiet():
        source, path = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, source)
        quantize_static(
            source,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=how.per_channel,
            reduce_range=how.reduce_range,
            nodes_to_exclude=kept,
            extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
        )
        return onnx.load(path)


def _dynamic(graph: Any, how: "Quantization") -> Any:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(prefix="kerasdl-int8-") as folder, _quiet():
        source, path = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(graph, source)
        quantize_dynamic(
            source, path, per_channel=how.per_channel, reduce_range=how.reduce_range, weight_type=QuantType.QInt8
        )
        return onnx.load(path)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the tools, which advise through the root logger and warn of every weight that is rounded to zero."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
