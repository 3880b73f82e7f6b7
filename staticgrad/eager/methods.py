"""The methods of tensors that PyTorch users expect, beside NumPy's.

``dim`` and ``keepdim`` are accepted wherever NumPy says ``axis`` and ``keepdims``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from staticgrad.ops import public
from staticgrad.ops.convert import normalize_axis

if TYPE_CHECKING:
    from staticgrad.eager.tensor import Tensor


def _over(name: str) -> Callable[..., Tensor]:
    """A method over axes that takes PyTorch's names of its arguments too."""
    function = getattr(public, name)

    def method(self: Tensor, axis: Any = None, keepdims: bool = False, **options: Any) -> Tensor:
        axis = options.pop("dim", axis)
        keepdims = options.pop("keepdim", keepdims)
        return function(self, axis, keepdims=keepdims, **options)

    method.__name__ = name
    method.__doc__ = function.__doc__
    return method


def _along(name: str) -> Callable[..., Tensor]:
    """A method along one axis."""
    function = getattr(public, name)

    def method(self: Tensor, axis: Any = None, **options: Any) -> Tensor:
        axis = options.pop("dim", axis)
        return function(self, axis, **options) if axis is not None else function(self, **options)

    method.__name__ = name
    method.__doc__ = function.__doc__
    return method


