"""Names what goes into a file and what comes out of it, and puts the scaling in front of a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from kerasdl.export.graph.plan import is_graph

if TYPE_CHECKING:
    from kerasdl.data.dataset import Scaling
    from kerasdl.export.target import Target

PROBABILITIES = {"softmax", "sigmoid"}


@dataclass(frozen=True)
class Ends:
    """The inputs and outputs of a file.

    Attributes:
        inputs: Their names, in order.
        outputs: Their names, in order.
        dynamic_batch: Whether it takes any number of rows; else one.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic_batch: bool

    @property
    def probabilities(self) -> bool:
        """Whether the one output holds probabilities."""
        return self.outputs == ("probabilities",)

    def as_dict(self) -> dict[str, Any]:
        """Returns the fields as values that JSON can hold."""
        return asdict(self)


def name_ends(model: Any, target: "Target", inputs: Sequence[str], outputs: int) -> Ends:
    """Names the inputs and outputs of a model.

    Args:
        model: The Keras model.
        target: The names for a single input and output.
        inputs: The Keras names of its inputs.
        outputs: How many outputs it has.

    Returns:
        The names: the target's for a single one, else Keras' own.
    """
    if outputs == 1:
        automatic = "probabilities" if _ends_in_probabilities(model) else "outputs"
        leaving: Sequence[str] = [automatic if target.output == "auto" else target.output]
    else:
        own = list(getattr(model, "output_names", []))
        leaving = own if len(set(own)) == outputs else [f"output_{place}" for place in range(outputs)]
    entering = [target.input] if len(inputs) == 1 else inputs
    return Ends(tuple(entering), tuple(leaving), target.dynamic_batch)


def _ends_in_probabilities(model: Any) -> bool:
    layers = [model.outputs[0]._keras_history[0]] if is_graph(model) else getattr(model, "layers", [])
    if not layers:
        return False
    last = layers[-1]
    if getattr(last, "layers", None):
        return _ends_in_probabilities(last)
    return (
        type(last).__name__ == "Softmax" or getattr(getattr(last, "activation", None), "__name__", "") in PROBABILITIES
    )


def with_scaling(model: Any, scaling: "Scaling | None", ends: Ends) -> Any:
    """Puts `(x - offset) / scale` in front of a Keras model, as layers of Keras' own.

    Args:
        model: The Keras model, on the running backend.
        scaling: How raw features become what the model sees; `None` for not at all.
        ends: The name of the input, and whether it takes any number of rows.

    Returns:
        A Keras model that takes raw features and shares the weights; a model of several inputs as it is.
    """
    import keras

    from kerasdl.export.samples import input_specifications

    specifications = input_specifications(model)
    if len(specifications) != 1:
        return model
    _, shape, dtype = specifications[0]
    entry = keras.Input(batch_shape=(None if ends.dynamic_batch else 1, *shape[1:]), dtype=dtype, name=ends.inputs[0])
    inside = entry
    if scaling is not None:
        # Twice, so that the offset is taken off before anything is multiplied: the difference of two large products
        # would lose digits.
        names = ("scaling_offset", "scaling_scale")
        inside = keras.layers.Rescaling(1.0, (-scaling.offset).tolist(), name=names[0], dtype="float32")(inside)
        inside = keras.layers.Rescaling((1.0 / scaling.scale).tolist(), name=names[1], dtype="float32")(inside)
    return keras.Model(entry, model(inside), name=model.name)
