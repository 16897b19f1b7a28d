"""Writes what PyTorch opens: TorchScript, and the programs of `torch.export`. Keras must run on torch."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasdl.errors import UserError
from kerasdl.export.formats.ends import Ends
from kerasdl.export.samples import Specification, input_specifications

DEPRECATED = "PyTorch has deprecated TorchScript; its successor is .pt2, the target torch-export"


def write_torchscript(model: Any, path: Path, ends: Ends, properties: Mapping[str, object]) -> tuple[str, ...]:
    """Traces a model in inference mode, freezes it and saves it.

    Freezing makes constants of the weights and runs the optimizations that hold on every machine; those of
    `optimize_for_inference` are made for one processor, and are left to who loads the file.

    Args:
        model: A Keras model on torch that takes raw features.
        path: Where the file goes.
        ends: Whether the file takes any number of rows.
        properties: What is known about the model, for `metadata.json` inside the file.

    Returns:
        What a reader must know.
    """
    import torch

    program = _wrap(model, owns=True)
    with torch.no_grad(), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            traced = torch.jit.trace(program, _rows(model, ends), check_trace=False)
            _drop_conversions(traced.graph)
            frozen = torch.jit.freeze(traced)
        except Exception as error:  # whatever torch raises, with pages of graph
            raise UserError(_first_line(error)) from error
        torch.jit.save(frozen, str(path), _extra_files={"metadata.json": json.dumps(dict(properties))})
    return (DEPRECATED, *_told(raised))


def _told(raised: Sequence[warnings.WarningMessage]) -> list[str]:
    """Returns in one line what torch warned of, the first sentence of each; that it is deprecated is said already."""
    sentences = [
        str(each.message).strip().split(". ")[0].split("\n")[0][:200].rstrip(".")
        for each in raised
        if not issubclass(each.category, DeprecationWarning | FutureWarning)
    ]
    return [f"torch warned: {'; '.join(dict.fromkeys(sentences))}"] if sentences else []


def _drop_conversions(graph: Any) -> None:
    """Takes out the conversions of tensors to the type that they have: Keras asks for one at each step.

    Each also names the device that the trace was made on, which would tie the file to it.
    """
    import torch

    torch._C._jit_pass_inline(graph)
    for node in list(graph.findAllNodes("aten::to")):
        kinds = [getattr(value.type(), "scalarType", lambda: None)() for value in (node.inputsAt(0), node.output())]
        if kinds[0] is not None and kinds[0] == kinds[1]:
            node.output().replaceAllUsesWith(node.inputsAt(0))
            node.destroy()


def write_torch_export(model: Any, path: Path, ends: Ends, properties: Mapping[str, object]) -> tuple[str, ...]:
    """Captures a model by `torch.export` and saves it as .pt2.

    Args:
        model: As for `write_torchscript`.
        path: Where the file goes.
        ends: Whether the file takes any number of rows.
        properties: As for `write_torchscript`.

    Returns:
        What a reader must know.
    """
    import torch

    rows = _rows(model, ends)
    # The model takes *args: its dynamic shapes are a tuple inside the tuple.
    batch = {0: torch.export.Dim("batch")}
    shapes = (tuple(batch for _ in rows),) if ends.dynamic_batch else None
    with torch.no_grad(), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        try:
            program = torch.export.export(_wrap(model, owns=False), rows, dynamic_shapes=shapes, strict=False)
        except Exception as error:
            raise UserError(_first_line(error)) from error
        for node in program.graph.nodes:
            # Where each node comes from in the sources: paths of this machine, and most of the file.
            for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
                node.meta.pop(key, None)
        torch.export.save(program, str(path), extra_files={"metadata.json": json.dumps(dict(properties))})
    return tuple(_told(raised))


def _wrap(model: Any, *, owns: bool) -> Any:
    """Makes a module of a Keras model.

    Args:
        model: The model.
        owns: Whether its weights are the module's. `torch.export` sees Keras' weights as constants, and would write
            those of the module beside them.
    """
    import keras
    import torch

    structure = getattr(model, "_inputs_struct", None)

    class Inference(torch.nn.Module):
        """Takes the inputs one after another, and gives one tensor or a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model if owns else None

        def forward(self, *rows: Any) -> Any:
            inputs = rows[0] if len(rows) == 1 else list(rows)
            if structure is not None:
                inputs = keras.tree.pack_sequence_as(structure, list(rows))
            outputs = keras.tree.flatten(model(inputs, training=False))
            return outputs[0] if len(outputs) == 1 else tuple(outputs)

    return Inference().eval()


def _rows(model: Any, ends: Ends) -> tuple[Any, ...]:
    # Two rows: torch takes a length of one for a constant.
    return tuple(_ones(each, 2 if ends.dynamic_batch else 1) for each in input_specifications(model))


def _ones(specification: Specification, rows: int) -> Any:
    import torch

    _, shape, dtype = specification
    return torch.ones((rows, *(size or 32 for size in shape[1:])), dtype=getattr(torch, dtype))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')[:300]}"
