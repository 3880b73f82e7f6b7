"""The leaves of a graph: placeholders, parameters, constants and sizes of dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import sympy

from staticgrad.graph.compose import dimension, values
from staticgrad.graph.dims import Dim, concrete, format_dim, shape_of
from staticgrad.graph.expression import Expression, Symbol
from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import DTYPES, GraphTypeError, Node, Op, TensorType, described
from staticgrad.graph.origin import user_origin

CACHE_LINE = 64


class Leaf(Op):
    """A node without inputs; the interpreter and the compiler know where its value lies."""

    flops = 0

    def pullback(self, node: Node, adjoint: Node) -> Sequence[Node | None]:
        return ()

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        return Symbol(node.name or self.name, node.name or "", rank=node.ndim)


class ConstantOp(Leaf):
    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return attrs["value"]

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        if node.name:
            return super().express(node, arguments)
        return values(node.attrs["value"])


class SizeOp(Leaf):
    """The size of a dimension, as an int64 scalar."""

    def execute(self, arrays: Sequence[np.ndarray], attrs: Mapping[str, Any]) -> Any:
        return np.int64(attrs["dim"])

    def express(self, node: Node, arguments: Sequence[Expression]) -> Expression:
        return dimension(node.attrs["dim"])


PLACEHOLDER = Leaf("placeholder")
PARAMETER = Leaf("parameter")
CONSTANT = ConstantOp("constant")
SIZE = SizeOp("size")


def format_number(value: Any) -> str:
    """A scalar in the fewest digits that give it back."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value))
    return str(value).replace("e+", "e")


def check_dtype(dtype: Any) -> np.dtype:
    """``dtype`` as a NumPy dtype, if it is one that a graph can hold.

    Raises GraphTypeError for others.
    """
    try:
        result = np.dtype(dtype)
    except TypeError:
        raise GraphTypeError(f"{dtype!r} is not a dtype") from None
    if result not in DTYPES:
        names = ", ".join(str(known) for known in DTYPES)
        raise GraphTypeError(f"dtype {result} is not supported; use one of {names}")
    return result


def placeholder(name: str, shape: Any = (), dtype: Any = "float32") -> Node:
    """Declare an input of the graph: an array given at each call.

    Args:
        name: a Python identifier; it names the argument of the compiled function.
        shape: integers and names, such as ``("batch", 64)``. A name is a symbolic dimension: it
            stands for the same size wherever it occurs, and needs no recompile when it changes.
        dtype: float32 unless told; float64, int64, int32 and bool are the others.

    Raises:
        GraphTypeError: for a dtype which graphs do not hold.
        ValueError: for a name that is not an identifier, or a negative dimension.
    """
    check_name(name)
    return Node(
        PLACEHOLDER, (), {}, TensorType(check_dtype(dtype), shape_of(shape)), name, user_origin()
    )


def check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"a name must be a Python identifier, got {name!r}")


class Parameter(Node):
    """A leaf that owns a NumPy array, ``value``, which both modes read and update.

    The array is the same object for the parameter's whole life: assigning to ``value`` copies into
    it, and so does a compiled update. Whoever holds a reference sees the current numbers.

    Attributes: ``value``; ``requires_grad``, whether training changes it; ``grad``, where eager
    backward passes accumulate, a tensor or None.

    Args:
        value: anything ``numpy.array`` takes, of which a contiguous copy is kept.
        name: how it is called in formulas and generated code; without one, the variable or the
            module's attribute it is assigned to names it.
        dtype: the array's own unless told; Python floats become float32.

    Raises:
        GraphTypeError: for a dtype which graphs do not hold.
    """

    __slots__ = ("_array", "eager_view", "grad", "requires_grad")

    #: whether eager mode has looked at any parameter of this process
    any_viewed: ClassVar[bool] = False

    def __init__(
        self,
        value: Any,
        name: str | None = None,
        *,
        dtype: Any = None,
        requires_grad: bool | None = None,
    ) -> None:
        if name is not None:
            check_name(name.replace(".", "_") if isinstance(name, str) else name)
        if isinstance(value, Node) and not hasattr(value, "numpy"):
            raise GraphTypeError(f"a parameter starts at an array or a number, got the node {value!r}")
        array = aligned_copy(_as_array(value, dtype))
        type = TensorType(array.dtype, tuple(array.shape))
        super().__init__(PARAMETER, (), {}, type, name, user_origin())
        self._array = array
        self.grad: Any = None
        self.requires_grad = type.is_float if requires_grad is None else requires_grad
        #: what eager mode sees of the parameter, once it has looked
        self.eager_view: Any = None

    @property
    def value(self) -> np.ndarray:
        return self._array

    @value.setter
    def value(self, new: Any) -> None:
        array = np.asarray(new)
        if array.shape != self._array.shape:
            raise ValueError(
                f"parameter {self.name or ''} has shape {self._array.shape}; "
                f"cannot assign an array of shape {array.shape}"
            )
        if not np.can_cast(array.dtype, self._array.dtype, casting="same_kind"):
            raise TypeError(
                f"parameter {self.name or ''} is {self._array.dtype}; cannot assign {array.dtype}"
            )
        self._array[...] = array

    @property
    def data(self) -> Any:
        """The parameter's memory as an eager tensor, outside of any gradient."""
        return FUNCTIONS["detached_view"](self)

    def requires_grad_(self, requires_grad: bool = True) -> Parameter:
        """Say whether training changes the parameter; returns the parameter."""
        self.requires_grad = requires_grad
        return self

    def numpy(self) -> np.ndarray:
        """The array itself, as ``value``."""
        return self._array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._array, dtype=dtype, copy=copy)

    def __reduce__(self) -> tuple[Any, ...]:
        # what eager mode has made of the array stays behind: gradients, and views with their tape
        return _restored, (type(self), self._array, self.name, self.requires_grad)

    def __float__(self) -> float:
        label = self.name or "parameter"
        raise TypeError(
            f"{self!r} is a parameter, whose number changes: float({label}.value) is what it is now"
        )

    __int__ = __index__ = __float__  # type: ignore[assignment]

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            f"{self!r} is a parameter: assign to its array, {self.name or 'parameter'}.value[...], or "
            "give a compiled function its new value, updates={parameter: value}"
        )

    def __iadd__(self, other: Any) -> Parameter:  # type: ignore[misc]
        label = self.name or "parameter"
        raise TypeError(
            f"{label} += ... would leave the parameter as it is, and make the variable another node: "
            f"change its array, {label}.value[...] += ..., or give a compiled function its new value, "
            f"updates={{{label}: {label} + ...}}"
        )

    __isub__ = __imul__ = __itruediv__ = __iadd__


