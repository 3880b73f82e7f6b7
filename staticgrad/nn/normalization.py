"""Layers that normalise."""

from __future__ import annotations

from typing import Any

import numpy as np

from staticgrad.graph.leaves import Parameter
from staticgrad.graph.node import GraphError, Node
from staticgrad.nn import functional as F
from staticgrad.nn.module import Module, store
from staticgrad.ops import public as sg
from staticgrad.ops.convert import as_node, cast


class _BatchNorm(Module):
    """(x - mean) / sqrt(var + eps) for each channel, axis 1, then weight and bias.

    In training, mean and (biased) variance are those of the batch, and the running statistics move:
    running = (1 - momentum) running + momentum batch, the variance unbiased; momentum None averages
    over all batches. In evaluation the running statistics count.

    Source: Ioffe and Szegedy, "Batch Normalization" (2015).
    """

    ranks: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = Parameter(np.ones(num_features, dtype)) if affine else None
        self.bias = Parameter(np.zeros(num_features, dtype)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, dtype) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0, "int64") if tracked else None)

    def forward(self, x: Any) -> Any:
        """The shape of ``x``. Raises GraphError where axis 1 has not ``num_features`` channels."""
        node = as_node(x)
        if node.ndim not in self.ranks or node.shape[1] != self.num_features:
            expected = " or ".join(str(rank) for rank in self.ranks)
            raise GraphError(
                f"{type(self).__name__}({self.num_features}): expected {expected} axes, the second of "
                f"{self.num_features} channels, got {node.type}"
            )
        axes = (0, *range(2, node.ndim))
        shape = (1, self.num_features, *(1,) * (node.ndim - 2))
        if not (self.training or not self.track_running_stats):
            mean = sg.reshape(self.running_mean, shape)
            scale = sg.reshape(sg.rsqrt(self.running_var + self.eps), shape)
            return self._affine((node - mean) * scale, shape)
        mean = sg.mean(node, axis=axes)
        centred = node - sg.reshape(mean, shape)
        variance = sg.mean(sg.square(centred), axis=axes)
        result = self._affine(centred * sg.reshape(sg.rsqrt(variance + self.eps), shape), shape)
        if self.training and self.track_running_stats:
            self._move(node, mean, axes, result)
        return result

    def _affine(self, x: Node, shape: tuple[int, ...]) -> Node:
        if not self.affine:
            return x
        return x * sg.reshape(self.weight, shape) + sg.reshape(self.bias, shape)

    def _move(self, x: Node, mean: Node, axes: tuple[int, ...], result: Node) -> None:
        count = self.num_batches_tracked + 1
        share: Any = self.momentum
        if share is None:
            share = cast(1.0 / sg.astype(count, "float64"), x.dtype)
        unbiased = sg.stop_gradient(sg.var(x, axis=axes))
        batch = sg.stop_gradient(mean)
        store(self.running_mean, (1.0 - share) * self.running_mean + share * batch, result)
        store(self.running_var, (1.0 - share) * self.running_var + share * unbiased, result)
        if not x.is_eager:
            store(self.num_batches_tracked, count, result)
        else:
            self.num_batches_tracked.value += 1

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (batch, channels) or (batch, channels, length).

    State: weight, bias, running_mean, running_var, each (channels,), and num_batches_tracked.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of x (batch, channels, height, width).

    State: weight, bias, running_mean, running_var, each (channels,), and num_batches_tracked.
    """

    ranks = (4,)


class LayerNorm(Module):
    """(x - mean) / sqrt(var + eps) over the last axes, then weight and bias of their shape.

    Source: Ba, Kiros and Hinton, "Layer Normalization" (2016).
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        single = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if single else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        shape = self.normalized_shape
        self.weight = Parameter(np.ones(shape, dtype)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(shape, dtype)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        """The shape of ``x``."""
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class RMSNorm(Module):
    """x / sqrt(mean(x**2) + eps) over the last axes, times weight; eps is the dtype's unless told.

    Source: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = "float32",
    ) -> None:
        super().__init__()
        single = isinstance(normalized_shape, int)
        self.normalized_shape = (normalized_shape,) if single else tuple(normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        ones = np.ones(self.normalized_shape, dtype)
        self.weight = Parameter(ones) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        """The shape of ``x``."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


__all__ = ["BatchNorm1d", "BatchNorm2d", "LayerNorm", "RMSNorm"]
