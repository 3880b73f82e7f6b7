"""Making tensors, and the random numbers that they are filled with."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from staticgrad.eager.tensor import Tensor, as_tensor
from staticgrad.graph.leaves import check_dtype
from staticgrad.random import generator, manual_seed


def _finished(array: np.ndarray, requires_grad: bool) -> Tensor:
    result = Tensor(array)
    if requires_grad:
        result.requires_grad = True
    return result


def _shape(size: tuple[Any, ...]) -> tuple[int, ...]:
    """A shape given as one tuple, or as arguments."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = tuple(size[0])
    return tuple(int(extent) for extent in size)


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor with a copy of ``data``: numbers, nested lists, an array, a tensor.

    Python floats give float32, arrays keep their dtype.

    Raises:
        RuntimeError: if an integer tensor is to require a gradient.
        GraphTypeError: for a dtype that tensors do not hold.
    """
    source = as_tensor(data, dtype)
    return _finished(np.array(source._array), requires_grad)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares its memory with ``array``.

    Raises TypeError for anything but an array.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"from_numpy takes a NumPy array, got {type(array).__name__}")
    check_dtype(array.dtype)
    return Tensor(array)


def zeros(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Zeros of a shape: ``zeros(4, 4)`` or ``zeros((4, 4))``."""
    return _finished(np.zeros(_shape(size), check_dtype(dtype)), requires_grad)


def ones(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Ones of a shape."""
    return _finished(np.ones(_shape(size), check_dtype(dtype)), requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor of shape ``size`` filled with one value."""
    value = as_tensor(fill_value, dtype)
    return _finished(np.full(_shape((size,)), value._array), requires_grad)


def zeros_like(other: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros in the shape and dtype of ``other``."""
    return zeros(other.shape, dtype=dtype or other.dtype, requires_grad=requires_grad)


def ones_like(other: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones in the shape and dtype of ``other``."""
    return ones(other.shape, dtype=dtype or other.dtype, requires_grad=requires_grad)


def eye(n: int, m: int | None = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """The identity matrix, of n rows and m (or n) columns."""
    return _finished(np.eye(n, m, dtype=check_dtype(dtype)), requires_grad)


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """Numbers from ``start`` (0 where only one is given) up to, not including, ``end``."""
    first, last = (0, start) if end is None else (start, end)
    integral = builtins.all(isinstance(item, (int, np.integer)) for item in (first, last, step))
    chosen = check_dtype(dtype or ("int64" if integral else "float32"))
    return _finished(np.arange(first, last, step).astype(chosen), requires_grad)


def linspace(
    start: float, end: float, steps: int, dtype: Any = "float32", requires_grad: bool = False
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included, evenly spaced."""
    array = np.linspace(start, end, steps).astype(check_dtype(dtype))
    return _finished(array, requires_grad)


def rand(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Random numbers, uniform in [0, 1)."""
    array = generator().random(_shape(size), dtype=check_dtype(dtype))
    return _finished(np.asarray(array), requires_grad)


def randn(*size: Any, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Random numbers of the standard normal distribution."""
    array = generator().standard_normal(_shape(size), dtype=check_dtype(dtype))
    return _finished(np.asarray(array), requires_grad)


def randint(low: int, high: Any = None, size: Any = None, dtype: Any = "int64") -> Tensor:
    """Random integers from ``low`` (0 where left out) up to, not including, ``high``."""
    if size is None:
        low, high, size = 0, low, high
    array = generator().integers(low, high, _shape((size,)))
    return Tensor(np.asarray(array, check_dtype(dtype)))


def randperm(n: int) -> Tensor:
    """The integers 0 to n - 1 in random order."""
    return Tensor(generator().permutation(n))


__all__ = ["arange", "eye", "from_numpy", "full", "linspace", "manual_seed", "ones", "ones_like",
           "rand", "randint", "randn", "randperm", "tensor", "zeros", "zeros_like"]  # fmt: skip
