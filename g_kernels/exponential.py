"""exp and what is made of it: expm1, tanh and the logistic functions.

``x = n ln 2 + r`` with ``|r| <= ln(2)/2``, where ``n ln 2`` is taken off in two pieces whose first is
exact; a polynomial gives ``exp(r)``, and ``2**n`` is put together from its bits. The polynomials are
near-minimax (interpolation at Chebyshev nodes).
"""

import math

from .logarithm import FRACTION_BITS
from .straightline import (
    as_bits,
    as_float,
    copy_sign,
    elementary,
    fma,
    is_nan,
    magnitude,
    polynomial,
    select,
)  # fmt: skip

# (exp(r) - 1 - r) / r**2
EXPONENTIAL = {
    32: (0.5, 0.16666576989698775, 0.041666554617204574, 0.008363179052722578,
         0.0013926183587713494),
    64: (0.5, 0.1666666666666667, 0.04166666666666667, 0.008333333333326136,
         0.0013888888888883748, 0.00019841269874820627, 2.4801587325547743e-05,
         2.7557255400206422e-06, 2.75572736431103e-07, 2.5105217004720745e-08,
         2.0914686968086876e-09),
}  # fmt: skip
# (2**r - 1) / r for |r| <= 1/2, in float32
EXP2 = (0.6931471824645996, 0.24022650718688965, 0.05550358071923256, 0.009618077427148819,
        0.0013391643296927214, 0.0001545635750517249)  # fmt: skip
# ln 2 in two pieces; the first has so few bits that its products with exponents are exact
LN2_HIGH = {32: 0.693359375, 64: 0.6931471803691238}
LN2_LOW = {32: -0.00021219444005469057, 64: 1.9082149292705877e-10}
# (2 atanh(s) / s - 2) / s**2 in powers of s**2, up to 1/3
ATANH_THIRD = {
    32: (0.6666663885116577, 0.4000764489173889, 0.28235357999801636, 0.26857098937034607),
    64: (0.6666666666666666, 0.40000000000014485, 0.28571428567131857, 0.22222222715282702,
         0.18181789535850842, 0.15385567462815755, 0.13314184076230373, 0.12000716986129578,
         0.08802450517802113, 0.16160614324024156),
}  # fmt: skip
# (cosh(r) - 1) / r**2 and (sinh(r) - r) / r**3 in powers of r**2
COSH = {
    32: (0.5, 0.041666511446237564, 0.001393050653859973),
    64: (0.5, 0.04166666666666668, 0.0013888888888879082, 2.480158733642852e-05,
         2.7557263287446643e-07, 2.0918136516620196e-09),
}  # fmt: skip
SINH = {
    32: (0.1666666716337204, 0.008333150297403336, 0.00019998008792754263),
    64: (0.16666666666666666, 0.008333333333333333, 0.00019841269841263298, 2.7557319247224e-06,
         2.505207108615381e-08, 1.6086631707766308e-10),
}  # fmt: skip
# (tanh(x) - x) / x**3 in powers of x**2, up to 5/8
TANH = {
    32: (-0.333333283662796, 0.1333274394273758, -0.05384816229343414, 0.02098691090941429,
         -0.006084279622882605),
    64: (-0.3333333333333333, 0.13333333333333033, -0.05396825396788825, 0.021869488518662286,
         -0.008863235096209671, 0.003592121667721315, -0.0014557747943454275,
         0.0005896577189384784, -0.0002375816628927853, 9.255408976445487e-05,
         -3.118276779963142e-05, 6.476658369354856e-06),
}  # fmt: skip
# added and taken off again, it rounds to an integer, which then stands in the lowest bits
ROUNDER = {32: 1.5 * 2**23, 64: 1.5 * 2**52}
BIAS = {32: 127, 64: 1023}
# exp is 0 below the first and infinite above the second
EXP_RANGE = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
# expm1 is -1 below the first
EXPM1_RANGE = {32: (-18.0, 89.0), 64: (-38.0, 710.0)}
# expm1(x) is x below, and its halves may not be subnormal
TINY = {32: 2.0**-25, 64: 2.0**-54}
# sinh and cosh are infinite from here on, and 2**n is not yet
HYPERBOLIC_LIMIT = {32: 89.6, 64: 710.7}
# tanh is 1 to the last bit from here on
TANH_ONE = {32: 10.0, 64: 20.0}


def parts(x):
    """``n`` in the lowest bits of an integer, and ``r``."""
    shifted = fma(x, 1 / math.log(2), ROUNDER[x.bits])
    n = shifted - ROUNDER[x.bits]
    return as_bits(shifted), fma(-n, LN2_LOW[x.bits], fma(-n, LN2_HIGH[x.bits], x))


def reduce(x, limits):
    """``n`` as an integer, and ``exp(r) - 1``. A NaN runs through to the second."""
    low, high = limits[x.bits]
    n, r = parts(select(x < low, low, select(x > high, high, x)))
    return n - as_bits(x.literal(ROUNDER[x.bits])), exp_of_rest(r)


def exp_of_rest(r):
    """exp(r) - 1"""
    return fma(polynomial(r, EXPONENTIAL[r.bits]), r * r, r)