def _function(name: str) -> Callable[..., Tensor]:
    """A method that is a public function with the tensor for its first argument."""
    function = getattr(public, name)

    def method(self: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return function(self, *arguments, **options)

    method.__name__ = name
    method.__doc__ = function.__doc__
    return method


def _in_place(name: str) -> Callable[..., Tensor]:
    """The method that ends in an underscore: the result takes the tensor's place."""
    function = getattr(public, name)

    def method(self: Tensor, *arguments: Any, **options: Any) -> Tensor:
        return self._change(function(self, *arguments, **options))

    method.__doc__ = f"``{name}``, in place."
    return method


class TorchMethods:
    """Methods of tensors, most of which are public functions."""

    __slots__ = ()

    if TYPE_CHECKING:
        shape: tuple[int, ...]
        dtype: Any
        ndim: int

        def _change(self, result: Tensor) -> Tensor: ...

    for _name in ("sum", "mean", "prod", "var", "std", "max", "min", "argmax", "argmin",
                  "logsumexp"):  # fmt: skip
        locals()[_name] = _over(_name)
    for _name in ("cumsum", "softmax", "log_softmax"):
        locals()[_name] = _along(_name)
    for _name in (
        "abs", "acos", "asin", "atan", "atan2", "broadcast_to", "cos", "cosh", "diagonal",
        "digamma", "erf", "erfc", "exp", "expm1", "flip", "floor", "hypot", "isnan", "lgamma",
        "log", "log1p", "log2", "logaddexp", "matmul", "maximum", "minimum", "outer",
        "relu", "remainder", "rsqrt", "sigmoid", "sign", "sin", "sinh", "sqrt", "square", "tan",
        "tanh", "tril", "triu",
    ):  # fmt: skip
        locals()[_name] = _function(_name)
    for _name, _target in {
        "add": "add", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "pow",
        "clamp": "clip", "neg": "negative", "mm": "matmul", "eq": "equal", "ne": "not_equal",
        "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal",
        "unsqueeze": "expand_dims",
    }.items():  # fmt: skip
        locals()[_name] = _function(_target)
    for _name, _target in {
        "add_": "add", "sub_": "subtract", "mul_": "multiply", "div_": "divide", "pow_": "pow",
        "clamp_": "clip", "neg_": "negative", "exp_": "exp", "sqrt_": "sqrt", "relu_": "relu",
        "tanh_": "tanh", "sigmoid_": "sigmoid",
    }.items():  # fmt: skip
        locals()[_name] = _in_place(_target)
    __iadd__, __isub__ = _in_place("add"), _in_place("subtract")
    __imul__, __itruediv__ = _in_place("multiply"), _in_place("divide")
    del _name, _target

    def permute(self, *axes: Any) -> Tensor:
        """The axes in the given order."""
        return public.permute_dims(self, axes[0] if isinstance(axes[0], (tuple, list)) else axes)  # type: ignore

    def transpose(self, *axes: Any) -> Tensor:
        """Two axes exchanged, as in PyTorch; all reversed without arguments, as in NumPy."""
        if len(axes) != 2:
            return self.permute(*axes) if axes else public.permute_dims(self)  # type: ignore
        order = list(range(self.ndim))
        first, second = (normalize_axis(axis, self.ndim) for axis in axes)
        order[first], order[second] = order[second], order[first]
        return public.permute_dims(self, order)  # type: ignore

    def t(self) -> Tensor:
        """The transposed matrix."""
        return public.permute_dims(self)  # type: ignore

    def view(self, *shape: Any) -> Tensor:
        """The same elements in another shape; one dimension may be -1."""
        return public.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore

    def view_as(self, other: Tensor) -> Tensor:
        """The same elements in the shape of ``other``."""
        return public.reshape(self, other.shape)  # type: ignore

    def expand(self, *shape: Any) -> Tensor:
        """Broadcast to ``shape``, where -1 keeps a dimension."""
        wanted = shape[0] if isinstance(shape[0], (tuple, list)) else shape
        kept = (1,) * (len(wanted) - self.ndim) + tuple(self.shape)
        return public.broadcast_to(  # type: ignore
            self, tuple(old if new == -1 else new for new, old in zip(wanted, kept, strict=True))
        )

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    def norm(self, p: Any = 2, dim: Any = None, keepdim: bool = False) -> Tensor:
        """The ``p``-norm over all axes, or over ``dim``."""
        return public.norm(self, p, axis=dim, keepdims=keepdim)  # type: ignore

    def float(self) -> Tensor:
        """As float32."""
        return public.astype(self, "float32")  # type: ignore

    def double(self) -> Tensor:
        """As float64."""
        return public.astype(self, "float64")  # type: ignore

    def long(self) -> Tensor:
        """As int64."""
        return public.astype(self, "int64")  # type: ignore

    def to(self, dtype: Any) -> Tensor:
        """As ``dtype``."""
        return public.astype(self, dtype)  # type: ignore

    def type_as(self, other: Tensor) -> Tensor:
        """In the dtype of ``other``."""
        return public.astype(self, other.dtype)  # type: ignore

    def clone(self) -> Tensor:
        """A copy in memory of its own, through which gradients flow."""
        return public.multiply(self, 1) if self.dtype.kind != "b" else self | False  # type: ignore

    def zero_(self) -> Tensor:
        """Set all elements to zero."""
        return self.fill_(0)

    def fill_(self, value: Any) -> Tensor:
        """Set all elements to ``value``."""
        return self._change(public.broadcast_to(_like(value, self), self.shape))  # type: ignore

    def copy_(self, other: Any) -> Tensor:
        """Take over the elements of ``other``, which broadcasts."""
        return self._change(public.broadcast_to(_like(other, self), self.shape))  # type: ignore

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad``; returns the tensor."""
        self.requires_grad = requires_grad  # type: ignore
        return self  # type: ignore

    def detach_(self) -> Tensor:
        """Forget how the tensor was computed."""
        self.grad_fn = None  # type: ignore
        self._requires_grad = False  # type: ignore
        return self  # type: ignore

    def any(self) -> Tensor:
        """Whether an element is true."""
        return public.max(public.not_equal(self, 0))  # type: ignore

    def all(self) -> Tensor:
        """Whether every element is true."""
        return public.min(public.not_equal(self, 0))  # type: ignore


def _like(value: Any, tensor: Any) -> Any:
    """``value`` as a tensor of the dtype of ``tensor``."""
    from staticgrad.eager.tensor import as_tensor

    return public.astype(as_tensor(value), tensor.dtype)
