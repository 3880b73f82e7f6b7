"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from staticgrad.eager.modes import no_grad
from staticgrad.eager.tensor import lift
from staticgrad.graph.leaves import Parameter
from staticgrad.ops import public as sg


def parameters_to_vector(parameters: Iterable[Parameter]) -> Any:
    """The elements of all parameters in order, as one eager tensor through which gradients flow."""
    return sg.concat([sg.reshape(lift(parameter), (-1,)) for parameter in parameters])


def vector_to_parameters(vector: Any, parameters: Iterable[Parameter]) -> None:
    """Copy the elements of ``vector`` into the parameters, in order.

    Raises ValueError where their number differs; nothing has been changed then.
    """
    with no_grad():
        array = np.asarray(vector.detach() if hasattr(vector, "detach") else vector)
    owned = list(parameters)
    total = sum(parameter.value.size for parameter in owned)
    if array.shape != (total,):
        raise ValueError(f"a vector of {total} elements fits the parameters, got {array.shape}")
    position = 0
    for parameter in owned:
        count = parameter.value.size
        parameter.value[...] = array[position : position + count].reshape(parameter.value.shape)
        position += count


__all__ = ["parameters_to_vector", "vector_to_parameters"]
