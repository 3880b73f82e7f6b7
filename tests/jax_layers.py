"""In JAX: convolutions, windows, pooling and loss terms, as the op table's samples call them."""

from __future__ import annotations

from typing import Any

import pytest

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")


def several(value: Any, rank: int) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank


def conv(rank: int) -> Any:
    def call(
        x: Any, w: Any, b: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1,
    ) -> Any:  # fmt: skip
        pads = padding.upper() if isinstance(padding, str) else [
            (p, p) for p in several(padding, rank)
        ]  # fmt: skip
        result = jax.lax.conv_general_dilated(
            x, w, several(stride, rank), pads, rhs_dilation=several(dilation, rank),
            feature_group_count=groups,
        )  # fmt: skip
        return result if b is None else result + b.reshape(-1, *(1,) * rank)

    return call


def windows(x: Any, sizes: Any, strides: Any = 1, dilations: Any = 1) -> Any:
    rank = len(sizes)
    lead = x.ndim - rank
    steps = zip(sizes, several(strides, rank), several(dilations, rank), strict=True)
    for axis, (size, stride, dilation) in enumerate(steps):
        count = (x.shape[lead + axis] - dilation * (size - 1) - 1) // stride + 1
        places = stride * jnp.arange(count)[:, None] + dilation * jnp.arange(size)
        x = jnp.moveaxis(jnp.take(x, places, axis=lead + axis), lead + axis + 1, -1)
    return x


def pool(rank: int, largest: bool) -> Any:
    def call(
        x: Any, size: Any, stride: Any = None, padding: Any = 0, count_include_pad: bool = True
    ) -> Any:
        sizes = several(size, rank)
        pads = [(0, 0)] * (x.ndim - rank) + [(p, p) for p in several(padding, rank)]
        strides = sizes if stride is None else several(stride, rank)
        axes = tuple(range(x.ndim, x.ndim + rank))

        def seen(array: Any, filled: float) -> Any:
            return windows(jnp.pad(array, pads, constant_values=filled), sizes, strides)

        if largest:
            return seen(x, -jnp.inf).max(axis=axes)
        total = seen(x, 0.0).sum(axis=axes)
        ones = jnp.ones_like(x)
        counted = jnp.pad(ones, pads, constant_values=float(count_include_pad))
        return total / windows(counted, sizes, strides).sum(axis=axes)

    return call


def bce(x: Any, y: Any) -> Any:
    return -(y * jnp.log(x) + (1 - y) * jnp.log1p(-x))


LAYERS = {
    "conv1d": conv(1),
    "conv2d": conv(2),
    "windows": windows,
    "max_pool1d": pool(1, True),
    "max_pool2d": pool(2, True),
    "avg_pool1d": pool(1, False),
    "avg_pool2d": pool(2, False),
    "hardtanh": lambda a: jnp.clip(a, -1, 1),
    "bce_term": bce,
    "huber_term": lambda a, delta=1.0: jnp.where(
        abs(a) <= delta, a**2 / 2, delta * (abs(a) - delta / 2)
    ),
    "smooth_l1_term": lambda a, beta=1.0: jnp.where(
        abs(a) < beta, a**2 / (2 * beta), abs(a) - beta / 2
    ),
}
