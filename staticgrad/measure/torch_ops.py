"""Nodes of a declared graph as PyTorch would have them: a function of tensors for each op.

What PyTorch has as one function is one here too: linear layers with their bias, convolutions with
theirs, mean losses, layer normalisation. Broadcasts are left to PyTorch where it does them by itself.
An op without a counterpart is taken apart into ops that have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from staticgrad.graph.dims import concrete
from staticgrad.graph.leaves import CONSTANT, SIZE
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.measure.replay import Pullback, Replay, Translation
from staticgrad.ops.composite import Composite
from staticgrad.ops.custom import CUSTOM
from staticgrad.ops.elementwise import Elementwise

#: ops and functions that have the same arguments, where their names differ or are listed as they are
ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{
        name: getattr(torch, name)
        for name in ("abs acos add asin atan atan2 clip cos cosh digamma divide erf erfc exp expm1 "
                     "floor floor_divide greater greater_equal hypot isnan less less_equal lgamma log "
                     "log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum "
                     "minimum multiply negative not_equal relu remainder rsqrt selu sigmoid sign sin "
                     "sinh sqrt square subtract tan tanh where").split()
    },
    "equal": torch.eq, "power": torch.pow, "silu": F.silu, "gelu": F.gelu, "log_sigmoid": F.logsigmoid,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "elu": F.elu, "leaky_relu": F.leaky_relu,
    "hardtanh": F.hardtanh, "softplus": F.softplus,
    "polygamma": lambda x, order: torch.polygamma(int(order), x),
}  # fmt: skip
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d}
POOLS = {1: F.max_pool1d, 2: F.max_pool2d}


class Untranslatable(Exception):
    """An op that PyTorch has no counterpart of."""


class Translator:
    """Finds for a node of a graph what computes it in PyTorch; ``sizes`` are those of named
    dimensions, ``around`` are the nodes of the graph."""

    def __init__(self, sizes: Mapping[Any, int], around: set[Node]) -> None:
        self.sizes = sizes
        self.around = around

    def constants(self, roots: Sequence[Node]) -> dict[Node, Any]:
        """The constants that nodes depend on, and the sizes of dimensions, as tensors."""
        found = {}
        for node in topological(roots):
            if node.op is CONSTANT:
                found[node] = torch.tensor(node.attrs["value"])
            elif node.op is SIZE:
                found[node] = torch.tensor(concrete(node.attrs["dim"], self.sizes))
        return found

    def __call__(self, node: Node) -> Translation:
        return self._pattern(node) or self._single(node)

    def attributes(self, node: Node) -> dict[str, Any]:
        return {key: concrete(value, self.sizes) for key, value in node.attrs.items()}

    # ---- several nodes that are one function of PyTorch's ------------------------------------------

    def _pattern(self, node: Node) -> Translation | None:
        name = node.op.name
        if name == "add":
            return self._with_bias(node) or self._scaled(node)
        if name == "multiply":
            return self._scaled(node)
        if name == "mean" and _all_axes(node):
            return self._mean_loss(node.inputs[0])
        return None

    def _with_bias(self, node: Node) -> Translation | None:
        """A linear layer or a convolution with its bias."""
        product, spread = node.inputs
        bias = _stripped(spread)
        if spread.op.name != "broadcast_to":
            return None
        if product.op.name == "contract":
            x, weight = product.inputs
            left, right, out = _letters(product)
            transposed = weight.op.name == "permute_dims" and weight.attrs["axes"] == (1, 0)
            linear = len(right) == 2 and left[-1:] == right[:1] and out == left[:-1] + right[1]
            if transposed and linear and bias.shape == (product.shape[-1],):
                return F.linear, [x, weight.inputs[0], bias]
        if product.op.name == "convolution" and bias.op.name == "reshape":
            inner = bias.inputs[0]
            if inner.shape == (product.shape[1],) and bias.shape[0] == product.shape[1]:
                function, sources = self._single(product)
                return function, [*sources, inner]
        return None

    def _mean_loss(self, node: Node) -> Translation | None:
        if node.op.name == "cross_entropy" and node.ndim == 1:
            return F.cross_entropy, node.inputs
        if node.op.name == "square" and node.inputs[0].op.name == "subtract":
            sources = node.inputs[0].inputs
            if not any(source.op.name == "broadcast_to" for source in sources):
                return F.mse_loss, sources
        return None

    def _scaled(self, node: Node) -> Translation | None:
        """Layer normalisation, with weight and bias or without."""
        bias = weight = None
        core = node
        if core.op.name == "add":
            core, bias = core.inputs[0], _stripped(core.inputs[1])
        if core.op.name == "multiply" and core.inputs[0].op.name == "multiply":
            core, weight = core.inputs[0], _stripped(core.inputs[1])
        found = _normalised(core)
        if found is None:
            return None
        x, count, small = found
        shape = tuple(x.shape[x.ndim - count :])
        extra = [item for item in (weight, bias) if item is not None]
        if any(item.shape != shape for item in extra):
            return None
        plain = tuple(concrete(shape, self.sizes))

        def normalise(x: Any, *given: Any) -> Any:
            rest = list(given)
            scale = rest.pop(0) if weight is not None else None
            return F.layer_norm(x, plain, scale, rest[0] if rest else None, small)

        return normalise, [x, *extra]

    # ---- one node ----------------------------------------------------------------------------------

    def _custom(self, node: Node) -> Translation:
        """The user's pullback as that of a function of PyTorch's."""
        pulled = Pullback(node, self.around)
        leaves = [pulled.adjoint, *pulled.captured]
        back = Replay(pulled.roots, leaves, self.constants(pulled.roots), self)
        extra = len(pulled.captured)

        class Custom(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, result: Any, *rest: Any) -> Any:
                ctx.save_for_backward(*rest[len(rest) - extra :])
                return result.clone()

            @staticmethod
            def backward(ctx: Any, adjoint: Any) -> Any:
                adjoints = pulled.spread(back([adjoint, *ctx.saved_tensors]))
                return None, *adjoints, *(None,) * extra

        return Custom.apply, [*node.inputs, *pulled.sources]

    def _single(self, node: Node) -> Translation:
        op, name = node.op, node.op.name
        if op is CUSTOM:
            return self._custom(node)
        if isinstance(op, Elementwise) and name in ELEMENTWISE:
            sources = [_stripped(source) for source in node.inputs]
            if all(source is not node.inputs[k] for k, source in enumerate(sources)):
                sources = list(node.inputs)
            elementwise, options = ELEMENTWISE[name], node.attrs
            return (lambda *x: elementwise(*x, **options)) if options else elementwise, sources
        made = STRUCTURAL.get(name)
        function = made(node, self.attributes(node)) if made else None
        if function is not None:
            return function, node.inputs
        if name == "uniform":
            raise Untranslatable("draws other random numbers (dropout): nothing to compare with")
        if isinstance(op, (Composite, Elementwise)):
            return (lambda x: x), [op.expand(node)]
        raise Untranslatable(f"has no counterpart of {name}")


def _stripped(node: Node) -> Node:
    """What a broadcast starts from."""
    return node.inputs[0] if node.op.name == "broadcast_to" else node


def _letters(node: Node) -> tuple[str, str, str]:
    operands, out = node.attrs["subscripts"].split("->")
    left, right = operands.split(",")
    return left, right, out


def _all_axes(node: Node) -> bool:
    return len(node.attrs["axes"]) == node.inputs[0].ndim


def _normalised(node: Node) -> tuple[Node, int, float] | None:
    """x, the number of last axes, and eps of (x - mean(x)) * rsqrt(mean((x - mean(x))**2) + eps)."""
    if node.op.name != "multiply":
        return None
    centred, root = node.inputs[0], _stripped(node.inputs[1])
    if centred.op.name != "subtract" or root.op.name != "rsqrt" or root.inputs[0].op.name != "add":
        return None
    variance, eps = root.inputs[0].inputs
    small = _stripped(eps)
    squares = _mean_over(variance)
    means = _mean_over(_stripped(centred.inputs[1]))
    if squares is None or means is None or small.op is not CONSTANT or small.ndim:
        return None
    x, axes = means
    if squares[0].op.name != "square" or squares[0].inputs[0] is not centred:
        return None
    last = tuple(range(x.ndim - len(axes), x.ndim))
    if x is not centred.inputs[0] or axes != last or squares[1] != last:
        return None
    return x, len(axes), float(small.attrs["value"])


def _mean_over(node: Node) -> tuple[Node, tuple[int, ...]] | None:
    """What a mean that keeps its axes is of, and the axes."""
    inner = node.inputs[0] if node.op.name == "reshape" else node
    return (inner.inputs[0], inner.attrs["axes"]) if inner.op.name == "mean" else None


# ---- ops that are no map of elements ----------------------------------------------------------------

#: a function of the node and its attributes that gives one of tensors, or None where there is none
Maker = Callable[[Node, dict[str, Any]], Callable[..., Any] | None]


def _contract(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    left, right, out = _letters(node)
    batch = left[: max(len(left) - 2, 0)]
    stacked = right.startswith(batch) and len(right) == len(batch) + 2
    if len(left) >= 2 and stacked and left[-1] == right[-2] and out == left[:-1] + right[-1]:
        return torch.matmul
    if len(left) == 2 and len(right) == 1 and out == left[0]:
        return torch.matmul
    subscripts = attrs["subscripts"]
    return lambda x, y: torch.einsum(subscripts, x, y)


def _reduction(function: Callable[..., Any]) -> Maker:
    def make(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
        axes = attrs["axes"]
        if not axes:
            return lambda x: x
        if len(axes) == node.inputs[0].ndim and function in (torch.sum, torch.mean):
            return function
        return lambda x: function(x, dim=axes)

    return make


def _prod(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    axes = sorted(attrs["axes"], reverse=True)

    def prod(x: Any) -> Any:
        for axis in axes:
            x = torch.prod(x, dim=axis)
        return x

    return prod


def _one_axis(function: Callable[..., Any]) -> Maker:
    def make(node: Node, attrs: dict[str, Any]) -> Callable[..., Any] | None:
        if len(attrs["axes"]) != 1:
            return None
        (axis,) = attrs["axes"]
        return lambda x: function(x, dim=axis)

    return make


def _norm(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    return lambda x: torch.linalg.vector_norm(x, ord=attrs["ord"], dim=attrs["axes"])


def _var(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    return lambda x: torch.var(x, dim=attrs["axes"], correction=attrs["correction"])


def _cross_entropy(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    def losses(logits: Any, labels: Any) -> Any:
        flat = logits.reshape(-1, logits.shape[-1])
        return F.cross_entropy(flat, labels.reshape(-1), reduction="none").reshape(labels.shape)

    return losses


def _slice(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    places = []
    backwards = []
    for axis, (start, step, count) in enumerate(
        zip(attrs["starts"], attrs["steps"], attrs["shape"], strict=True)
    ):
        if step < 0:
            # PyTorch takes positive steps only
            backwards.append(axis)
            start, step = start + step * (count - 1), -step
        places.append(slice(start, start + step * (count - 1) + 1, step) if count else slice(0, 0))
    key = tuple(places)
    if backwards:
        return lambda x: torch.flip(x[key], backwards)
    return lambda x: x[key]


def _concat(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    return lambda *parts: torch.cat(parts, dim=attrs["axis"])


def _gather(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    return lambda x, *indices: x[indices]


def _scatter_add(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    def scatter(values: Any, *indices: Any) -> Any:
        zeros = torch.zeros(attrs["shape"], dtype=values.dtype)
        return zeros.index_put(indices, values, accumulate=True)

    return scatter


def _embed(node: Node, attrs: dict[str, Any]) -> Callable[..., Any] | None:
    if min(attrs["steps"], default=1) < 0:
        return None
    shape = concrete(attrs["shape"], {})

    def embed(x: Any) -> Any:
        result = torch.zeros(shape, dtype=x.dtype)
        place = tuple(
            slice(start, start + step * (count - 1) + 1, step) if count else slice(0, 0)
            for start, step, count in zip(attrs["starts"], attrs["steps"], x.shape, strict=True)
        )
        result[place] = x
        return result

    return embed


def _windows(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    sizes, strides, dilations = attrs["sizes"], attrs["strides"], attrs["dilations"]

    def windows(x: Any) -> Any:
        first = x.ndim - len(sizes)
        for k, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
            x = x.unfold(first + k, dilation * (size - 1) + 1, stride)[..., ::dilation]
        return x

    return windows


def _convolution(node: Node, attrs: dict[str, Any]) -> Callable[..., Any] | None:
    pads = attrs["padding"]
    function = CONVOLUTIONS.get(len(pads))
    if function is None:
        return None
    groups = node.inputs[0].shape[1] // node.inputs[1].shape[1]
    even = all(low == high for low, high in pads)
    around = [amount for pair in reversed(pads) for amount in pair]
    options = {
        "stride": attrs["strides"], "dilation": attrs["dilations"], "groups": int(groups),
        "padding": tuple(low for low, _ in pads) if even else 0,
    }  # fmt: skip
    return lambda x, weight, bias=None: function(
        x if even else F.pad(x, around), weight, bias, **options
    )


def _max_pool(node: Node, attrs: dict[str, Any]) -> Callable[..., Any] | None:
    rank = len(attrs["sizes"])
    if rank not in POOLS or node.ndim not in (rank + 1, rank + 2):
        return None
    padding = tuple(low for low, _ in attrs["padding"])
    return lambda x: POOLS[rank](
        x, attrs["sizes"], attrs["strides"], padding, attrs["dilations"]
    )


def _iota(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    shape, axis = attrs["shape"], attrs["axis"]
    view = [1] * len(shape)
    view[axis] = shape[axis]
    return lambda: torch.arange(shape[axis]).reshape(view).expand(shape)


def _diagonal(node: Node, attrs: dict[str, Any]) -> Callable[..., Any]:
    return lambda x: torch.diagonal(x, attrs["offset"], attrs["axis1"], attrs["axis2"])


def _dtype(node: Node) -> Any:
    return getattr(torch, str(node.dtype))


def dims(function: Callable[..., Any], name: str) -> Maker:
    """A function that takes one attribute."""
    return lambda node, attrs: lambda x: function(x, attrs[name])


STRUCTURAL: dict[str, Maker] = {
    "astype": lambda node, attrs: lambda x: x.to(_dtype(node)),
    "broadcast_to": dims(torch.Tensor.expand, "shape"),
    "concat": _concat,
    "contract": _contract,
    "convolution": _convolution,
    "cross_entropy": _cross_entropy,
    "cumsum": dims(torch.cumsum, "axis"),
    "diagonal": _diagonal,
    "embed": _embed,
    "gather": _gather,
    "iota": _iota,
    "log_softmax": _one_axis(torch.log_softmax),
    "logsumexp": _reduction(torch.logsumexp),
    "max": _reduction(torch.amax),
    "max_pool": _max_pool,
    "mean": _reduction(torch.mean),
    "min": _reduction(torch.amin),
    "norm": _norm,
    "permute_dims": dims(torch.permute, "axes"),
    "prod": _prod,
    "reshape": dims(torch.reshape, "shape"),
    "scatter_add": _scatter_add,
    "slice": _slice,
    "softmax": _one_axis(torch.softmax),
    "stop_gradient": lambda node, attrs: torch.Tensor.detach,
    "sum": _reduction(torch.sum),
    "var": _var,
    "windows": _windows,
}

