"""Define-by-run mode: each operation runs at once on NumPy arrays, and is recorded for a backward
pass that applies the same pullbacks as the static graph's derivation.

The names are PyTorch's: ``tensor``, ``zeros``, ``no_grad``, ``Tensor.backward``. All public functions
of staticgrad take tensors, and stand here too: ``eager.tanh`` is ``sg.tanh``. ``eager.nn`` and
``eager.optim`` are ``staticgrad.nn`` and ``staticgrad.optim``.
"""

from __future__ import annotations

import importlib
from typing import Any

from staticgrad.eager.backward import grad
from staticgrad.eager.creation import *  # noqa: F403  listed in creation.py
from staticgrad.eager.creation import __all__ as _creation
from staticgrad.eager.modes import enable_grad, is_grad_enabled, no_grad
from staticgrad.eager.tensor import Tensor, as_tensor
from staticgrad.ops import public as _public
from staticgrad.ops.advice import missing_names
from staticgrad.ops.custom import Function
from staticgrad.ops.public import *  # noqa: F403  the op functions, listed in ops/public.py

float32, float64, int32, int64 = "float32", "float64", "int32", "int64"


_missing = missing_names(__name__)


def __getattr__(name: str) -> Any:
    # these stand above this package, and are looked up when asked for
    if name in ("nn", "optim"):
        return importlib.import_module(f"staticgrad.{name}")
    return _missing(name)


__all__ = ["Function", "Tensor", "as_tensor", "enable_grad", "float32", "float64", "grad", "int32",
           "int64", "is_grad_enabled", "no_grad"]  # fmt: skip
__all__ += _creation
__all__ += _public.__all__
