"""Logistic functions and activations, one declaration each."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from staticgrad.graph.compose import times
from staticgrad.graph.expression import Call
from staticgrad.graph.node import GraphError, Node
from staticgrad.ops.elementwise import FORMULA, elementwise, out, x, y
from staticgrad.ops.scalar import (
    HALF,
    ONE,
    ZERO,
    choose,
    erfc,
    expm1,
    greater,
    less,
    logical_and,
    scipy_special,
)
from staticgrad.ops.table import sample

sigmoid = elementwise(
    "sigmoid", lambda: 1 / (1 + sympy.exp(-x)), lambda: sympy.Mul(out, 1 - out, evaluate=False),
    call="sigmoid", numpy=scipy_special("expit"), flops=12,
    notation=lambda a: Call("sigmoid", (a,), notation=Call("sigma", (a,))),
)  # fmt: skip
softplus = elementwise(
    "softplus", lambda: sympy.log(1 + sympy.exp(x)), sigmoid.head(x), call="softplus",
    notation=FORMULA,
    numpy=lambda a: np.logaddexp(a, np.zeros((), np.asarray(a).dtype)), flops=22,
)  # fmt: skip
log_sigmoid = elementwise(
    "log_sigmoid", lambda: -sympy.log(1 + sympy.exp(-x)), sigmoid.head(-x), call="log_sigmoid",
    notation=lambda a: Call("log_sigmoid", (a,), notation=Call("log", (Call("sigma", (a,)),))),
    numpy=lambda a: -np.logaddexp(-np.asarray(a), np.zeros((), np.asarray(a).dtype)), flops=22,
)  # fmt: skip
logaddexp = elementwise(
    "logaddexp", lambda: sympy.log(sympy.exp(x) + sympy.exp(y)),
    lambda: (sigmoid.head(x - y), sigmoid.head(y - x)), arity=2, call="logaddexp", numpy=np.logaddexp,
    notation=FORMULA,    flops=24, doc="log(exp(x) + exp(y)), without overflow.",
)  # fmt: skip
relu = elementwise(
    "relu", lambda: sympy.Max(x, 0), choose(greater.head(out, ZERO), ONE, ZERO),
    kind="arithmetic", call="relu", numpy=lambda a: np.maximum(a, np.zeros((), np.asarray(a).dtype)),
    doc="max(x, 0); its derivative at 0 is 0.",
)  # fmt: skip
silu = elementwise(
    "silu", x * sigmoid.head(x), flops=14, doc="x sigmoid(x).",
    notation=lambda a: Call("silu", (a,), notation=times(a, Call("sigma", (a,), rank=a.rank))),
)  # fmt: skip

_slope = sympy.Symbol("negative_slope", real=True)
leaky_relu = elementwise(
    "leaky_relu", choose(greater.head(x, ZERO), x, _slope * x),
    choose(greater.head(x, ZERO), ONE, _slope), options={_slope: 0.01}, flops=2,
    doc="x where x > 0, else negative_slope * x (0.01 unless told), which is the derivative at 0.",
)  # fmt: skip
_alpha = sympy.Symbol("alpha", real=True)
elu = elementwise(
    "elu", choose(greater.head(x, ZERO), x, _alpha * expm1.head(x)),
    choose(greater.head(x, ZERO), ONE, _alpha * sympy.exp(x)), options={_alpha: 1.0}, flops=12,
    doc="x where x > 0, else alpha * (exp(x) - 1), with alpha = 1 unless told.",
)  # fmt: skip
# the constants of Klambauer et al., "Self-Normalizing Neural Networks" (2017)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
selu = elementwise(
    "selu",
    lambda: choose(
        greater.head(x, ZERO), _SELU_SCALE * x, _SELU_SCALE * _SELU_ALPHA * expm1.head(x)
    ),
    lambda: choose(greater.head(x, ZERO), sympy.Float(_SELU_SCALE, 17),
                   sympy.Float(_SELU_SCALE * _SELU_ALPHA, 17) * sympy.exp(x)),
    flops=13,
)  # fmt: skip
# x Phi(x); with erfc, whose tail keeps its digits, instead of 1 + erf. SymPy itself rewrites erfc(-a)
# as 2 - erfc(a), which loses them again, so the formula uses the op's own head.
_gelu = elementwise(
    "gelu", lambda: HALF * x * erfc.head(-x / sympy.sqrt(2)),
    lambda: (HALF * erfc.head(-x / sympy.sqrt(2))
             + x * sympy.exp(-(x**2) / 2) / sympy.sqrt(2 * sympy.pi)),
    flops=24,
)  # fmt: skip
# Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016)
_gelu_tanh = elementwise(
    "gelu_tanh",
    lambda: HALF * x * (
        1 + sympy.tanh(sympy.sqrt(2 / sympy.pi) * (x + sympy.Float(0.044715, 17) * x**3))
    ),
    flops=20,
)  # fmt: skip
_low, _high = sympy.symbols("min_val max_val", real=True)
hardtanh = elementwise(
    "hardtanh", lambda: sympy.Min(sympy.Max(x, _low), _high),
    lambda: choose(logical_and.head(greater.head(x, _low), less.head(x, _high)), ONE, ZERO),
    options={_low: -1.0, _high: 1.0}, flops=2,
    doc="x held between min_val and max_val; the derivative at both bounds is 0.",
)  # fmt: skip


def gelu(x: Any, approximate: str = "none") -> Node:
    """x Phi(x), with the normal distribution function Phi, exactly or by its tanh approximation.

    Raises GraphError for an ``approximate`` other than "none" and "tanh".
    """
    if approximate not in ("none", "tanh"):
        raise GraphError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _gelu(x) if approximate == "none" else _gelu_tanh(x)


sample("leaky_relu", lambda a: leaky_relu(a, negative_slope=0.2), (3, 4))
sample("elu", lambda a: elu(a, alpha=0.5), (3, 4))
