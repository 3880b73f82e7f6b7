"""Scalar functions for compiled loops, inlined and vectorised by LLVM; float32 and float64."""

from staticgrad.vectormath.combining import absolute, maximum, minimum, plus, sign, times, where
from staticgrad.vectormath.error_function import erf, erfc
from staticgrad.vectormath.exponential import (
    cosh,
    exp,
    expm1,
    log_sigmoid,
    logaddexp,
    sigmoid,
    sinh,
    softplus,
    tanh,
)  # fmt: skip
from staticgrad.vectormath.gamma import digamma, lgamma, polygamma
from staticgrad.vectormath.logarithm import log, log1p, log2
from staticgrad.vectormath.powers import hypot, power
from staticgrad.vectormath.randomness import uniform32, uniform64
from staticgrad.vectormath.roots import floor, rsqrt, sqrt
from staticgrad.vectormath.trigonometric import acos, asin, atan, atan2, cos, sin, tan

__all__ = [
    "absolute", "acos", "asin", "atan", "atan2", "cos", "cosh", "digamma", "erf", "erfc", "exp",
    "expm1", "floor", "hypot", "lgamma", "log", "log1p", "log2", "log_sigmoid", "logaddexp",
    "maximum", "minimum", "plus", "polygamma", "power", "rsqrt", "sigmoid", "sign", "sin", "sinh",
    "softplus", "sqrt", "tan", "tanh", "times", "uniform32", "uniform64", "where",
]  # fmt: skip
