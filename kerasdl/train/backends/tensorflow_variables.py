"""Variables of TensorFlow, of which a model of many layers has a thousand."""

from contextlib import AbstractContextManager
from typing import Any

import keras
from tensorflow.python.ops import gen_resource_variable_ops

from kerasdl.train.backends.substitution import Substitution

_var_handle_op = gen_resource_variable_ops.var_handle_op
_handles = Substitution(gen_resource_variable_ops, "var_handle_op")


def quick_variables() -> AbstractContextManager[None]:
    """Makes variables whose handles have no name, which only TensorFlow's own errors tell.

    TensorFlow makes a kernel for each name and keeps it for as long as the process lives: half of the time that a
    model takes to be built.
    """
    return _handles.by({"var_handle_op": _nameless})


def _nameless(*arguments: Any, **options: Any) -> Any:
    return _var_handle_op(*arguments, **{name: value for name, value in options.items() if name != "debug_name"})


def read(variable: keras.Variable) -> Any:
    """Returns a variable's value as a NumPy array, in a fifth of the time in which Keras does."""
    value = variable.value
    return gen_resource_variable_ops.read_variable_op(value.handle, value.dtype).numpy()
