"""Operators and NumPy-style methods, shared by everything that behaves like an array.

The bodies call public functions by name: those live in ``staticgrad.ops``, above this package, and
are entered in ``FUNCTIONS`` when that package is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from staticgrad.graph.node import Node

FUNCTIONS: dict[str, Callable[..., Any]] = {}
#: what to do about a node whose value somebody asks for
NO_VALUE_YET = (
    "it has a value only in a call: sg.compile(inputs, node) makes a function, "
    "sg.evaluate(node, {x: array}) computes it once"
)
Axis = int | tuple[int, ...] | None


class ArrayMethods:
    """Operators and methods with NumPy's names and meaning."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """What NumPy calls for ``array * node``, and for its functions of elements."""
        return FUNCTIONS["on_ufunc"](ufunc, method, inputs, options)

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        """What NumPy calls for its other functions."""
        return FUNCTIONS["on_function"](function, arguments, options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise TypeError(f"{self!r} is a node of a graph, not an array: {NO_VALUE_YET}")

    def __dir__(self) -> list[str]:
        # without the attributes that only say what to use instead
        return [name for name in object.__dir__(self) if hasattr(type(self), name)]

    def __add__(self, other: Any) -> Node:
        return FUNCTIONS["add"](self, other)

    def __radd__(self, other: Any) -> Node:
        return FUNCTIONS["add"](other, self)

    def __sub__(self, other: Any) -> Node:
        return FUNCTIONS["subtract"](self, other)

    def __rsub__(self, other: Any) -> Node:
        return FUNCTIONS["subtract"](other, self)

    def __mul__(self, other: Any) -> Node:
        return FUNCTIONS["multiply"](self, other)

    def __rmul__(self, other: Any) -> Node:
        return FUNCTIONS["multiply"](other, self)

    def __truediv__(self, other: Any) -> Node:
        return FUNCTIONS["divide"](self, other)

    def __rtruediv__(self, other: Any) -> Node:
        return FUNCTIONS["divide"](other, self)

    def __floordiv__(self, other: Any) -> Node:
        return FUNCTIONS["floor_divide"](self, other)

    def __rfloordiv__(self, other: Any) -> Node:
        return FUNCTIONS["floor_divide"](other, self)

    def __mod__(self, other: Any) -> Node:
        return FUNCTIONS["remainder"](self, other)

    def __rmod__(self, other: Any) -> Node:
        return FUNCTIONS["remainder"](other, self)

    def __pow__(self, other: Any) -> Node:
        return FUNCTIONS["pow"](self, other)

    def __rpow__(self, other: Any) -> Node:
        return FUNCTIONS["pow"](other, self)

    def __matmul__(self, other: Any) -> Node:
        return FUNCTIONS["matmul"](self, other)

    def __rmatmul__(self, other: Any) -> Node:
        return FUNCTIONS["matmul"](other, self)

    def __neg__(self) -> Node:
        return FUNCTIONS["negative"](self)

    def __pos__(self) -> Node:
        return self  # type: ignore[return-value]

    def __abs__(self) -> Node:
        return FUNCTIONS["abs"](self)

    def __lt__(self, other: Any) -> Node:
        return FUNCTIONS["less"](self, other)

    def __le__(self, other: Any) -> Node:
        return FUNCTIONS["less_equal"](self, other)

    def __gt__(self, other: Any) -> Node:
        return FUNCTIONS["greater"](self, other)

    def __ge__(self, other: Any) -> Node:
        return FUNCTIONS["greater_equal"](self, other)

    # ``==`` compares elements, as in NumPy; nodes are dictionary keys (``updates={W: ...}``) by
    # identity, which Python's dictionaries check before they ever call ``==``.
    def __eq__(self, other: Any) -> Node:  # type: ignore[override]
        return FUNCTIONS["equal"](self, other)

    def __ne__(self, other: Any) -> Node:  # type: ignore[override]
        return FUNCTIONS["not_equal"](self, other)

    __hash__ = object.__hash__

    def __and__(self, other: Any) -> Node:
        return FUNCTIONS["logical_and"](self, other)

    def __rand__(self, other: Any) -> Node:
        return FUNCTIONS["logical_and"](other, self)

    def __or__(self, other: Any) -> Node:
        return FUNCTIONS["logical_or"](self, other)

    def __ror__(self, other: Any) -> Node:
        return FUNCTIONS["logical_or"](other, self)

    def __xor__(self, other: Any) -> Node:
        return FUNCTIONS["logical_xor"](self, other)

    def __rxor__(self, other: Any) -> Node:
        return FUNCTIONS["logical_xor"](other, self)

    def __invert__(self) -> Node:
        return FUNCTIONS["logical_not"](self)

    def __getitem__(self, index: Any) -> Node:
        return FUNCTIONS["getitem"](self, index)

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} is a node of a graph: its value is known only when a compiled function is "
            "called, so Python's if, while, and, or, not cannot use it; use sg.where, &, |, ~"
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            f"{self!r} is a node of a graph, and nodes do not change: make another one with sg.where, "
            "sg.concat or sg.pad"
        )

    def __float__(self) -> float:
        raise TypeError(
            f"{self!r} is a node of a graph, not a number: {NO_VALUE_YET}; of the functions of "
            "Python's math there are sg.exp, sg.sin and so on"
        )

    __int__ = __float__
    __index__ = __float__

    def __format__(self, specification: str) -> str:
        if specification:
            raise TypeError(
                f"{self!r} is a node of a graph, and has no digits to format: {NO_VALUE_YET}"
            )
        return str(self)

    def __len__(self) -> int:
        shape = self.shape  # type: ignore[attr-defined]
        if not shape:
            raise TypeError(f"len() of {self!r}, which has no axes")
        if not isinstance(shape[0], int):
            raise TypeError(f"len() of {self!r}: its first dimension is known only at the call")
        return shape[0]

    def __iter__(self) -> Any:
        shape = self.shape  # type: ignore[attr-defined]
        if not shape:
            raise TypeError(f"{self!r} cannot be iterated over: it has no axes")
        if not isinstance(shape[0], int):
            raise TypeError(
                f"{self!r} cannot be iterated over: the size of its first axis, {shape[0]}, is known "
                "only at the call; use functions of whole axes, as sg.sum(x, axis=0)"
            )
        return (self[position] for position in range(len(self)))

    @property
    def T(self) -> Node:
        """The transposed matrix: all axes in reversed order."""
        return FUNCTIONS["permute_dims"](self)

    @property
    def mT(self) -> Node:
        """The last two axes exchanged."""
        return FUNCTIONS["matrix_transpose"](self)

    def astype(self, dtype: Any) -> Node:
        """A copy cast to ``dtype``."""
        return FUNCTIONS["astype"](self, dtype)

    def reshape(self, *shape: Any) -> Node:
        """The same elements in another shape; one dimension may be -1."""
        return FUNCTIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Node:
        """The axes in the given order (reversed when none is given)."""
        return FUNCTIONS["permute_dims"](self, axes[0] if len(axes) == 1 else (axes or None))

    def squeeze(self, axis: Axis = None) -> Node:
        """Without the axes of length one."""
        return FUNCTIONS["squeeze"](self, axis)

    def flatten(self) -> Node:
        """The elements as one axis."""
        return FUNCTIONS["reshape"](self, (-1,))

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["sum"](self, axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["mean"](self, axis, keepdims=keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["prod"](self, axis, keepdims=keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["max"](self, axis, keepdims=keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["min"](self, axis, keepdims=keepdims)

    def var(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Node:
        return FUNCTIONS["var"](self, axis, correction=correction, keepdims=keepdims)

    def std(self, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Node:
        return FUNCTIONS["std"](self, axis, correction=correction, keepdims=keepdims)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["argmax"](self, axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Node:
        return FUNCTIONS["argmin"](self, axis, keepdims=keepdims)

    def cumsum(self, axis: int | None = None) -> Node:
        return FUNCTIONS["cumsum"](self, axis)

    def clip(self, min: Any = None, max: Any = None) -> Node:
        return FUNCTIONS["clip"](self, min, max)

    def dot(self, other: Any) -> Node:
        return FUNCTIONS["matmul"](self, other)
