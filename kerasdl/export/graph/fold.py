"""Rewrites a plan: takes out what does nothing at inference and folds affine steps into the weights beside them.

All folding is done in float64 on the trained weights. Batch normalization at inference is `x * factor + shift` per
channel (Ioffe & Szegedy 2015, https://arxiv.org/abs/1502.03167), which a linear layer before or after it absorbs.
"""

import math
from types import SimpleNamespace

import numpy as np

from kerasdl.export.graph.plan import Plan, Step, UnsupportedError, array, blaming

NOTHING = {
    "ActivityRegularization",
    "AlphaDropout",
    "Dropout",
    "GaussianDropout",
    "GaussianNoise",
    "Identity",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    # Augmentation, which leaves images as they are outside of training.
    "AugMix",
    "CutMix",
    "MixUp",
    "RandAugment",
    "RandomBrightness",
    "RandomColorDegeneration",
    "RandomColorJitter",
    "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing",
    "RandomFlip",
    "RandomGaussianBlur",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomPerspective",
    "RandomPosterization",
    "RandomRotation",
    "RandomSaturation",
    "RandomSharpness",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
}
CONVOLUTIONS = {"Conv1D", "Conv2D", "Conv3D"}
DEPTHWISE = {"DepthwiseConv1D", "DepthwiseConv2D"}
SEPARABLE = {"SeparableConv1D", "SeparableConv2D"}
TRANSPOSED = {"Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"}
SPATIAL = CONVOLUTIONS | DEPTHWISE | TRANSPOSED

# Layers that no converter sees, as they have become others, or nothing, by then.
REWRITTEN = NOTHING | SEPARABLE | {"Normalization", "Rescaling"}

# A uniform (x - offset) / scale is folded only while |offset / scale| stays this small: beyond it, the difference of
# two large float32 sums would lose digits that the subtraction before the product keeps.
SAFE_SHIFT = 16.0


def simplify(plan: Plan) -> Plan:
    """Simplifies a plan in place, without changing what it computes.

    Args:
        plan: The steps of a model.

    Returns:
        The same plan: no training-only steps, separable convolutions as two, batch normalization and uniform scaling
        folded where that is legal, padding as the next convolution's own, flattening marked where the order of its
        features is free.
    """
    for step in list(plan.steps):
        if step.kind in NOTHING or (step.kind == "Activation" and step.activation is None):
            plan.remove(step)
    for step in list(plan.steps):
        if step.kind in SEPARABLE:
            _split(plan, step)
    for step in plan.steps:
        with blaming(step):
            _collect(step)
    for step in list(plan.steps):
        if step.kind == "BatchNormalization" and (_fold_back(plan, step) or _fold_forward(plan, step)):
            plan.remove(step)
    for step in list(plan.steps):
        if step.kind == "Scaling" and _fold_scaling(plan, step):
            plan.remove(step)
    for step in list(plan.steps):
        if step.kind.startswith("ZeroPadding"):
            _fold_padding(plan, step)
        elif step.kind.startswith("Global"):
            _keep_axes(plan, step)
    for step in plan.steps:
        if step.kind == "Flatten":
            readers = plan.readers(step.output)
            step.any_order = step.output not in plan.outputs and all(reader.kind == "Dense" for reader in readers)
    return plan


def _split(plan: Plan, step: Step) -> None:
    rank = step.kind[-2:]
    middle = max([step.output, *(each.output for each in plan.steps)]) + 1
    layer, kernel = step.layer, array(step.layer.depthwise_kernel)
    shape = list(step.shape)
    shape[channel_axis(step)] = kernel.shape[-1] * kernel.shape[-2]
    depthwise = Step(f"DepthwiseConv{rank}", f"{step.name}/depthwise", step.inputs, middle, tuple(shape), layer)
    depthwise.weights = {"kernel": kernel}
    ones = (1,) * (kernel.ndim - 2)
    plain = SimpleNamespace(strides=ones, dilation_rate=ones, padding="valid", groups=1, data_format=layer.data_format)
    pointwise = Step(f"Conv{rank}", step.name, [middle], step.output, step.shape, plain)
    pointwise.weights = {"kernel": array(layer.pointwise_kernel)}
    if layer.use_bias:
        pointwise.weights["bias"] = array(layer.bias)
    position = plan.steps.index(step)
    plan.steps[position : position + 1] = [depthwise, pointwise]


def _collect(step: Step) -> None:
    """Reads the weights that folding may change."""
    layer = step.layer
    if (step.kind == "Dense" or step.kind in SPATIAL) and not step.weights:
        step.weights["kernel"] = array(layer.kernel)
        if layer.use_bias:
            step.weights["bias"] = array(layer.bias)
    elif step.kind == "BatchNormalization":
        _collect_batch_normalization(step)
    elif step.kind == "Rescaling":
        scale, offset = np.asarray(layer.scale, dtype=np.float64), np.asarray(layer.offset, dtype=np.float64)
        if np.any(scale == 0):
            raise UnsupportedError(f"layer {layer.name!r} (Rescaling) has a scale of 0")
        step.kind, step.weights = "Scaling", {"offset": -offset / scale, "scale": 1.0 / scale}
    elif step.kind == "Normalization":
        import keras

        mean, deviation = array(layer.mean), np.maximum(np.sqrt(array(layer.variance)), keras.config.epsilon())
        if layer.invert:
            # x * deviation + mean
            step.kind, step.weights = "Scaling", {"offset": -mean / deviation, "scale": 1.0 / deviation}
        else:
            step.kind, step.weights = "Scaling", {"offset": mean, "scale": deviation}


