"""Losses as functions, for nodes and eager tensors alike: PyTorch's formulas and reductions."""

from __future__ import annotations

import math
from typing import Any

from staticgrad.graph.dims import format_shape
from staticgrad.graph.leaves import size
from staticgrad.graph.node import GraphError, Node, located
from staticgrad.ops import public as sg
from staticgrad.ops.convert import as_node, broadcast_together, cast, common_dtype, float_dtype
from staticgrad.ops.indexing import as_index, take_along_axis
from staticgrad.ops.loss_terms import bce_term, huber_term, smooth_l1_term
from staticgrad.ops.losses import REDUCTIONS, reduced

mse_loss = sg.mse_loss


def _pair(name: str, prediction: Any, target: Any) -> list[Node]:
    """Two floating-point nodes of one shape."""
    dtype = float_dtype(common_dtype([prediction, target]))
    first, second = (cast(as_node(value, dtype), dtype) for value in (prediction, target))
    if first.shape != second.shape and first.ndim and second.ndim:
        raise located(
            ValueError(f"{format_shape(first.shape)} and {format_shape(second.shape)} differ"),
            name, [first, second],
        )  # fmt: skip
    return broadcast_together(name, [first, second])


def l1_loss(prediction: Any, target: Any, reduction: str = "mean") -> Node:
    """abs(prediction - target), reduced by "mean", "sum" or "none"."""
    x, t = _pair("l1_loss", prediction, target)
    return reduced(sg.abs(x - t), reduction)


def smooth_l1_loss(
    prediction: Any, target: Any, reduction: str = "mean", beta: float = 1.0
) -> Node:
    """d**2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2, with d = prediction - target.

    Raises ValueError for a negative ``beta``; beta 0 is ``l1_loss``.
    """
    if beta < 0:
        raise ValueError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    if beta == 0:
        return l1_loss(prediction, target, reduction)
    x, t = _pair("smooth_l1_loss", prediction, target)
    return reduced(smooth_l1_term(x - t, beta=float(beta)), reduction)


