"""Writes convolutions, whose ONNX operators want the channels first."""

from kerasdl.export.graph.fold import CONVOLUTIONS, DEPTHWISE, TRANSPOSED
from kerasdl.export.graph.plan import Step, UnsupportedError
from kerasdl.export.graph.registry import converts
from kerasdl.export.graph.writer import Value, Writer


def enter(writer: Writer, step: Step, value: Value) -> Value:
    """Brings the input of a spatial layer into channels-first order, whatever the layer's `data_format`."""
    if step.layer.data_format == "channels_first":
        return writer.as_keras(value)
    return writer.as_channels_first(value)


def leave(step: Step, name: str) -> Value:
    """Describes the channels-first output of a spatial layer."""
    return Value(name, step.shape, channels_first=step.layer.data_format != "channels_first")


def sizes(step: Step, value: Value) -> tuple[int | None, ...]:
    """Returns the lengths of the spatial axes of a spatial layer's input."""
    return value.shape[2:] if step.layer.data_format == "channels_first" else value.shape[1:-1]


def same_padding(
    lengths: tuple[int | None, ...], window: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]
) -> dict[str, object]:
    """Computes the padding that makes the output `ceil(length / stride)` long, the odd cell at the end.

    Args:
        lengths: The input's spatial lengths, `None` where not fixed.
        window: The kernel's or pool's lengths.
        strides: The steps.
        dilation: The distance between the cells of the window.

    Returns:
        The ONNX attributes: `pads`, or `auto_pad` where the pads depend on a length that is not fixed.
    """
    begins, ends = [], []
    for length, size, stride, gap in zip(lengths, window, strides, dilation, strict=True):
        reach = (size - 1) * gap + 1
        if length is None and stride != 1:
            return {"auto_pad": "SAME_UPPER"}
        total = reach - 1 if length is None else max((-(-length // stride) - 1) * stride + reach - length, 0)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return {"pads": begins + ends}


def padding_attributes(step: Step, value: Value, window: tuple[int, ...]) -> dict[str, object]:
    """Returns the ONNX attributes for a spatial layer's `padding`."""
    layer = step.layer
    dilation = tuple(getattr(layer, "dilation_rate", (1,) * len(window)))
    if layer.padding == "same":
        return same_padding(sizes(step, value), window, tuple(layer.strides), dilation)
    if layer.padding == "causal":
        return {"pads": [(window[0] - 1) * dilation[0], 0]}
    if step.margins:
        return {"pads": [begin for begin, _ in step.margins] + [end for _, end in step.margins]}
    if layer.padding != "valid":
        raise UnsupportedError(f"layer {step.name!r} has padding {layer.padding!r}")
    return {}


@converts(*CONVOLUTIONS, *DEPTHWISE)
def convolution(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `Conv`; a depthwise one has as many groups as input channels."""
    value, kernel, layer = enter(writer, step, inputs[0]), step.weights["kernel"], step.layer
    rank = kernel.ndim - 2
    window = kernel.shape[:rank]
    groups = getattr(layer, "groups", 1)
    if step.kind in DEPTHWISE:
        # (..., channels, multiplier) -> (channels * multiplier, 1, ...): each channel's filters stand side by side.
        groups = kernel.shape[-2]
        kernel = kernel.reshape(*window, 1, -1)
    attributes = {
        "kernel_shape": list(window),
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
        "group": groups,
        **padding_attributes(step, value, window),
    }
    names = [value.name, writer.constant(f"{step.name}/kernel", kernel.transpose(rank + 1, rank, *range(rank)))]
    if "bias" in step.weights:
        names.append(writer.constant(f"{step.name}/bias", step.weights["bias"]))
    return leave(step, writer.node("Conv", names, step.name, **attributes))


@converts(*TRANSPOSED)
def transposed_convolution(writer: Writer, step: Step, inputs: list[Value]) -> Value:
    """Writes `ConvTranspose` with Keras' output length: `length * stride`, or that of a full overlap for `valid`."""
    value, kernel, layer = enter(writer, step, inputs[0]), step.weights["kernel"], step.layer
    rank = kernel.ndim - 2
    window, strides = kernel.shape[:rank], tuple(layer.strides)
    if layer.output_padding is not None or any(rate != 1 for rate in layer.dilation_rate):
        raise UnsupportedError(f"layer {layer.name!r} ({step.kind}) has output padding or dilation")
    excess = [size - stride for size, stride in zip(window, strides, strict=True)]
    pads = [0] * (2 * rank)
    if layer.padding == "same":
        begins = [max(each, 0) // 2 for each in excess]
        pads = begins + [max(each, 0) - begin for each, begin in zip(excess, begins, strict=True)]
    attributes = {
        "kernel_shape": list(window),
        "strides": list(strides),
        "pads": pads,
        "output_padding": [max(-each, 0) for each in excess],
    }
    names = [value.name, writer.constant(f"{step.name}/kernel", kernel.transpose(rank + 1, rank, *range(rank)))]
    if "bias" in step.weights:
        names.append(writer.constant(f"{step.name}/bias", step.weights["bias"]))
    return leave(step, writer.node("ConvTranspose", names, step.name, **attributes))
