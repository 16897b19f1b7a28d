"""`.pt2` programs of `torch.export`: as they are, and compiled by `torch.compile`."""

from typing import Any

from kerasdl.export.benchmark.runners.keras_runner import check_compiler
from kerasdl.export.benchmark.runners.opened import Input, Opened
from kerasdl.export.benchmark.runners.torchscript_runner import choose_device, facts, prepare_module


def open_model(request: dict[str, Any]) -> Opened:
    """Opens an exported program; a size that is a symbol stays open."""
    import torch

    device = choose_device(request["threads"])
    program = torch.export.load(request["path"])
    module = program.module().to(device)
    inputs, batch = _inputs(program)
    described = facts(module)
    if request["mode"] == "torch.compile":
        check_compiler()
        module = torch.compile(module)
    return Opened(
        inputs=inputs,
        prepare=prepare_module(module, device),
        provider=f"torch {device}",
        batch=batch,
        facts=described,
    )


def _inputs(program: Any) -> tuple[list[Input], int | None]:
    users = set(program.graph_signature.user_inputs)
    found: list[Input] = []
    batch: int | None = None
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in users:
            value = node.meta["val"]
            sizes = [size if isinstance(size, int) else None for size in value.shape]
            batch = sizes[0] if sizes else None
            found.append(Input(node.name, tuple(sizes[1:]), str(value.dtype).removeprefix("torch.")))
    return found, batch