def _restored(kind: type[Parameter], array: Any, name: str, requires_grad: bool) -> Parameter:
    """A parameter as it was before it was copied or pickled."""
    parameter = kind(array, name)
    parameter.requires_grad = requires_grad
    return parameter


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that begins at a cache line, where vector loads are fastest."""
    raw = np.empty(array.nbytes + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    result = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    return result


def _as_array(value: Any, dtype: Any) -> np.ndarray:
    """``value`` as an array of a dtype that graphs hold; Python floats become float32."""
    if dtype is not None:
        dtype = check_dtype(dtype)
    known = isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__")
    if dtype is None and not known:
        array = np.array(value)
        dtype = "float32" if array.dtype == np.float64 else array.dtype
    array = np.asarray(value, dtype=dtype)
    if array.dtype not in DTYPES and not known:
        raise GraphTypeError(f"expected an array or a number, got {described(value)}")
    check_dtype(array.dtype)
    return array


def parameter(
    value: Any, name: str | None = None, dtype: Any = None, requires_grad: bool | None = None
) -> Parameter:
    """Declare a parameter that starts at ``value``; see ``Parameter``."""
    return Parameter(value, name, dtype=dtype, requires_grad=requires_grad)


def constant(value: Any, dtype: Any = None, name: str | None = None) -> Node:
    """A constant node: a NumPy array or a Python number (float32 for Python floats unless told).

    The array is copied, so that later changes to it do not reach the graph.

    Raises:
        GraphTypeError: for a dtype which graphs do not hold.
    """
    if isinstance(value, Node):
        raise GraphTypeError(f"constant() takes an array or a number, got the node {value!r}")
    array = np.array(_as_array(value, dtype), order="C")
    array.flags.writeable = False
    type = TensorType(array.dtype, tuple(array.shape))
    return Node(CONSTANT, (), {"value": array}, type, name, user_origin())


def size(dim: Dim) -> Node:
    """The size of a dimension as an int64 scalar: a constant, or a number known at the call."""
    if isinstance(dim, int):
        return constant(dim, "int64")
    return Node(
        SIZE, (), {"dim": dim}, TensorType(np.dtype("int64"), ()), origin=user_origin()
    )


def sizes_from(nodes: Sequence[Node], shapes: Sequence[tuple[int, ...]]) -> dict[Any, int]:
    """The sizes of named dimensions, read off the actual shapes of ``nodes``.

    Raises ValueError where a shape does not fit its declaration.
    """
    sizes: dict[Any, int] = {}
    pending = []
    for node, shape in zip(nodes, shapes, strict=True):
        label = node.name or node.op.name
        if len(shape) != node.ndim:
            raise ValueError(
                f"{label} was declared as {node.type} and has {node.ndim} axes; "
                f"got an array of shape {shape}, with {len(shape)}"
            )
        for axis, (declared, actual) in enumerate(zip(node.shape, shape, strict=True)):
            if isinstance(declared, sympy.Symbol) and declared not in sizes:
                sizes[declared] = actual
            else:
                pending.append((label, node, axis, declared, actual, shape))
    for label, node, axis, declared, actual, shape in pending:
        expected = concrete(declared, sizes)
        if expected != actual:
            what = format_dim(declared)
            meaning = what if isinstance(declared, int) else f"{what} = {expected}"
            raise ValueError(
                f"{label} was declared as {node.type}: axis {axis} must have size {meaning}, "
                f"got an array of shape {shape}"
            )
    return sizes
