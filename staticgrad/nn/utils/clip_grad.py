"""Clipping of gradients: one rule for the eager functions and for the static step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from staticgrad.eager.modes import no_grad
from staticgrad.eager.tensor import Tensor
from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import Node
from staticgrad.ops import public as sg
from staticgrad.ops.convert import cast


def total_norm(gradients: Sequence[Node], norm_type: float = 2.0) -> Node:
    """The norm of all gradients together, as of one vector; a scalar."""
    if norm_type == 2:
        squares = [sg.sum(sg.square(gradient)) for gradient in gradients]
        return sg.sqrt(_total(squares))
    norms = [sg.norm(gradient, norm_type) for gradient in gradients]
    return sg.norm(sg.stack([cast(norm, norms[0].dtype) for norm in norms]), norm_type)


def _total(terms: Sequence[Node]) -> Node:
    result = terms[0]
    for term in terms[1:]:
        result = result + cast(term, result.dtype)
    return result


def clip_coefficient(norm: Node, max_norm: float) -> Node:
    """What gradients are multiplied by: min(1, max_norm / (norm + 1e-6)); NaN for a NaN norm."""
    return sg.minimum(max_norm / (norm + 1e-6), 1.0)


def clipped(gradients: Sequence[Node], norm: Node, max_norm: float) -> list[Node]:
    """Gradients scaled so that their norm is at most ``max_norm``."""
    factor = clip_coefficient(norm, max_norm)
    if not factor.is_eager:
        factor.named("clip_factor")
    return [gradient * cast(factor, gradient.dtype) for gradient in gradients]


def _with_gradients(parameters: Any) -> list[Any]:
    given: list[Any] = [parameters] if isinstance(parameters, Node) else list(parameters)
    return [parameter for parameter in given if parameter.grad is not None]


def clip_grad_norm_(
    parameters: Parameter | Tensor | Iterable[Parameter | Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the ``grad`` of parameters in place, so that their norm together is at most ``max_norm``.

    Args:
        parameters: parameters or tensors; those without a gradient do not count.
        max_norm: the largest norm.
        norm_type: 2 unless told; inf for the largest absolute value.
        error_if_nonfinite: raise where the norm is NaN or inf, before anything is scaled.

    Returns:
        The norm before clipping, a tensor without axes.

    Raises:
        RuntimeError: for a norm that is not finite, if asked for.
    """
    owners = _with_gradients(parameters)
    if not owners:
        return Tensor(np.array(0.0, np.float32))
    with no_grad():
        gradients = [owner.grad for owner in owners]
        norm = total_norm(gradients, float(norm_type))
        if error_if_nonfinite and not math.isfinite(norm.item()):  # type: ignore[attr-defined]
            raise RuntimeError(nonfinite_message(float(norm_type), norm.item()))  # type: ignore
        for gradient, new in zip(gradients, clipped(gradients, norm, float(max_norm)), strict=True):
            gradient.copy_(new)
    return norm  # type: ignore[return-value]


def nonfinite_message(norm_type: float, norm: float) -> str:
    """What is said where gradients are not finite."""
    return (
        f"the total norm of order {norm_type} for gradients is {norm}, which is not finite, so it "
        "cannot be clipped; to scale by it anyway, set error_if_nonfinite=False"
    )


def clip_grad_value_(
    parameters: Parameter | Tensor | Iterable[Parameter | Tensor], clip_value: float
) -> None:
    """Hold every element of the ``grad`` of parameters in [-clip_value, clip_value], in place."""
    with no_grad():
        for owner in _with_gradients(parameters):
            owner.grad.copy_(sg.clip(owner.grad, -float(clip_value), float(clip_value)))


__all__ = ["clip_coefficient", "clip_grad_norm_", "clip_grad_value_", "clipped", "total_norm"]
