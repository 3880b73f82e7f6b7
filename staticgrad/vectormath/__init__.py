"""Scalar functions for compiled loops, inlined and vectorised by LLVM; float32 and float64."""

from staticgrad.vectormath.combining import absolute, maximum, minimum, plus, sign, times, where
from staticgrad.vectormath.first import (
    acos, asin, atan, atan2, cos, cosh, digamma, erf, erfc, exp, expm1, hypot, lgamma, log, log1p,
    log2, log_sigmoid, logaddexp, polygamma, power, sigmoid, sin, sinh, softplus, tan, tanh,
)  # fmt: skip
from staticgrad.vectormath.roots import floor, rsqrt, sqrt
from staticgrad.vectormath.source import source_of

__all__ = [
    "absolute", "acos", "asin", "atan", "atan2", "cos", "cosh", "digamma", "erf", "erfc", "exp",
    "expm1", "floor", "hypot", "lgamma", "log", "log1p", "log2", "log_sigmoid", "logaddexp",
    "maximum", "minimum", "plus", "polygamma", "power", "rsqrt", "sigmoid", "sign", "sin", "sinh",
    "softplus", "source_of", "sqrt", "tan", "tanh", "times", "where",
]  # fmt: skip
