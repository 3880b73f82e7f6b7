"""The vectorised functions against mpmath over their ranges, at special values, and in types."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
from numba import njit

from staticgrad import vectormath

#: bits of the references, whose functions work out themselves what huge arguments need
PRECISION = 120
INF = float("inf")
ONE = mpmath.mpf(1)


@dataclass(frozen=True)
class Claim:
    """An exact function, where it is defined, where more points lie, and its largest error in ULP."""

    exact: Callable[..., Any]
    ulp: float
    intervals: tuple[tuple[float, float], ...] = ()
    #: where the formulas change, by themselves and negated
    switches: tuple[float, ...] = ()
    low: float = -INF
    high: float = INF
    #: of each kind of points; mpmath takes long over some functions
    points: int = 600


def softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x)) if x < 100 else x + mpmath.log1p(mpmath.exp(-x))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def exact_erfc(x: Any) -> Any:
    return mpmath.erfc(x) if abs(x) < 100 else ONE - mpmath.sign(x)


EXPONENTS = ((-1, 1), (-20, 20), (-104, 89), (-746, 710))
ANGLES = ((-7, 7), (-3e4, 3e4), (1e6, 1e9), (1e20, 3e38))
MULTIPLES = tuple(k * np.pi / 4 for k in (*range(1, 20), 1001, 20003, 41720, 41722, 1e5))
FUNCTIONS: dict[str, Claim] = {
    "exp": Claim(mpmath.exp, 1.1, EXPONENTS, (0.3465735, 88.72284, 87.33655, 103.97, 709.7827)),
    "expm1": Claim(mpmath.expm1, 2.0, EXPONENTS, (0.3465735, 17.4, 37.5, 88.72284, 709.7827)),
    "log": Claim(mpmath.log, 1.2, ((0.5, 2), (0.999, 1.001)), (1, 0.7071067, 1.4142135), low=0),
    "log2": Claim(
        lambda x: mpmath.log(x) / mpmath.ln2, 2.0, ((0.5, 2), (0.999, 1.001)),
        (1, 0.7071067, 1.4142135), low=0,
    ),
    "log1p": Claim(
        mpmath.log1p, 2.0, ((-0.99, 2), (-1e-3, 1e-3)), (0.41421356, 0.29289322, 0.5), low=-1
    ),
    "tanh": Claim(mpmath.tanh, 2.0, ((-12, 12), (-1, 1)), (0.5, 0.625, 9.01, 19.06)),
    "sigmoid": Claim(sigmoid, 2.0, EXPONENTS, (88.72, 103.9, 709.7, 745)),
    "softplus": Claim(softplus, 2.0, EXPONENTS, (88.72, 103.9, 709.7, 745, 17.3, 36.7)),
    "log_sigmoid": Claim(lambda x: -softplus(-x), 2.0, EXPONENTS, (88.72, 103.9, 709.7, 745)),
    "erf": Claim(mpmath.erf, 2.0, ((-6, 6), (-1, 1), (0.9, 1.1)), (1, 4, 6, 3.92)),
    "erfc": Claim(exact_erfc, 2.7, ((-6, 9), (-1, 1), (9, 27)), (0.5, 1, 10.05, 26.5)),
    "sin": Claim(mpmath.sin, 1.7, ANGLES, (*MULTIPLES, 2.0**16, 2.0**25)),
    "cos": Claim(mpmath.cos, 1.7, ANGLES, (*MULTIPLES, 2.0**16, 2.0**25)),
    "tan": Claim(mpmath.tan, 2.0, ANGLES, (*MULTIPLES, 2.0**16, 2.0**25)),
    "asin": Claim(mpmath.asin, 1.7, ((-1, 1), (0.45, 0.55), (0.99, 1)), (0.5, 1), low=-1, high=1),
    "acos": Claim(mpmath.acos, 1.2, ((-1, 1), (0.45, 0.55), (0.99, 1)), (0.5, 1), low=-1, high=1),
    "atan": Claim(mpmath.atan, 2.0, ((-1, 1), (-20, 20), (0.9, 1.1)), (1,)),
    "sinh": Claim(mpmath.sinh, 2.2, EXPONENTS, (0.5, 1, 20, 40, 89.4, 710.4)),
    "cosh": Claim(mpmath.cosh, 2.0, EXPONENTS, (0.5, 1, 20, 40, 89.4, 710.4)),
    "lgamma": Claim(
        lambda x: mpmath.loggamma(x).real, 2.0,
        ((-0.5, 3), (0.99, 1.01), (1.99, 2.01), (2, 9), (9, 99)), (0.5, 1, 1.5, 2, 2.5, 8),
        low=-0.5, points=150,
    ),
    "digamma": Claim(
        mpmath.digamma, 2.7, ((0, 3), (1.4616, 1.4617), (2, 9), (9, 99)),
        (1, 1.4616321449683622, 2.25, 8), low=0, points=150,
    ),
    "sqrt": Claim(mpmath.sqrt, 0.5, ((0, 4),), (1,), low=0),
    "rsqrt": Claim(lambda x: 1 / mpmath.sqrt(x), 1.5, ((0, 4),), (1,), low=0),
    "floor": Claim(mpmath.floor, 0.0, ((-9, 9),), (1, 2, 2.0**23, 2.0**52)),
    "absolute": Claim(abs, 0.0),
    "sign": Claim(mpmath.sign, 0.0),
}  # fmt: skip
#: the same for functions of two arguments, which are both drawn from the interval
PAIRS: dict[str, Claim] = {
    "power": Claim(mpmath.power, 1.5, ((0.01, 30), (0.9, 1.1), (1, 20)), low=0),
    "hypot": Claim(mpmath.hypot, 1.0, ((-5, 5), (1e-40, 1e-37), (1e30, 2e38))),
    "atan2": Claim(mpmath.atan2, 2.0, ((-5, 5), (-1e30, 1e30), (1e-40, 1e-37))),
    "maximum": Claim(max, 0.0, ((-5, 5),)),
    "minimum": Claim(min, 0.0, ((-5, 5),)),
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-310, -1e-310, 1e-42, 3e38, -3e38]


@pytest.fixture(autouse=True)
def precision() -> Iterator[None]:
    with mpmath.workprec(PRECISION):
        yield


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


def of_all_sizes(rng: np.random.Generator, number: int, dtype: str) -> np.ndarray:
    """Numbers of both signs with all exponents alike, subnormal numbers among them."""
    kind = np.dtype(f"u{np.dtype(dtype).itemsize}")
    numbers = rng.integers(0, np.iinfo(kind).max, 2 * number, dtype=kind, endpoint=True).view(dtype)
    return numbers[np.isfinite(numbers)][:number]


def neighbours(points: tuple[float, ...], dtype: str) -> np.ndarray:
    """Each point, the three numbers on either side, and all of them negated."""
    kind = np.dtype(f"i{np.dtype(dtype).itemsize}")
    around = np.array(points, dtype).view(kind)[:, None] + np.arange(-3, 4, dtype=kind)
    numbers = around.ravel().view(dtype)
    return np.concatenate([numbers, -numbers])


def samples(claim: Claim, dtype: str, seed: int) -> np.ndarray:
    """Points over the whole range of a function, and more where its formulas are put together."""
    rng = np.random.default_rng(seed)
    parts = [of_all_sizes(rng, 2 * claim.points, dtype)]
    parts += [rng.uniform(*interval, claim.points).astype(dtype) for interval in claim.intervals]
    parts.append(neighbours(claim.switches, dtype))
    points = np.concatenate(parts)
    return points[(points > claim.low) & (points <= claim.high)]


def in_units(result: Any, reference: Any, dtype: str) -> float:
    """The error of a result in units of the last place of the exact value; none where it overflows."""
    limits = np.finfo(dtype)
    unit = mpmath.mpf(2) ** (mpmath.mag(reference) - limits.nmant - 1) if reference else 0
    unit = max(unit, mpmath.mpf(float(limits.smallest_subnormal)))
    value = mpmath.mpf(float(result))
    if mpmath.isinf(value):
        # as far beyond the largest number as the next would be
        value = mpmath.sign(value) * mpmath.mpf(2) ** limits.maxexp
        reference = min(max(reference, -abs(value)), abs(value))
    return float(abs(value - reference) / unit)


def check(name: str, claim: Claim, dtype: str, result: np.ndarray, *arguments: np.ndarray) -> None:
    worst, where = 0.0, ""
    for got, *given in zip(result, *arguments, strict=True):
        error = in_units(got, claim.exact(*(mpmath.mpf(float(x)) for x in given)), dtype)
        if not error <= worst:
            worst, where = error, f"{name}({', '.join(map(repr, given))}) = {got!r}"
    assert worst <= claim.ulp, f"{where}: {worst:.2f} ULP"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(name: str, dtype: str) -> None:
    claim = FUNCTIONS[name]
    if name in ("lgamma", "digamma") and dtype == "float32":
        claim = replace(claim, ulp=0.51)
    # seeded by itself, whatever runs before
    with np.errstate(over="ignore"):
        points = samples(claim, dtype, len(name))
    check(name, claim, dtype, on_arrays(name)(points), points)


def pairs_of(name: str, claim: Claim, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(name))
    number = claim.points
    parts = [[rng.uniform(*i, number).astype(dtype) for i in claim.intervals] for _ in "xy"]
    x = of_all_sizes(rng, 2 * number, dtype)
    if name == "power":
        # every result, from the least subnormal number to beyond the largest, of every base
        x = np.abs(x)
        limits = np.finfo(dtype)
        whole = np.log(float(limits.smallest_subnormal)), np.log(2.0) * limits.maxexp
        with np.errstate(divide="ignore", over="ignore"):
            y = (rng.uniform(*whole, x.size) / np.log(x.astype("float64"))).astype(dtype)
        sound = np.isfinite(y) & (x > 0)
        x, y = x[sound], y[sound]
    else:
        # of all sizes, and of sizes like those of x
        y = np.concatenate([of_all_sizes(rng, number, dtype), x[number:] * rng.uniform(-2, 2, number)])
        y = y.astype(dtype)
    parts[0].append(x)
    parts[1].append(y)
    return np.concatenate(parts[0]), np.concatenate(parts[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_error_of_functions_of_two_arguments(name: str, dtype: str) -> None:
    with np.errstate(over="ignore"):
        x, y = pairs_of(name, PAIRS[name], dtype)
    if name == "atan2":
        x, y = x[(y != 0) | (x != 0)], y[(y != 0) | (x != 0)]
    check(name, PAIRS[name], dtype, on_pairs(name)(x, y), x, y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logaddexp_beside_its_larger_argument(dtype: str) -> None:
    """The sum of a maximum and a logarithm that may nearly cancel: its error is that of the parts."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-50, 50, 500).astype(dtype)
    y = (x + rng.uniform(-40, 40, 500)).astype(dtype)
    got = on_pairs("logaddexp")(x, y)
    for a, b, result in zip(x, y, got, strict=True):
        low, high = sorted((mpmath.mpf(float(a)), mpmath.mpf(float(b))))
        exact = high + mpmath.log1p(mpmath.exp(low - high))
        scale = max(abs(high), abs(exact), mpmath.mpf(1) / 2)
        assert abs(mpmath.mpf(float(result)) - exact) <= 1.5 * np.finfo(dtype).eps * scale


