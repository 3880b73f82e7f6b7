"""The vectorised functions against mpmath, at special values, and in their types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from numba import njit

from staticgrad import vectormath

mpmath.mp.prec = 400
ONE = mpmath.mpf(1)
#: name, exact function, intervals sampled in float32 and float64, largest error in ULP
FUNCTIONS: dict[str, tuple[Callable[[Any], Any], list[tuple[float, float]], float]] = {
    "exp": (mpmath.exp, [(-100, 88), (-1, 1)], 1.0),
    "expm1": (mpmath.expm1, [(-20, 88), (-1, 1), (-1e-3, 1e-3)], 2.0),
    "log": (mpmath.log, [(1e-30, 1e30), (0.5, 2), (0.999, 1.001)], 1.0),
    "log2": (lambda x: mpmath.log(x, 2), [(1e-30, 1e30), (0.5, 2)], 2.0),
    "log1p": (lambda x: mpmath.log(ONE + x), [(-0.99, 100), (-1e-3, 1e-3)], 2.0),
    "tanh": (mpmath.tanh, [(-12, 12), (-1e-2, 1e-2)], 2.0),
    "sigmoid": (lambda x: 1 / (1 + mpmath.exp(-x)), [(-80, 80), (-2, 2)], 2.0),
    "softplus": (lambda x: mpmath.log(1 + mpmath.exp(x)), [(-80, 80), (-2, 2)], 2.0),
    "log_sigmoid": (lambda x: -mpmath.log(1 + mpmath.exp(-x)), [(-80, 80), (-2, 2)], 2.0),
    "digamma": (mpmath.digamma, [(2, 50)], 8.0),
    "erf": (mpmath.erf, [(-6, 6), (-1, 1), (0.9, 1.1)], 1.5),
    "erfc": (mpmath.erfc, [(-6, 9), (-1, 1), (0.4, 0.6)], 3.0),
    "sin": (mpmath.sin, [(-7, 7), (-3e4, 3e4), (1e6, 1e9), (1e20, 3e38)], 1.5),
    "cos": (mpmath.cos, [(-7, 7), (-3e4, 3e4), (1e6, 1e9), (1e20, 3e38)], 1.5),
    "tan": (mpmath.tan, [(-7, 7), (-3e4, 3e4), (1e20, 3e38)], 2.5),
    "asin": (mpmath.asin, [(-1, 1), (0.45, 0.55), (0.99, 1)], 1.6),
    "acos": (mpmath.acos, [(-1, 1), (0.45, 0.55), (0.99, 1)], 1.2),
    "atan": (mpmath.atan, [(-1, 1), (-20, 20), (0.9, 1.1), (1e5, 1e9)], 2.0),
    "sinh": (mpmath.sinh, [(-10, 10), (-1e-2, 1e-2), (-89, 89)], 2.0),
    "cosh": (mpmath.cosh, [(-10, 10), (-89, 89)], 1.5),
    "lgamma": (mpmath.loggamma, [(3, 50)], 4.0),
    "rsqrt": (lambda x: 1 / mpmath.sqrt(x), [(1e-30, 1e30)], 1.5),
}
#: the same for functions of two arguments, which are both drawn from the interval
PAIRS: dict[str, tuple[Callable[[Any, Any], Any], list[tuple[float, float]], float]] = {
    "power": (mpmath.power, [(0.01, 30), (0.9, 1.1), (1, 20)], 1.1),
    "hypot": (mpmath.hypot, [(-5, 5), (1e-40, 1e-37), (1e30, 2e38)], 1.0),
    "atan2": (mpmath.atan2, [(-5, 5), (-1e30, 1e30), (1e-40, 1e-37)], 2.1),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-310, -1e-310, 1e-42, 3e38, -3e38]


def on_arrays(name: str) -> Callable[[np.ndarray], np.ndarray]:
    function = getattr(vectormath, name)

    @njit(error_model="numpy")
    def loop(source: np.ndarray, target: np.ndarray) -> None:
        for i in range(source.size):
            target[i] = function(source[i])

    def call(source: np.ndarray) -> np.ndarray:
        target = np.empty_like(source)
        loop(source, target)
        return target

    return call


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(name: str, dtype: str) -> None:
    exact, intervals, allowed = FUNCTIONS[name]
    # seeded by itself, whatever runs before
    rng = np.random.default_rng(len(name))
    points = np.concatenate([rng.uniform(*interval, 300) for interval in intervals]).astype(dtype)
    results = on_arrays(name)(points)
    for point, result in zip(points, results, strict=True):
        reference = exact(mpmath.mpf(float(point)))
        error = in_units(result, reference, dtype)
        assert error <= allowed, f"{name}({point!r}) = {result!r}: {error:.2f} ULP"


def on_pairs(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    function = getattr(vectormath, name)

    @njit(error_model="numpy")
    def loop(x: np.ndarray, y: np.ndarray, target: np.ndarray) -> None:
        for i in range(x.size):
            target[i] = function(x[i], y[i])

    def call(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        target = np.empty_like(x)
        loop(x, y, target)
        return target

    return call


def in_units(result: Any, reference: Any, dtype: str) -> float:
    """The error of a result in units of the last place of the exact value."""
    unit = mpmath.mpf(float(np.spacing(np.abs(np.dtype(dtype).type(float(reference))))))
    return float(abs(mpmath.mpf(float(result)) - reference) / unit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_error_of_functions_of_two_arguments(name: str, dtype: str) -> None:
    exact, intervals, allowed = PAIRS[name]
    rng = np.random.default_rng(len(name))
    points = [np.concatenate([rng.uniform(*i, 300) for i in intervals]).astype(dtype) for _ in "xy"]
    results = on_pairs(name)(*points)
    largest = float(np.finfo(dtype).max)
    for x, y, result in zip(*points, results, strict=True):
        reference = exact(mpmath.mpf(float(x)), mpmath.mpf(float(y)))
        if abs(reference) > largest:
            assert np.isinf(result)
        else:
            error = in_units(result, reference, dtype)
            assert error <= allowed, f"{name}({x!r}, {y!r}) = {result!r}: {error:.2f} ULP"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "numpy_function"),
    [("power", np.power), ("hypot", np.hypot), ("atan2", np.arctan2)],
)
def test_special_values_of_two_arguments(name: str, numpy_function: Any, dtype: str) -> None:
    values = np.array([*SPECIAL, 2.0, 3.0, -3.0, 0.5, -2.5, 1e6]).astype(dtype)
    x, y = (grid.ravel().copy() for grid in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = numpy_function(x, y)
    got = on_pairs(name)(x, y)
    tiny = 4 * np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=tiny)
    signed = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(expected[signed]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("name", "numpy_function"),
    [("exp", np.exp), ("expm1", np.expm1), ("log", np.log), ("log2", np.log2), ("tanh", np.tanh),
     ("log1p", np.log1p), ("sqrt", np.sqrt), ("floor", np.floor), ("absolute", np.abs),
     ("sign", np.sign), ("sin", np.sin), ("cos", np.cos), ("tan", np.tan), ("asin", np.arcsin),
     ("acos", np.arccos), ("atan", np.arctan), ("sinh", np.sinh), ("cosh", np.cosh),
     ("erf", scipy.special.erf), ("erfc", scipy.special.erfc)],
)  # fmt: skip
def test_special_values(name: str, numpy_function: Any, dtype: str) -> None:
    with np.errstate(all="ignore"):
        points = np.array(SPECIAL).astype(dtype)
        expected = numpy_function(points)
    got = on_arrays(name)(points)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    zeros = points == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


def test_subnormal_results_are_rounded_once() -> None:
    for dtype, low, high in (("float32", -103.9, -87.4), ("float64", -745.1, -708.5)):
        points = np.random.default_rng(0).uniform(low, high, 300).astype(dtype)
        exact = [float(mpmath.exp(mpmath.mpf(float(p)))) for p in points]
        got = on_arrays("exp")(points)
        smallest = np.finfo(dtype).smallest_subnormal
        assert np.abs(got.astype("float64") - exact).max() <= 1.0 * float(smallest)


def test_maximum_keeps_nan() -> None:
    @njit
    def pair(a: float, b: float) -> tuple[float, float]:
        return vectormath_maximum(a, b), vectormath_minimum(a, b)

    for a, b in ((np.nan, 1.0), (1.0, np.nan)):
        assert np.isnan(pair(a, b)).all()
    assert pair(2.0, -3.0) == (2.0, -3.0)


vectormath_maximum, vectormath_minimum = vectormath.maximum, vectormath.minimum


def test_literals_do_not_widen_float32() -> None:
    for name in FUNCTIONS:
        function = on_arrays(name)
        assert function(np.ones(3, "float32")).dtype == np.float32
