"""Means, variances, norms, logsumexp, and the positions of extrema."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import canonical
from staticgrad.graph.leaves import size
from staticgrad.graph.node import GraphError, Node, located, make_node
from staticgrad.ops import scalar
from staticgrad.ops.composite import Composite, composite
from staticgrad.ops.convert import (
    as_node,
    cast,
    float_dtype,
    insert_axes,
    normalize_axes,
    total,
)
from staticgrad.ops.diagonals import iota
from staticgrad.ops.movement import reshape_to
from staticgrad.ops.reduction import max, min, reduce_sum
from staticgrad.ops.reduction_rules import spread
from staticgrad.ops.table import method, sample


def count(node: Node, axes: tuple[int, ...]) -> Node:
    """The number of elements along ``axes``, in the dtype of ``node``."""
    return cast(size(total(node.shape, axes)), node.dtype)


def _mean(x: Node, axes: tuple[int, ...]) -> Node:
    return scalar.divide(reduce_sum(x, axes), count(x, axes))


def _mean_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    (source,), axes = node.inputs, node.attrs["axes"]
    return [spread(scalar.divide(adjoint, count(source, axes)), source, axes)]


def _var(x: Node, axes: tuple[int, ...], correction: float) -> Node:
    centered = x - spread(make_node(MEAN, [x], {"axes": axes}), x, axes)
    degrees = count(x, axes) - correction if correction else count(x, axes)
    return scalar.divide(reduce_sum(scalar.square(centered), axes), degrees)


def _var_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    (x,), axes, correction = node.inputs, node.attrs["axes"], node.attrs["correction"]
    centered = x - spread(make_node(MEAN, [x], {"axes": axes}), x, axes)
    degrees = count(x, axes) - correction if correction else count(x, axes)
    return [spread(2.0 * adjoint / degrees, x, axes) * centered]


def _logsumexp(x: Node, axes: tuple[int, ...]) -> Node:
    """The maximum is taken out first; where it is infinite, nothing is, since inf - inf is NaN."""
    shift = largest_finite(x, axes)
    total = reduce_sum(scalar.exp(x - spread(shift, x, axes)), axes)
    return scalar.log(total) + shift


def largest_finite(x: Node, axes: tuple[int, ...]) -> Node:
    largest = max(x, axis=axes) if axes else x
    shift = scalar.where(scalar.less(scalar.abs(largest), math.inf), largest, 0.0)
    return scalar.stop_gradient(shift)


def _logsumexp_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    (x,), axes = node.inputs, node.attrs["axes"]
    share = scalar.exp(x - spread(node, x, axes))
    return [spread(adjoint, x, axes) * share]


def _norm(x: Node, axes: tuple[int, ...], ord: float) -> Node:
    if ord == 2:
        return scalar.sqrt(reduce_sum(scalar.square(x), axes))
    if ord == 1:
        return reduce_sum(scalar.abs(x), axes)
    if ord == math.inf:
        return max(scalar.abs(x), axis=axes)
    if ord == -math.inf:
        return min(scalar.abs(x), axis=axes)
    return scalar.pow(reduce_sum(scalar.pow(scalar.abs(x), ord), axes), 1 / ord)


def _norm_pullback(node: Node, adjoint: Node) -> Sequence[Node | None]:
    """The derivative at the origin is taken as 0."""
    (x,), axes, ord = node.inputs, node.attrs["axes"], node.attrs["ord"]
    if ord == 2:
        slope = scalar.where(scalar.equal(node, 0.0), 0.0, adjoint / node)
        return [spread(slope, x, axes) * x]
    if ord == 1:
        return [spread(adjoint, x, axes) * scalar.sign(x)]
    if ord in (math.inf, -math.inf):
        # the elements that are the norm share the adjoint, as those of max do
        chosen = scalar.equal(scalar.abs(x), spread(node, x, axes))
        count = reduce_sum(cast(chosen, x.dtype), axes)
        share = scalar.where(chosen, spread(adjoint / count, x, axes), 0.0)
        return [share * scalar.sign(x)]
    slope = scalar.where(scalar.equal(node, 0.0), 0.0, adjoint * scalar.pow(node, 1 - ord))
    power = scalar.pow(scalar.abs(x), ord - 1)
    local = scalar.where(scalar.equal(x, 0.0), 0.0, scalar.sign(x) * power)
    return [spread(slope, x, axes) * local]


def _position(x: Node, axes: tuple[int, ...], largest: bool) -> Node:
    """The first position of the extremum; NaN counts as one, as in NumPy."""
    (axis,) = axes
    extremum = max(x, axis=axis) if largest else min(x, axis=axis)
    match = scalar.equal(x, spread(extremum, x, axes))
    if x.type.is_float:
        match = scalar.logical_or(match, scalar.isnan(x))
    length = cast(size(x.shape[axis]), np.dtype("int64"))
    return min(scalar.where(match, iota(x.shape, axis), length), axis=axis)


def _no_adjoint(node: Node, adjoint: Node) -> Sequence[Node | None]:
    return [None]


MEAN = composite("mean", _mean, _mean_pullback)
VAR = composite("var", _var, _var_pullback, sign="Var", usual={"correction": 1})
LOGSUMEXP = composite("logsumexp", _logsumexp, _logsumexp_pullback)
NORM = composite("norm", _norm, _norm_pullback, sign="‖", usual={"ord": 2})
ARGMAX = composite("argmax", lambda x, axes: _position(x, axes, True), _no_adjoint, "arg max")
ARGMIN = composite("argmin", lambda x, axes: _position(x, axes, False), _no_adjoint, "arg min")


def over_axes(op: Composite, x: Any, axis: Any, keepdims: bool, **attrs: Any) -> Node:
    """A node of ``op`` over ``axis`` of ``x``, integers as float64."""
    node = as_node(x)
    node = cast(node, float_dtype(node.dtype))
    try:
        axes = normalize_axes(axis, node.ndim)
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, op.name, [node]) from None
    result = make_node(op, [node], {"axes": axes, **attrs})
    return insert_axes(result, axes) if keepdims else result


@method()
def mean(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """The mean over ``axis`` (None for all axes); NaN of no elements."""
    return over_axes(MEAN, x, axis, keepdims)


@method()
def var(x: Any, axis: Any = None, correction: float = 1, keepdims: bool = False) -> Node:
    """The variance over ``axis``, the sum of squares divided by n - correction.

    The correction is 1 unless told, which makes it unbiased, as in PyTorch; NumPy's default is 0.
    """
    return over_axes(VAR, x, axis, keepdims, correction=correction)


@method()
def std(x: Any, axis: Any = None, correction: float = 1, keepdims: bool = False) -> Node:
    """The standard deviation: the square root of ``var``."""
    return scalar.sqrt(var(x, axis, correction, keepdims))


@method()
def logsumexp(x: Any, axis: Any = None, keepdims: bool = False) -> Node:
    """log(sum(exp(x))) over ``axis``, without overflow."""
    return over_axes(LOGSUMEXP, x, axis, keepdims)


def norm(x: Any, ord: float = 2, axis: Any = None, keepdims: bool = False) -> Node:
    """The vector norm over ``axis``, sum(abs(x)**ord)**(1/ord); its derivative at 0 is 0.

    ``ord`` is a positive number, inf (the largest absolute value) or -inf (the smallest).
    """
    if isinstance(ord, bool) or not isinstance(ord, (int, float)) or not (
        ord > 0 or ord == -math.inf
    ):  # fmt: skip
        raise GraphError(f"norm: ord must be a positive number, inf or -inf, got {ord!r}")
    return over_axes(NORM, x, axis, keepdims, ord=ord)


def _extremum(op: Composite, x: Any, axis: int | None, keepdims: bool) -> Node:
    node = as_node(x)
    if node.dtype.kind == "b":
        node = cast(node, np.dtype("int64"))
    rank = node.ndim
    if axis is None:
        node = reshape_to(node, (canonical(total(node.shape, range(rank))),))
        result = make_node(op, [node], {"axes": (0,)})
        return reshape_to(result, (1,) * rank) if keepdims else result
    try:
        axes = normalize_axes(axis, rank)
        if len(axes) != 1:
            raise ValueError("axis must be a single integer or None")
    except (IndexError, TypeError, ValueError) as error:
        raise located(error, op.name, [node]) from None
    result = make_node(op, [node], {"axes": axes})
    return insert_axes(result, axes) if keepdims else result


@method()
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """The position of the first largest element, int64; of the flattened array for axis None."""
    return _extremum(ARGMAX, x, axis, keepdims)


@method()
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Node:
    """The position of the first smallest element, int64; of the flattened array for axis None."""
    return _extremum(ARGMIN, x, axis, keepdims)


sample("mean", lambda a: mean(a), (3, 4))
sample("mean", lambda a: mean(a, axis=(0, 2), keepdims=True), (2, 3, 4))
sample("var", lambda a: var(a), (3, 4))
sample("var", lambda a: var(a, axis=0, correction=0), (3, 4))
sample("std", lambda a: std(a, axis=1), (3, 4))
sample("logsumexp", lambda a: logsumexp(a, axis=1), (3, 4))
sample("logsumexp", lambda a: logsumexp(a, keepdims=True), (3, 4))
sample("norm", lambda a: norm(a), (3, 4))
sample("norm", lambda a: norm(a, ord=1, axis=0), (3, 4))
sample("norm", lambda a: norm(a, ord=3, axis=1), (3, 4))
sample("norm", lambda a: norm(a, ord=math.inf, axis=1), (3, 4))
sample("argmax", lambda a: argmax(a, axis=1), (3, 4), differentiable=False)
sample("argmax", lambda a: argmax(a), (3, 4), differentiable=False)
sample("argmin", lambda a: argmin(a, axis=0, keepdims=True), (3, 4), differentiable=False)