@pytest.mark.parametrize(
    ("name", "dtype", "allowed"),
    [("lgamma", "float32", 0.51), ("lgamma", "float64", 4.0), ("digamma", "float32", 0.51),
     ("digamma", "float64", 8.0)],
)  # fmt: skip
def test_gamma_functions_below_zero(name: str, dtype: str, allowed: float) -> None:
    """By reflection: relative to the larger of the result and 1, for the roots' sake."""
    exact = FUNCTIONS[name].exact
    rng = np.random.default_rng(2)
    points = np.concatenate([-rng.uniform(0, 20, 300), -rng.uniform(20, 160, 30)]).astype(dtype)
    points = points[points != np.rint(points)]
    for point, result in zip(points, on_arrays(name)(points), strict=True):
        reference = exact(mpmath.mpf(float(point)))
        error = abs(mpmath.mpf(float(result)) - reference)
        assert error <= allowed * np.finfo(dtype).eps * max(1, abs(reference)), repr(point)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_polygamma(order: int, dtype: str) -> None:
    polygamma = vectormath.polygamma

    @njit(error_model="numpy")
    def loop(source: np.ndarray, target: np.ndarray) -> None:
        for i in range(source.size):
            target[i] = polygamma(order, source[i])

    rng = np.random.default_rng(order)
    parts = rng.uniform(0, 3, 60), rng.uniform(3, 90, 60), 10 ** rng.uniform(-9, 9, 60)
    points = np.concatenate(parts).astype(dtype)
    result = np.empty_like(points)
    loop(points, result)
    claim = Claim(lambda x: mpmath.psi(order, x), 0.51 if dtype == "float32" else order + 1.0)
    check(f"polygamma, order {order}", claim, dtype, result, points)


