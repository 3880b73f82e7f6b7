"""Convolution, an op that generated code has kernels for, and its adjoints."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from staticgrad.graph.dims import Dim, canonical, format_shape, product
from staticgrad.graph.expression import Call, Expression, Infix
from staticgrad.graph.node import GraphError, Node, TensorType, located, make_node
from staticgrad.ops.convert import as_node, cast, common_dtype, float_dtype
from staticgrad.ops.convolution_memory import parts_of, scratch
from staticgrad.ops.movement import reshape_to
from staticgrad.ops.notation import short
from staticgrad.ops.routine import RoutineOp
from staticgrad.ops.table import register, sample
from staticgrad.ops.windows import FOLD, window_count, window_view


def per_axis(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """A number for each axis, or one for all. Raises GraphError for anything else."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    if len(values) != rank or not all(isinstance(item, int) and item >= 0 for item in values):
        raise GraphError(f"{what} must be an integer or {rank} integers, got {value!r}")
    return values


class Convolution(RoutineOp):
    """One of the factors of the sum of x[n, c, s y + d k - p] weight[o, c, k] out[n, o, y]: what
    multiplies ``result``, from the other two. All three are adjoints of each other.

    ``padding`` has a pair of numbers for each axis. Where it does not follow from the inputs, ``shape``
    is the result's.
    """

    flops = 2

    def __init__(self, name: str, module: str, kernel: str, result: int) -> None:
        super().__init__(name, module, kernel)
        #: which of x, weight and out it computes
        self.result = result

    def infer(self, inputs: Sequence[TensorType], attrs: Mapping[str, Any]) -> TensorType:
        if self.result < 2:
            return TensorType(inputs[0].dtype, attrs["shape"])
        x, weight = (item.shape for item in inputs)
        positions = tuple(
            window_count(canonical(dim + sum(pads)), size, stride, dilation)
            for dim, pads, size, stride, dilation in zip(
                x[2:], attrs["padding"], weight[2:], attrs["strides"], attrs["dilations"],
                strict=True,
            )
        )  # fmt: skip
        return TensorType(inputs[0].dtype, (x[0], weight[0], *positions))

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        factors = [*node.inputs]
        factors.insert(self.result, adjoint)
        known = {key: node.attrs[key] for key in ("strides", "padding", "dilations")}
        results = []
        for position, op in enumerate((TRANSPOSED_CONVOLUTION, CORRELATION, CONVOLUTION)):
            if position != self.result:
                others = [factor for k, factor in enumerate(factors) if k != position]
                attrs = known if position == 2 else {**known, "shape": factors[position].shape}
                results.append(make_node(op, others, attrs))
        return results

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        operands: list[Any] = [*arrays]
        operands.insert(self.result, None)
        x, weight, out = operands
        strides, padding, dilations = attrs["strides"], attrs["padding"], attrs["dilations"]
        rank = len(strides)
        batch, channels, *size = attrs["shape"] if x is None else x.shape
        outputs, inner, *sizes = attrs["shape"] if weight is None else weight.shape
        groups = channels // inner
        # the letters of the axes: positions and places in the window
        positions, places = string.ascii_lowercase[:rank], string.ascii_lowercase[rank : 2 * rank]
        letters = [f"zwx{positions}{places}", f"wyx{places}", f"zwy{positions}"]
        factors: list[Any] = [None, None, None]
        if x is not None:
            view = window_view(np.pad(x, ((0, 0), (0, 0), *padding)), sizes, strides, dilations)
            factors[0] = view.reshape(batch, groups, inner, *view.shape[2:])
        if weight is not None:
            factors[1] = weight.reshape(groups, outputs // groups, inner, *sizes)
        if out is not None:
            factors[2] = out.reshape(batch, groups, outputs // groups, *out.shape[2:])
        wanted = letters.pop(self.result)
        del factors[self.result]
        result = np.einsum(f"{','.join(letters)}->{wanted}", *factors, optimize=True)
        if self.result == 2:
            return result.reshape(batch, outputs, *result.shape[3:])
        if self.result == 1:
            return result.reshape(attrs["shape"])
        full = [length + sum(pads) for length, pads in zip(size, padding, strict=True)]
        patches = result.reshape(batch, channels, *result.shape[3:])
        options = {**attrs, "sizes": sizes, "shape": (batch, channels, *full)}
        inside = [slice(low, low + n) for (low, _), n in zip(padding, size, strict=True)]
        return FOLD.execute([patches], options)[(..., *inside)]

    def points(self, node: Node) -> Dim:
        """Products with zeros of the padding count as well."""
        _, weight, out = self.operands(node)
        return product((*out.shape, *weight.shape[1:]))

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        rank, padding = len(node.attrs["strides"]), node.attrs["padding"]
        if all(low == high for low, high in padding):
            padding = tuple(low for low, _ in padding)
        options = [
            (key, short(values))
            for key, values, usual in (("stride", node.attrs["strides"], 1), ("padding", padding, 0),
                                       ("dilation", node.attrs["dilations"], 1))
            if len(set(values)) > 1 or values[0] != usual
        ]  # fmt: skip
        operands = tuple(reversed(arguments) if self.result == 0 else arguments)
        name = {2: f"conv{rank}d", 0: f"conv_transpose{rank}d"}.get(self.result, self.name)
        notation = None
        if not options and self.result:
            sign = {2: "∗", 1: "⋆"}[self.result]
            notation = Infix(sign, *operands)
        return Call(name, operands, tuple(options), notation, rank=node.ndim)

    def operands(self, node: Node) -> Sequence[Node]:
        """x, weight and out."""
        factors = [*node.inputs]
        factors.insert(self.result, node)
        return factors

    def options(self, node: Node) -> list[str]:
        padding = tuple(low for low, _ in node.attrs["padding"])
        return [str(node.attrs["strides"]), str(padding), str(node.attrs["dilations"])]

    def scratch(self, node: Node) -> Dim:
        x, weight, out = (operand.shape for operand in self.operands(node))
        return scratch(x, weight, out, self.result, node.attrs, node.dtype.itemsize)

    def uses_threads(self, node: Node) -> bool:
        return parts_of(self.points(node)) > 1


CONVOLUTION = register(Convolution("convolution", "convolution", "convolve", 2))
TRANSPOSED_CONVOLUTION = register(
    Convolution("transposed_convolution", "convolution", "convolve_transposed", 0)
)
CORRELATION = register(Convolution("correlation", "correlation", "correlate", 1))


def _convolution(
    rank: int, x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> Node:
    name = f"conv{rank}d"
    dtype = float_dtype(common_dtype([x, weight]))
    source, kernel = (cast(as_node(value, dtype), dtype) for value in (x, weight))
    try:
        strides = per_axis(stride, rank, "stride")
        dilations = per_axis(dilation, rank, "dilation")
        _check(rank, source, kernel, groups)
        if min(strides + dilations + kernel.shape[2:]) < 1:
            raise ValueError("stride, dilation and the kernel's sizes must be positive")
        pads = _padding(padding, rank, kernel.shape[2:], strides, dilations)
        attrs = {"strides": strides, "padding": pads, "dilations": dilations}
        result = make_node(CONVOLUTION, [source, kernel], attrs)
    except ValueError as error:
        raise located(error, name, [source, kernel]) from None
    if bias is None:
        return result
    return result + reshape_to(as_node(bias), (kernel.shape[0], *(1,) * rank))


def _check(rank: int, x: Node, weight: Node, groups: int) -> None:
    if x.ndim != rank + 2 or weight.ndim != rank + 2:
        raise ValueError(
            f"expected an input (batch, channels, {'length' if rank == 1 else 'height, width'}) and a "
            f"weight (out, channels / groups, *kernel), of {rank + 2} axes each"
        )
    channels, outputs = x.shape[1], weight.shape[0]
    if not isinstance(channels, int) or not all(isinstance(dim, int) for dim in weight.shape):
        raise ValueError("the channels and the kernel's sizes must be integers")
    if groups < 1 or channels % groups or outputs % groups:
        raise ValueError(f"{channels} channels to {outputs} do not divide into {groups} groups")
    if weight.shape[1] * groups != channels:
        raise ValueError(
            f"the input has {channels} channels; a weight of shape {format_shape(weight.shape)} in "
            f"{groups} groups expects {weight.shape[1] * groups}"
        )


def _padding(
    padding: Any, rank: int, sizes: Any, strides: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    if padding == "valid":
        return ((0, 0),) * rank
    if padding == "same":
        if any(stride != 1 for stride in strides):
            raise ValueError("padding='same' needs stride 1")
        totals = [d * (size - 1) for size, d in zip(sizes, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((item, item) for item in per_axis(padding, rank, "padding"))


def conv1d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    """The cross-correlation over the last axis, as PyTorch's conv1d.

    Args:
        x: shape (batch, channels, length).
        weight: shape (out, channels / groups, kernel). bias: shape (out,), or None.
        stride, dilation: integers. padding: an integer, "valid" or "same".

    Returns:
        Shape (batch, out, (length + 2 padding - dilation (kernel - 1) - 1) // stride + 1).

    Raises GraphError where shapes do not fit.
    """
    return _convolution(1, x, weight, bias, stride, padding, dilation, groups)


def conv2d(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> Node:  # fmt: skip
    """The cross-correlation over the last two axes, as PyTorch's conv2d; see ``conv1d``.

    ``stride``, ``padding`` and ``dilation`` are one integer, or one for each axis.
    """
    return _convolution(2, x, weight, bias, stride, padding, dilation, groups)


sample("conv1d", lambda a, w: conv1d(a, w, stride=2, padding=1), (2, 3, 8), (4, 3, 3))
sample("conv2d", lambda a, w, b: conv2d(a, w, b, padding="same"), (2, 3, 5, 4), (2, 3, 3, 3), (2,))
sample("conv2d", lambda a, w: conv2d(a, w, stride=(2, 1), dilation=(1, 2), groups=2),
       (2, 4, 5, 6), (6, 2, 2, 2))  # fmt: skip
