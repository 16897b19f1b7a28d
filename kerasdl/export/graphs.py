"""Writes a model's ONNX graph: directly, or where something is not known by Keras' own exporters."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kerasdl.export.fallback import export_with_keras
from kerasdl.export.graft import check, name_ends, scale_input, slim
from kerasdl.export.graph import UnsupportedError, build_graph
from kerasdl.export.result import ExportError
from kerasdl.export.samples import input_specifications

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target


def write_graphs(model: Any, target: "Target", scaling: "Scaling | None") -> Iterator[tuple[Any, str, tuple[str, ...]]]:
    """Gives the graphs of one exporter after another, as long as the caller asks for more.

    Args:
        model: The Keras model.
        target: The names, the opset and the batch of the graph.
        scaling: How raw features become what the model sees; it becomes part of the graph.

    Yields:
        The `onnx.ModelProto`, slimmed; who wrote it; and what a reader must know.

    Raises:
        UserError: No exporter can write the model.
    """
    try:
        graph = build_graph(model, target, scaling)
    except UnsupportedError as error:
        reason = str(error)
    else:
        yield slim(graph), "kerasdl", ()
        return
    inputs = [name for name, _, _ in input_specifications(model)]
    for exporter, exported in export_with_keras(model, target.opset, reason):
        name_ends(exported, target, inputs, list(getattr(model, "output_names", [])))
        graph = slim(exported)
        if scaling is not None:
            scale_input(graph, scaling)
        yield graph, exporter, (f"{reason}: kerasdl writes no graph for this, so it was exported by {exporter}",)


def checked(graph: Any, exporter: str) -> Any:
    """Checks a graph against the ONNX standard.

    Args:
        graph: The `onnx.ModelProto`.
        exporter: Who wrote it.

    Returns:
        The graph with the shapes of its values.

    Raises:
        ExportError: It is not valid.
    """
    import onnx

    try:
        return check(graph)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        line = str(error).strip().splitlines()[0]
        raise ExportError(f"{exporter} wrote a graph that is not valid ONNX ({line}); nothing was written") from error
