"""Softmax and losses, with the pullbacks that textbooks give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from staticgrad.graph.dims import format_shape
from staticgrad.graph.node import GraphError, GraphTypeError, Node, located, make_node
from staticgrad.ops import scalar
from staticgrad.ops.composite import composite
from staticgrad.ops.convert import as_node, broadcast_together, cast, common_dtype, float_dtype
from staticgrad.ops.indexing import as_index, one_hot, take_along_axis
from staticgrad.ops.movement import reshape_to
from staticgrad.ops.reduction import max, reduce_sum
from staticgrad.ops.reduction_rules import spread
from staticgrad.ops.statistics import mean, over_axes
from staticgrad.ops.table import sample

REDUCTIONS = ("mean", "sum", "none")


def _largest(x: Node, axes: tuple[int, ...]) -> Node:
    return scalar.stop_gradient(max(x, axis=axes))


def _softmax(x: Node, axes: tuple[int, ...]) -> Node:
    exponential = scalar.exp(x - spread(_largest(x, axes), x, axes))
    return exponential / spread(reduce_sum(exponential, axes), x, axes)


def _softmax_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    axes = node.attrs["axes"]
    inner = reduce_sum(adjoint * node, axes)
    return [node * (adjoint - spread(inner, node, axes))]


def _log_softmax(x: Node, axes: tuple[int, ...]) -> Node:
    shifted = x - spread(_largest(x, axes), x, axes)
    return shifted - spread(scalar.log(reduce_sum(scalar.exp(shifted), axes)), x, axes)


def _log_softmax_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    (x,), axes = node.inputs, node.attrs["axes"]
    probabilities = make_node(SOFTMAX, [x], {"axes": axes})
    return [adjoint - probabilities * spread(reduce_sum(adjoint, axes), x, axes)]


def _cross_entropy(logits: Node, labels: Node) -> Node:
    """logsumexp(logits) - logits[label], for each row."""
    axis = logits.ndim - 1
    column = reshape_to(labels, (*labels.shape, 1))
    picked = take_along_axis(logits, column, axis=axis, strict=True)
    largest = _largest(logits, (axis,))
    exponential = scalar.exp(logits - spread(largest, logits, (axis,)))
    normalizer = scalar.log(reduce_sum(exponential, (axis,))) + largest
    return normalizer - reshape_to(picked, labels.shape)


def _cross_entropy_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    """(softmax(logits) - one_hot(labels)) times the adjoint of each row."""
    logits, labels = node.inputs
    axes = (logits.ndim - 1,)
    probabilities = make_node(SOFTMAX, [logits], {"axes": axes})
    classes = logits.shape[-1]
    assert isinstance(classes, int)
    target = one_hot(labels, classes, logits.dtype)
    return [(probabilities - target) * spread(adjoint, logits, axes), None]


SOFTMAX = composite("softmax", _softmax, _softmax_pullback)
LOG_SOFTMAX = composite("log_softmax", _log_softmax, _log_softmax_pullback)
CROSS_ENTROPY = composite("cross_entropy", _cross_entropy, _cross_entropy_pullback)


def softmax(x: Any, axis: int = -1) -> Node:
    """exp(x) / sum(exp(x)) along ``axis``, without overflow."""
    return over_axes(SOFTMAX, x, axis, False)


def log_softmax(x: Any, axis: int = -1) -> Node:
    """The logarithm of ``softmax(x, axis)``, without overflow or underflow."""
    return over_axes(LOG_SOFTMAX, x, axis, False)


def cross_entropy(logits: Any, labels: Any, reduction: str = "mean") -> Node:
    """The cross entropy of softmax(logits) against integer class labels.

    Args:
        logits: shape (..., C), floating-point; C must be an integer.
        labels: shape (...), integers 0 to C - 1. At the call, others raise IndexError.
        reduction: "mean" over all labels, "sum", or "none" for one loss per label.

    Raises:
        GraphError: where the shapes do not fit. GraphTypeError: for labels that are no integers.
    """
    scores = as_node(logits)
    scores = cast(scores, float_dtype(scores.dtype))
    target = as_node(labels)
    if target.dtype.kind != "i":
        raise located(
            GraphTypeError(f"labels must be integers, got {target.dtype}"),
            "cross_entropy", [scores, target],
        )  # fmt: skip
    if scores.ndim == 0 or scores.shape[:-1] != target.shape:
        raise located(
            ValueError(
                f"labels of shape {format_shape(target.shape)} do not fit logits of shape "
                f"{format_shape(scores.shape)}: expected {format_shape(scores.shape[:-1])}"
            ),
            "cross_entropy", [scores, target],
        )  # fmt: skip
    if not isinstance(scores.shape[-1], int):
        raise located(ValueError("the number of classes must be an integer, not a named dimension"),
                      "cross_entropy", [scores, target])  # fmt: skip
    return reduced(make_node(CROSS_ENTROPY, [scores, as_index(target)]), reduction)


def mse_loss(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """The squared difference, its mean over all elements, or its sum.

    Raises GraphError where the shapes differ: a target that broadcasts is a common mistake.
    """
    dtype = float_dtype(common_dtype([prediction, target]))
    first, second = (cast(as_node(value, dtype), dtype) for value in (prediction, target))
    if first.shape != second.shape and second.ndim and first.ndim:
        raise located(
            ValueError(f"{format_shape(first.shape)} and {format_shape(second.shape)} differ"),
            "mse_loss", [first, second],
        )  # fmt: skip
    first, second = broadcast_together("mse_loss", [first, second])
    return reduced(scalar.square(first - second), reduction)


def reduced(losses: Node, reduction: str) -> Node:
    """The mean or the sum of all losses, or with "none" the losses themselves."""
    if reduction not in REDUCTIONS:
        raise GraphError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if reduction == "none":
        return losses
    axes = tuple(range(losses.ndim))
    return mean(losses) if reduction == "mean" else reduce_sum(losses, axes)


sample("softmax", softmax, (3, 4))
sample("softmax", lambda a: softmax(a, axis=0), (3, 4))
sample("log_softmax", log_softmax, (3, 4))
sample("cross_entropy", lambda a: cross_entropy(a, [1, 0, 3]), (3, 4))
sample("cross_entropy", lambda a: cross_entropy(a, [[1, 0], [3, 2]], reduction="none"), (2, 2, 4))
sample("cross_entropy", lambda a: cross_entropy(a, [1, 0, 3], reduction="sum"), (3, 4))
sample("mse_loss", mse_loss, (3, 4), (3, 4))
sample("mse_loss", lambda a, b: mse_loss(a, b, reduction="none"), (3, 4), (3, 4))
