"""Tensors as text, in PyTorch's manner: four digits, and what is out of the ordinary."""

from __future__ import annotations

from typing import Any

import numpy as np

#: dtypes that are not mentioned, since literals have them
ORDINARY = ("float32", "int64", "bool")


def format_tensor(array: np.ndarray, requires_grad: bool, grad_fn: Any) -> str:
    """``tensor([1., 2.], requires_grad=True)``."""
    numbers: Any = {}
    if array.dtype.kind == "f":
        finite = array[np.isfinite(array)]
        whole = bool(np.all(finite == np.rint(finite))) and bool(np.all(np.abs(finite) < 1e8))
        numbers = {"precision": 4, "floatmode": "unique" if whole else "fixed"}
    text = np.array2string(array, separator=", ", prefix="tensor(", threshold=1000, **numbers)
    parts = [text]
    if array.dtype.name not in ORDINARY:
        parts.append(f"dtype={array.dtype}")
    if array.size == 0 and array.ndim != 1:
        parts.append(f"size={array.shape}")
    if grad_fn is not None:
        parts.append(f"grad_fn={grad_fn!r}")
    elif requires_grad:
        parts.append("requires_grad=True")
    return f"tensor({', '.join(parts)})"