def huber_loss(prediction: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Node:
    """d**2 / 2 where abs(d) <= delta, else delta (abs(d) - delta / 2), d = prediction - target.

    Raises ValueError unless ``delta`` is positive.
    """
    if delta <= 0:
        raise ValueError(f"huber_loss does not support non-positive values for delta, got {delta}")
    x, t = _pair("huber_loss", prediction, target)
    return reduced(huber_term(x - t, delta=float(delta)), reduction)


def _weighted(losses: Node, weight: Any) -> Node:
    return losses if weight is None else losses * weight


def binary_cross_entropy(
    prediction: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Node:
    """-(t log(x) + (1 - t) log(1 - x)) of probabilities x; logarithms are held at -100 or above."""
    x, t = _pair("binary_cross_entropy", prediction, target)
    return reduced(_weighted(bce_term(x, t), weight), reduction)


def binary_cross_entropy_with_logits(
    prediction: Any,
    target: Any,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
) -> Node:
    """``binary_cross_entropy`` of sigmoid(prediction), without overflow; ``pos_weight`` multiplies
    the terms of positive targets."""
    x, t = _pair("binary_cross_entropy_with_logits", prediction, target)
    factor: Any = 1.0 if pos_weight is None else 1.0 + (as_node(pos_weight, x.dtype) - 1.0) * t
    losses = (1.0 - t) * x + factor * sg.softplus(-x)
    return reduced(_weighted(losses, weight), reduction)


def kl_div(
    prediction: Any, target: Any, reduction: str = "mean", log_target: bool = False
) -> Node:
    """t (log(t) - x) for log-probabilities x; "batchmean" divides the sum by the first axis."""
    x, t = _pair("kl_div", prediction, target)
    if log_target:
        losses = sg.exp(t) * (t - x)
    else:
        # 0 log(0) is 0
        positive = t > 0
        losses = sg.where(positive, t * sg.log(sg.where(positive, t, 1.0)), 0.0) - t * x
    if reduction == "batchmean":
        return reduced(losses, "sum") / cast(size(x.shape[0]), x.dtype)
    return reduced(losses, reduction)


def poisson_nll_loss(
    prediction: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Node:
    """exp(x) - t x, or x - t log(x + eps) without ``log_input``; ``full`` adds Stirling's formula for
    log(t!) where t > 1."""
    x, t = _pair("poisson_nll_loss", prediction, target)
    losses = sg.exp(x) - t * x if log_input else x - t * sg.log(x + eps)
    if full:
        large = t > 1
        safe = sg.where(large, t, 1.0)
        stirling = safe * sg.log(safe) - safe + 0.5 * sg.log(2 * math.pi * safe)
        losses = losses + sg.where(large, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    prediction: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Node:
    """(log(v) + (x - t)**2 / v) / 2 with v = max(var, eps), which gradients pass through unchanged;
    ``full`` adds log(2 pi) / 2. ``var`` has the shape of ``prediction``, or 1 for its last axis."""
    x, t = _pair("gaussian_nll_loss", prediction, target)
    given = as_node(var, x.dtype)
    if given.ndim == x.ndim - 1 and given.shape == x.shape[:-1]:
        given = sg.expand_dims(given, axis=-1)
    v = given + sg.stop_gradient(sg.maximum(given, eps) - given)
    losses = 0.5 * (sg.log(v) + sg.square(x - t) / v)
    if full:
        losses = losses + 0.5 * math.log(2 * math.pi)
    return reduced(losses, reduction)


def _classes_last(node: Node) -> Node:
    """(batch, classes, ...) with the classes as the last axis."""
    if node.ndim <= 2:
        return node
    return sg.permute_dims(node, (0, *range(2, node.ndim), 1))


def nll_loss(
    log_probabilities: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Node:
    """-weight[t] x[t] for the class t of each target; the mean divides by the summed weights.

    Shapes: (batch, classes, ...) or (classes,), and (batch, ...) or () of integers. Targets equal to
    ``ignore_index`` do not count; others out of range raise IndexError at the call.
    """
    scores = _classes_last(as_node(log_probabilities))
    labels = _labels("nll_loss", scores, target)
    valid = labels != ignore_index
    safe = sg.where(valid, labels, 0)
    column = sg.expand_dims(safe, axis=-1)
    picked = sg.squeeze(take_along_axis(scores, column, axis=-1, strict=True), axis=-1)
    return _mean_of_valid(-picked, valid, _class_weights(weight, safe, valid, scores), reduction)


def _labels(name: str, scores: Node, target: Any) -> Node:
    labels = as_node(target)
    if labels.dtype.kind != "i":
        raise located(
            TypeError(f"class labels must be integers, got {labels.dtype}"), name, [scores, labels]
        )
    if scores.ndim == 0 or scores.shape[:-1] != labels.shape:
        raise located(
            ValueError(
                f"labels of shape {format_shape(labels.shape)} do not fit: expected "
                f"{format_shape(scores.shape[:-1])}"
            ),
            name, [scores, labels],
        )  # fmt: skip
    return as_index(labels)


def _class_weights(weight: Any, safe: Node, valid: Node, scores: Node) -> Node:
    """The weight of each target: its class's, and zero where it is ignored."""
    if weight is None:
        return cast(valid, scores.dtype)
    each = sg.take(cast(as_node(weight, scores.dtype), scores.dtype), safe, axis=0)
    return sg.where(valid, each, 0.0)


def _mean_of_valid(losses: Node, valid: Node, weights: Node, reduction: str) -> Node:
    if reduction not in REDUCTIONS:
        raise GraphError(f"reduction must be one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    terms = sg.where(valid, losses * weights, 0.0)
    if reduction == "none":
        return terms
    return sg.sum(terms) / sg.sum(weights) if reduction == "mean" else sg.sum(terms)


def cross_entropy(
    logits: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Node:
    """The cross entropy of softmax(logits) against class labels, or against probabilities.

    Args:
        logits: shape (batch, classes, ...), or (classes,).
        target: integers of shape (batch, ...), or probabilities in the shape of ``logits``.
        weight: of each class. ignore_index: labels that do not count.
        reduction: "mean" (over the targets' summed weights), "sum" or "none".
        label_smoothing: the share of each target that is spread over all classes.

    Raises:
        GraphError: where the shapes do not fit. IndexError, at the call: for labels out of range.
    """
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing must be between 0.0 and 1.0, got {label_smoothing}")
    scores = as_node(logits)
    scores = _classes_last(cast(scores, float_dtype(scores.dtype)))
    if as_node(target).type.is_float:
        return _soft_cross_entropy(scores, target, weight, reduction, label_smoothing)
    labels = _labels("cross_entropy", scores, target)
    valid = labels != ignore_index
    safe = sg.where(valid, labels, 0)
    weights = _class_weights(weight, safe, valid, scores)
    losses = sg.cross_entropy(scores, safe, reduction="none")
    if not label_smoothing:
        return _mean_of_valid(losses, valid, weights, reduction)
    classes = scores.shape[-1]
    assert isinstance(classes, int)
    every = -sg.log_softmax(scores, axis=-1)
    if weight is not None:
        every = every * as_node(weight, scores.dtype)
    smooth = sg.where(valid, sg.sum(every, axis=-1), 0.0)
    plain = _mean_of_valid(losses, valid, weights, "none" if reduction == "none" else "sum")
    if reduction != "none":
        smooth = sg.sum(smooth)
    total = (1 - label_smoothing) * plain + (label_smoothing / classes) * smooth
    return total / sg.sum(weights) if reduction == "mean" else total


def _soft_cross_entropy(
    scores: Node, target: Any, weight: Any, reduction: str, label_smoothing: float
) -> Node:
    probabilities = _classes_last(as_node(target, scores.dtype))
    scores, probabilities = _pair("cross_entropy", scores, probabilities)
    if label_smoothing:
        classes = scores.shape[-1]
        probabilities = probabilities * (1 - label_smoothing) + label_smoothing / classes
    terms = _weighted(-probabilities * sg.log_softmax(scores, axis=-1), weight)
    # the mean is over the targets, not over the classes
    return reduced(sg.sum(terms, axis=-1), reduction)


__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy",
    "gaussian_nll_loss", "huber_loss", "kl_div", "l1_loss", "mse_loss", "nll_loss",
    "poisson_nll_loss", "smooth_l1_loss",
]  # fmt: skip