def c_lgamma(x: Any) -> float:
    """C's function; SciPy's has other values at -inf and at subnormal numbers."""
    return INF if x <= 0 and np.rint(x) == x else math.lgamma(x)


NUMPY_PAIRS = {
    "power": np.power, "hypot": np.hypot, "atan2": np.arctan2, "maximum": np.maximum,
    "minimum": np.minimum, "logaddexp": np.logaddexp,
}  # fmt: skip
NUMPY = {
    "exp": np.exp, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log1p": np.log1p,
    "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "sqrt": np.sqrt, "floor": np.floor,
    "absolute": np.abs, "sign": np.sign, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "erf": scipy.special.erf,
    "erfc": scipy.special.erfc, "lgamma": np.vectorize(c_lgamma), "digamma": scipy.special.psi,
    "sigmoid": scipy.special.expit, "log_sigmoid": scipy.special.log_expit,
    "softplus": lambda x: np.logaddexp(x, np.zeros_like(x)), "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NUMPY_PAIRS)
def test_special_values_of_two_arguments(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        values = np.array([*SPECIAL, 2.0, 3.0, -3.0, 0.5, -2.5, 1e6, 1e300]).astype(dtype)
        x, y = (grid.ravel().copy() for grid in np.meshgrid(values, values))
        expected = NUMPY_PAIRS[name](x, y)
    got = on_pairs(name)(x, y)
    tiny = 4 * np.finfo(dtype).smallest_subnormal
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=tiny)
    if name in ("maximum", "minimum"):
        # NumPy takes either of two zeros
        zeros = (x == 0) & (y == 0)
        got, expected = got[~zeros], expected[~zeros]
    signed = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[signed]), np.signbit(expected[signed]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NUMPY)
