"""The terms of losses, element by element, with PyTorch's conventions at kinks and bounds."""

from __future__ import annotations

from typing import Any

import sympy

from staticgrad.ops.elementwise import FORMULA, elementwise, x, y
from staticgrad.ops.scalar import ONE, abs, choose, less, less_equal, log1p, sign
from staticgrad.ops.table import sample

_beta = sympy.Symbol("beta", real=True, positive=True)
smooth_l1_term = elementwise(
    "smooth_l1_term",
    lambda: choose(less.head(abs.head(x), _beta), x**2 / (2 * _beta), abs.head(x) - _beta / 2),
    lambda: choose(less.head(abs.head(x), _beta), x / _beta, sign.head(x)),
    options={_beta: 1.0}, flops=5, notation=FORMULA,
    doc="x**2 / (2 beta) where abs(x) < beta, else abs(x) - beta / 2.",
)  # fmt: skip
_delta = sympy.Symbol("delta", real=True, positive=True)
huber_term = elementwise(
    "huber_term",
    lambda: choose(
        less_equal.head(abs.head(x), _delta), x**2 / 2, _delta * (abs.head(x) - _delta / 2)
    ),
    lambda: choose(less_equal.head(abs.head(x), _delta), x, _delta * sign.head(x)),
    options={_delta: 1.0}, flops=5, notation=FORMULA,
    doc="x**2 / 2 where abs(x) <= delta, else delta (abs(x) - delta / 2).",
)  # fmt: skip
#: where a logarithm is held, so that a probability of 0 or 1 does not make a loss infinite
_LOWEST = sympy.Integer(-100)


def _logarithms() -> tuple[Any, Any]:
    """Of x and of 1 - x."""
    return sympy.Max(sympy.log(x), _LOWEST), sympy.Max(log1p.head(-x), _LOWEST)


def _bce() -> Any:
    log, log_rest = _logarithms()
    return -(y * log + (ONE - y) * log_rest)


def _bce_derivatives() -> Any:
    log, log_rest = _logarithms()
    return (x - y) / sympy.Max(x * (1 - x), sympy.Float(1e-12, 17)), log_rest - log


bce_term = elementwise(
    "bce_term", _bce, _bce_derivatives, arity=2, flops=26, notation=FORMULA, domain=(0.05, 0.95),
    doc="The cross entropy of a probability x against y, with logarithms of at least -100.",
)  # fmt: skip

sample("smooth_l1_term", lambda a: smooth_l1_term(a, beta=0.5), (3, 4))
sample("huber_term", lambda a: huber_term(a, delta=0.7), (3, 4))
