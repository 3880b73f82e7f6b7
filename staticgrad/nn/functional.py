"""Layers, activations and losses as functions, for nodes and eager tensors alike: PyTorch's names,
arguments and defaults."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import GraphError, Node
from staticgrad.nn.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    poisson_nll_loss,
    smooth_l1_loss,
)
from staticgrad.ops import public as sg
from staticgrad.ops.activations import hardtanh
from staticgrad.ops.advice import missing_names
from staticgrad.ops.convert import as_node, normalize_axis
from staticgrad.ops.public import (
    avg_pool1d,
    avg_pool2d,
    conv1d,
    conv2d,
    elu,
    gelu,
    leaky_relu,
    max_pool1d,
    max_pool2d,
    one_hot,
    relu,
    selu,
    sigmoid,
    silu,
    tanh,
)
from staticgrad.ops.random_numbers import uniform_like
from staticgrad.random import shared_state

logsigmoid = sg.log_sigmoid


def linear(x: Any, weight: Any, bias: Any = None) -> Node:
    """x @ weight.T + bias. Shapes: (..., in), (out, in), (out,) -> (..., out)."""
    result = sg.matmul(x, weight.T)
    return result if bias is None else result + bias


def bilinear(x1: Any, x2: Any, weight: Any, bias: Any = None) -> Node:
    """x1 @ weight[k] @ x2 + bias[k]. Shapes: (..., i), (..., j), (out, i, j), (out,) -> (..., out)."""
    partial = sg.tensordot(x1, weight, axes=([-1], [1]))
    result = sg.sum(partial * sg.expand_dims(as_node(x2), axis=-2), axis=-1)
    return result if bias is None else result + bias


def embedding(x: Any, weight: Any, padding_idx: int | None = None) -> Node:
    """Rows of ``weight``; no gradient reaches row ``padding_idx``."""
    index = as_node(x)
    rows = sg.take(weight, index, axis=0)
    if padding_idx is None:
        return rows
    padding = sg.expand_dims(sg.equal(index, padding_idx), axis=-1)
    return sg.where(padding, sg.stop_gradient(rows), rows)


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Node:
    """The axes ``start_dim`` to ``end_dim`` as one."""
    node = as_node(x)
    if node.ndim == 0:
        return sg.reshape(node, (1,))
    first, last = normalize_axis(start_dim, node.ndim), normalize_axis(end_dim, node.ndim)
    if first > last:
        raise GraphError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    merged: Any = 1
    for dim in node.shape[first : last + 1]:
        merged = merged * dim
    return sg.reshape(node, (*node.shape[:first], merged, *node.shape[last + 1 :]))


def dropout(x: Any, p: float = 0.5, training: bool = True, state: Parameter | None = None) -> Node:
    """In training, zeros with probability ``p`` and x / (1 - p) elsewhere; else ``x``.

    ``state`` holds a seed and a count of draws; without one, ``sg.manual_seed`` sets it.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    node = as_node(x)
    if not training or p == 0:
        return node
    if p == 1:
        return node * 0.0
    kept = uniform_like(node, shared_state if state is None else state) >= p
    return sg.where(kept, node * (1 / (1 - p)), 0.0)


def softmax(x: Any, dim: int = -1) -> Node:
    """exp(x) / sum(exp(x)) along ``dim``."""
    return sg.softmax(x, axis=dim)


def log_softmax(x: Any, dim: int = -1) -> Node:
    """The logarithm of ``softmax``."""
    return sg.log_softmax(x, axis=dim)


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Node:
    """log(1 + exp(beta x)) / beta; ``x`` itself where beta x > threshold, as in PyTorch."""
    node = as_node(x)
    scaled = node if beta == 1 else node * beta
    smooth = sg.softplus(scaled)
    return sg.where(scaled > threshold, node, smooth if beta == 1 else smooth / beta)


def relu6(x: Any) -> Node:
    """min(max(x, 0), 6); the derivative at both bounds is 0."""
    return hardtanh(x, min_val=0.0, max_val=6.0)


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Node:
    """(x - mean) / sqrt(var + eps) over the last axes, then weight and bias.

    Raises GraphError where the last axes are not ``normalized_shape``.
    """
    node = as_node(x)
    axes = _last_axes(node, normalized_shape, "layer_norm")
    centred = node - sg.mean(node, axis=axes, keepdims=True)
    variance = sg.mean(sg.square(centred), axis=axes, keepdims=True)
    result = centred * sg.rsqrt(variance + eps)
    result = result if weight is None else result * weight
    return result if bias is None else result + bias


def rms_norm(x: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Node:
    """x / sqrt(mean(x**2) + eps) over the last axes, times weight; eps is the dtype's unless told."""
    node = as_node(x)
    axes = _last_axes(node, normalized_shape, "rms_norm")
    small = float(np.finfo(node.dtype).eps) if eps is None else eps
    result = node * sg.rsqrt(sg.mean(sg.square(node), axis=axes, keepdims=True) + small)
    return result if weight is None else result * weight


def _last_axes(node: Node, normalized_shape: Any, name: str) -> tuple[int, ...]:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if node.ndim < len(shape) or tuple(node.shape[-len(shape) :]) != shape:
        raise GraphError(f"{name}: expected the last axes to be {shape}, got {node.type}")
    return tuple(range(node.ndim - len(shape), node.ndim))


__all__ = [
    "avg_pool1d", "avg_pool2d", "bilinear", "binary_cross_entropy",
    "binary_cross_entropy_with_logits", "conv1d", "conv2d", "cross_entropy", "dropout", "elu",
    "embedding", "flatten", "gaussian_nll_loss", "gelu", "hardtanh", "huber_loss", "kl_div",
    "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax", "logsigmoid", "max_pool1d",
    "max_pool2d", "mse_loss", "nll_loss", "one_hot", "poisson_nll_loss", "relu", "relu6", "rms_norm",
    "selu", "sigmoid", "silu", "smooth_l1_loss", "softmax", "softplus", "tanh",
]  # fmt: skip

__getattr__ = missing_names(__name__)