def exp2_of_rest(r):
    """2**r for a float32 ``|r| <= 1/2``"""
    return fma(polynomial(r, EXP2), r, 1.0)


def power_of_two(n, bits):
    """2**n for an ``n`` that gives a normal number."""
    return as_float((n + BIAS[bits]) << FRACTION_BITS[bits])


@elementary
def exp(x):
    """e**x within 1.1 ULP; subnormal results are rounded once."""
    n, fraction = reduce(x, EXP_RANGE)
    # two factors, since 2**n alone may be no normal number where the result is
    half = n >> 1
    return (fraction + 1.0) * power_of_two(half, x.bits) * power_of_two(n - half, x.bits)


@elementary
def expm1(x):
    """e**x - 1 within 2 ULP, for small ``x`` too."""
    n, fraction = reduce(x, EXPM1_RANGE)
    # half of 2**n, which alone may overflow
    scale = power_of_two(n - 1, x.bits)
    return select(magnitude(x) < TINY[x.bits], x, fma(scale, fraction, scale - 0.5) * 2.0)


@elementary
def tanh(x):
    """The hyperbolic tangent within 2 ULP: a polynomial, or ``1 - 2 / (exp(2|x|) + 1)``."""
    bits = x.bits
    size = magnitude(x)
    limit = TANH_ONE[bits]
    n, r = parts(select(size > limit, limit, size) * 2.0)
    # only the exponent of the rounder's bits is not shifted out
    scale = as_float((n << FRACTION_BITS[bits]) + as_bits(x.literal(1.0)))
    large = 1.0 - 2.0 / (fma(scale, exp_of_rest(r), scale) + 1.0)
    square = x * x
    small = fma(polynomial(square, TANH[bits]) * square, size, size)
    return copy_sign(select(size < 0.625, small, large), x)


def hyperbolic_parts(size):
    """What sinh and cosh are made of: ``2 (cosh(r) - 1)``, ``2 sinh(r)``, and the halves of
    ``cosh(n log 2)`` and ``sinh(n log 2)``, as 2**n alone may overflow."""
    bits = size.bits
    limit = HYPERBOLIC_LIMIT[bits]
    n, r = parts(select(size > limit, limit, size))
    # only the lowest bits of n are not shifted out
    exponent = n << FRACTION_BITS[bits]
    quarter = as_bits(size.literal(0.25))
    up, down = as_float(exponent + quarter), quarter - exponent
    # beside a large 2**n, 2**-n is nothing
    down = as_float(select(down > 0, down, 0))
    square, double = r * r, r + r
    even = polynomial(square, [2.0 * c for c in COSH[bits]]) * square
    odd = fma(polynomial(square, SINH[bits]) * square, double, double)
    return even, odd, up + down, up - down


@elementary
def sinh(x):
    """The hyperbolic sine within 2.2 ULP, from ``sinh(n log 2 + r)``."""
    even, odd, cosine, sine = hyperbolic_parts(magnitude(x))
    return copy_sign(fma(sine, 2.0, fma(even, sine, odd * cosine)), x)


@elementary
def cosh(x):
    """The hyperbolic cosine within 2 ULP, from ``cosh(n log 2 + r)``."""
    even, odd, cosine, sine = hyperbolic_parts(magnitude(x))
    return fma(cosine, 2.0, fma(even, cosine, odd * sine))


@elementary
def sigmoid(x):
    """1 / (1 + exp(-x)) within 2 ULP, without overflow on either side."""
    e = exp.formula(-magnitude(x))
    numerator, denominator = select(x >= 0.0, 1.0, e), e + 1.0
    inverse = 1.0 / denominator
    quotient = numerator * inverse
    # what the roundings of the sum and of the quotient left out
    lost = e - (denominator - 1.0)
    rest = fma(-quotient, lost, fma(-quotient, denominator, numerator))
    return fma(rest, inverse, quotient)


def log_of_one_and(t):
    """log(1 + t) for ``t`` from 0 to 1: ``2 atanh(s)`` as in ``log``, but for ``s`` up to 1/3."""
    s = t / (t + 2.0)
    z = s * s
    return fma(-s, fma(-z, polynomial(z, ATANH_THIRD[t.bits]), t), t)


@elementary
def softplus(x):
    """log(1 + exp(x)) within 2 ULP, without overflow."""
    return select(x < 0.0, 0.0, x) + log_of_one_and(exp.formula(-magnitude(x)))


@elementary
def log_sigmoid(x):
    """log(1 / (1 + exp(-x))) within 2 ULP."""
    return select(x > 0.0, 0.0, x) - log_of_one_and(exp.formula(-magnitude(x)))


@elementary
def logaddexp(x, y):
    """log(exp(x) + exp(y)), without overflow; within 1.5 ULP of the larger argument."""
    difference = x - y
    # equal infinities have no difference
    distance = select(x == y, 0.0, magnitude(difference))
    larger = select(x > y, x, y)
    total = larger + log_of_one_and(exp.formula(-distance))
    return select(is_nan(distance), distance, total)