def test_special_values(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        points = np.array([*SPECIAL, -2.0, -3.5, 1e-300, 1e300, -1e300, 1.8e308]).astype(dtype)
        expected = NUMPY[name](points).astype(dtype)
    got = on_arrays(name)(points)
    np.testing.assert_allclose(got, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
    zeros = (points == 0) & ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


def test_every_function_has_its_claim() -> None:
    elsewhere = {"logaddexp", "polygamma", "plus", "times", "where", "uniform32", "uniform64"}
    assert set(vectormath.__all__) == set(FUNCTIONS) | set(PAIRS) | elsewhere
    assert set(NUMPY) == set(FUNCTIONS)


def test_accumulators_selection_and_random_numbers() -> None:
    plus, times, where = vectormath.plus, vectormath.times, vectormath.where
    uniform32, uniform64 = vectormath.uniform32, vectormath.uniform64

    @njit(error_model="numpy")
    def fold(x: np.ndarray) -> tuple[float, float]:
        total, product = 0.0, 1.0
        for i in range(x.size):
            total = plus(total, where(x[i] > 0, x[i], -x[i]))
            product = times(product, x[i])
        return total, product

    @njit
    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        single, double = np.empty(n, np.float32), np.empty(n)
        for i in range(n):
            single[i], double[i] = uniform32(7, 0, i), uniform64(7, 0, i)
        return single, double

    x = np.random.default_rng(0).uniform(-1.5, 1.5, 40)
    np.testing.assert_allclose(fold(x), (np.abs(x).sum(), x.prod()), rtol=1e-13)
    for numbers in draw(4000):
        assert numbers.min() >= 0 and numbers.max() < 1
        assert abs(numbers.mean() - 0.5) < 0.02 and abs(numbers.var() - 1 / 12) < 0.005


def test_subnormal_results_are_rounded_once() -> None:
    for dtype, low, high in (("float32", -103.9, -87.4), ("float64", -745.1, -708.5)):
        points = np.random.default_rng(0).uniform(low, high, 300).astype(dtype)
        exact = [float(mpmath.exp(mpmath.mpf(float(p)))) for p in points]
        got = on_arrays("exp")(points)
        smallest = np.finfo(dtype).smallest_subnormal
        assert np.abs(got.astype("float64") - exact).max() <= 1.0 * float(smallest)


def test_huge_angles_among_ordinary_ones() -> None:
    """One lane of a vector that goes another way leaves the others as they are."""
    for dtype in ("float32", "float64"):
        points = np.random.default_rng(0).uniform(-9, 9, 67).astype(dtype)
        plain = {name: on_arrays(name)(points) for name in ("sin", "cos", "tan")}
        changed = points.copy()
        changed[[3, 17, 40, 66]] = 1e30, np.inf, -3e22, np.nan
        for name, expected in plain.items():
            with np.errstate(invalid="ignore"):
                want = NUMPY[name](changed)
            got = on_arrays(name)(changed)
            np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps)
            same = changed == points
            np.testing.assert_array_equal(got[same], expected[same])


def test_literals_do_not_widen_float32() -> None:
    for name in FUNCTIONS:
        function = on_arrays(name)
        assert function(np.ones(3, "float32")).dtype == np.float32