def _collect_batch_normalization(step: Step) -> None:
    layer = step.layer
    if getattr(layer, "renorm", False):
        raise UnsupportedError(f"layer {layer.name!r} (BatchNormalization) renormalizes")
    mean, variance = array(layer.moving_mean), array(layer.moving_variance)
    gamma = array(layer.gamma) if layer.scale else np.ones_like(mean)
    beta = array(layer.beta) if layer.center else np.zeros_like(mean)
    factor = gamma / np.sqrt(variance + layer.epsilon)
    step.weights = {"factor": factor, "shift": beta - mean * factor}


def channel_axis(step: Step) -> int:
    """Returns the Keras axis on which a convolution, pooling or dense step has its channels."""
    return 1 if getattr(step.layer, "data_format", None) == "channels_first" else len(step.shape) - 1


def _fold_back(plan: Plan, step: Step) -> bool:
    before = plan.writer(step.inputs[0])
    if before is None or before.kind not in SPATIAL | {"Dense"} or plan.only_reader(before.output) is not step:
        return False
    if step.layer.axis % len(step.shape) != channel_axis(before):
        return False
    factor, shift, kernel = step.weights["factor"], step.weights["shift"], before.weights["kernel"]
    if before.kind in DEPTHWISE:
        before.weights["kernel"] = kernel * factor.reshape(kernel.shape[-2:])
    elif before.kind in TRANSPOSED:
        before.weights["kernel"] = kernel * factor[:, None]
    else:
        before.weights["kernel"] = kernel * factor
    before.weights["bias"] = before.weights.get("bias", 0.0) * factor + shift
    return True


def _fold_forward(plan: Plan, step: Step) -> bool:
    after = plan.only_reader(step.output)
    if after is None or step.layer.axis % len(step.shape) != len(step.shape) - 1:
        return False
    return _absorb(after, step.weights["factor"], step.weights["shift"])


def _absorb(after: Step, factor: np.ndarray, shift: np.ndarray) -> bool:
    """Folds `x * factor + shift`, per channel or one for all, into the linear step that reads it, where legal."""
    if after.kind == "Dense":
        kernel = after.weights["kernel"]
        after.weights["kernel"] = kernel * np.broadcast_to(factor, kernel.shape[:1])[:, None]
        added = np.broadcast_to(shift, kernel.shape[:1]) @ kernel
    elif after.kind in CONVOLUTIONS and channel_axis(after) == len(after.shape) - 1:
        kernel = after.weights["kernel"]
        groups = getattr(after.layer, "groups", 1)
        # Padding adds zeros after the shift would have been added, so a shift may only cross a convolution without any.
        if (np.any(shift != 0) and getattr(after.layer, "padding", "valid") != "valid") or groups != 1:
            return False
        after.weights["kernel"] = kernel * np.broadcast_to(factor, kernel.shape[-2:-1])[:, None]
        summed = kernel.sum(axis=tuple(range(kernel.ndim - 2)))
        added = np.broadcast_to(shift, kernel.shape[-2:-1]) @ summed
    else:
        return False
    if "bias" in after.weights or np.any(added != 0):
        after.weights["bias"] = after.weights.get("bias", 0.0) + added
    return True


def _fold_scaling(plan: Plan, step: Step) -> bool:
    """Folds one factor for all features, the usual `/ 255`, forwards, across steps that only move values.

    A factor per feature stays in the graph: features of different sizes inside one product would cost digits there, and
    more so once the product is quantized.
    """
    offset, scale = np.unique(step.weights["offset"]), np.unique(step.weights["scale"])
    if len(offset) != 1 or len(scale) != 1 or math.fabs(offset[0] / scale[0]) > SAFE_SHIFT:
        return False
    after = plan.only_reader(step.output)
    while after is not None and after.kind in {"Flatten", "Reshape", "Permute"}:
        after = plan.only_reader(after.output)
    return after is not None and _absorb(after, 1.0 / scale, -offset / scale)


def _fold_padding(plan: Plan, step: Step) -> None:
    """Leaves zeros around an image to the one convolution that reads it."""
    after, layer = plan.only_reader(step.output), step.layer
    if after is None or after.kind not in CONVOLUTIONS | DEPTHWISE or after.layer.padding != "valid":
        return
    if getattr(layer, "data_format", "channels_last") == after.layer.data_format:
        pairs = [layer.padding] if step.kind.endswith("1D") else layer.padding
        after.margins = tuple((int(begin), int(end)) for begin, end in pairs)
        plan.remove(step)


def _keep_axes(plan: Plan, step: Step) -> None:
    """Takes out the reshape that gives pooled channels their places back, as squeeze-and-excite has it."""
    after = plan.only_reader(step.output)
    channels_last = step.layer.data_format != "channels_first"
    if after is None or after.kind != "Reshape" or step.layer.keepdims or not channels_last:
        return
    places = int(step.kind[-2])
    if tuple(after.shape[1:]) == (*[1] * places, step.shape[-1]):
        step.keeps_axes, step.shape = True, after.shape
        plan.remove(after)
