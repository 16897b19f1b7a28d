"""Rules by which TensorFlow's vectorizer maps operations over members, in fewer operations than its own.

Its own rules compute shapes and axes in the graph. Where they are known beforehand they are constants here, each made
once: a step of an MLP of ten layers with batch normalization then takes two thirds of the operations, all of which
Python makes one by one. The values are the same.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops.parallel_for import pfor

Rule = Callable[[Any], Any]

_rules = pfor._pfor_converter_registry
_REDUCTIONS = {
    "Sum": tf.raw_ops.Sum,
    "Prod": tf.raw_ops.Prod,
    "Max": tf.raw_ops.Max,
    "Min": tf.raw_ops.Min,
    "Mean": tf.raw_ops.Mean,
    "All": tf.raw_ops.All,
    "Any": tf.raw_ops.Any,
    "EuclideanNorm": tf.raw_ops.EuclideanNorm,
}


class _UnknownError(Exception):
    """Something is not known before the program runs."""


def add_rules() -> None:
    """Adds the rules to TensorFlow's, whose own stay for what they do not cover."""
    own = {"Reshape": _reshape, "StridedSlice": _strided_slice, "BiasAddGrad": _bias_gradient, "Bitcast": _bitcast}
    own |= {"ExpandDims": _expand_dims, "Tile": _tile, **dict.fromkeys(_REDUCTIONS, _reduce)}
    for operation, rule in own.items():
        _rules[operation] = _either(rule, _rules.get(operation))


def _either(rule: Rule, otherwise: Rule | None) -> Rule:
    def mapped(given: Any) -> Any:
        try:
            return pfor.wrap(rule(given), True)
        except _UnknownError:
            if otherwise is None:
                raise
            return otherwise(given)

    return mapped


def _constant(given: Any, value: Any, dtype: Any = tf.int32) -> tf.Tensor:
    array = np.asarray(value, dtype.as_numpy_dtype)
    known = given.pfor.__dict__.setdefault("kerasdl_constants", {})
    key = (array.shape, array.dtype.str, array.tobytes())
    if key not in known:
        # What one operation waits for is nothing that others would have to wait for.
        with tf.control_dependencies(None):
            known[key] = tf.constant(array)
    return known[key]


def _known(given: Any, number: int) -> np.ndarray:
    """Returns the value of an argument that is the same for all members."""
    value = tf.get_static_value(given.unstacked_input(number))
    if value is None:
        raise _UnknownError
    return np.asarray(value)


def _members(given: Any) -> int:
    count = tf.get_static_value(given.pfor.loop_len_vector)
    if count is None:
        raise _UnknownError
    return int(count[0])


def _further(axes: np.ndarray) -> np.ndarray:
    """Returns axes of a member as those of the stack."""
    return np.where(axes >= 0, axes + 1, axes)


def _reshape(given: Any) -> tf.Tensor:
    shape = [_members(given), *_known(given, 1)]
    return tf.raw_ops.Reshape(tensor=given.stacked_input(0), shape=_constant(given, shape))


def _strided_slice(given: Any) -> tf.Tensor:
    begin, end, strides = (_known(given, number) for number in (1, 2, 3))
    masks = {name: given.get_attr(name) << 1 for name in ("ellipsis_mask", "new_axis_mask", "shrink_axis_mask")}
    masks |= {name: given.get_attr(name) << 1 | 1 for name in ("begin_mask", "end_mask")}
    dtype = tf.as_dtype(begin.dtype)
    return tf.raw_ops.StridedSlice(
        input=given.stacked_input(0),
        begin=_constant(given, [0, *begin], dtype),
        end=_constant(given, [0, *end], dtype),
        strides=_constant(given, [1, *strides], dtype),
        **masks,
    )


def _reduce(given: Any) -> tf.Tensor:
    reduced = _REDUCTIONS[given.op_type]
    axes = _constant(given, _further(_known(given, 1)))
    return reduced(input=given.stacked_input(0), axis=axes, keep_dims=given.get_attr("keep_dims"))


def _expand_dims(given: Any) -> tf.Tensor:
    return tf.raw_ops.ExpandDims(input=given.stacked_input(0), axis=_constant(given, _further(_known(given, 1))))


def _tile(given: Any) -> tf.Tensor:
    return tf.raw_ops.Tile(input=given.stacked_input(0), multiples=_constant(given, [1, *_known(given, 1)]))


def _bias_gradient(given: Any) -> tf.Tensor:
    gradient = given.stacked_input(0)
    if gradient.shape.rank is None or given.get_attr("data_format") == b"NCHW":
        raise _UnknownError
    axes = _constant(given, range(1, gradient.shape.rank - 1))
    return tf.raw_ops.Sum(input=gradient, axis=axes, keep_dims=False)


def _bitcast(given: Any) -> tf.Tensor:
    """Keras' argmax compares bit patterns; TensorFlow has no rule for reading bits as another type."""
    return tf.bitcast(given.stacked_input(0), given.get_attr("type"))
