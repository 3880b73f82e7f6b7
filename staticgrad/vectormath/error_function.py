"""The error function and its complement.

For small ``|x|``, ``erf(x)`` is ``x`` times a polynomial in ``x**2``. Beyond, ``erfc(a)`` is
``exp(-a**2) g(t) / (1 + 2a)`` with ``t = (a - k) / (a + k)``, after Shepherd and Laframboise
("Chebyshev approximation of (1 + 2x) exp(x^2) erfc x", 1981); float32's erf has 2 to the power of a
polynomial instead. The polynomials are near-minimax (interpolation or least squares at Chebyshev
nodes, with mpmath).
"""

import math

from staticgrad.vectormath.exponential import (
    EXP_RANGE,
    ROUNDER,
    exp2_of_rest,
    power_of_two,
    reduce,
)  # fmt: skip
from staticgrad.vectormath.logarithm import FRACTION_BITS
from staticgrad.vectormath.straightline import (
    as_bits,
    as_float,
    copy_sign,
    elementary,
    fma,
    magnitude,
    polynomial,
    select,
)

# erf(x) / x in powers of x**2
ERF = {
    32: (1.1283791065216064, -0.3761240839958191, 0.1128135696053505, -0.02675701677799225,
         0.0049851564690470695, -0.0005970814963802695),
    64: (1.1283791670955126, -0.37612638903183543, 0.11283791670945006, -0.02686617064323777,
         0.0052239776071164225, -0.0008548325975389692, 0.00012055294904839707,
         -1.492473690741966e-05, 1.6447424703317362e-06, -1.6208483801871705e-07,
         1.3720064546777686e-08, -7.795898827002142e-10),
}  # fmt: skip
# what the first coefficient lacks of 2 / sqrt(pi)
ERF_REST = {bits: 2 / math.sqrt(math.pi) - ERF[bits][0] for bits in ERF}
# (1 + 2a) exp(a**2) erfc(a) in powers of t, up to where erfc is zero
ERFC = {
    32: (1.2769783735275269, -0.09276390820741653, -0.16603140532970428, 0.16405342519283295,
         -0.054204538464546204, -0.008045565336942673, 0.00863576028496027,
         0.0012734552146866918, -0.0012499584117904305, -0.0003622954827733338,
         2.686109291971661e-05),
    64: (1.2329951186255526, -0.13962111684056253, 0.015379652102619558, 0.06809705425469323,
         -0.10103906603629459, 0.09373283499833023, -0.0663303658124095, 0.03716751553777026,
         -0.01619773405599449, 0.005031969975753176, -0.0007577732973669146,
         -0.00019925668432389153, 0.00015062169704678355, -2.439924428312988e-05,
         -1.1222046316669005e-05, 5.709784760966506e-06, 2.9377854943443786e-07,
         -8.254699744871162e-07, 7.471952780500971e-08, 1.1005996198640057e-07,
         -1.799947545903142e-08, -1.4091982822555755e-08, 1.868487385473519e-09,
         1.263782858042137e-09),
}  # fmt: skip
# log2(erfc(a)) for a from 0.9 to 4, in float32
ERFC_EXPONENT = (
    -0.00023924547713249922, -1.6270735263824463, -0.9189473390579224, -0.15022233128547668,
    0.03220556676387787, -0.004426282364875078, 0.0002864458947442472,
)  # fmt: skip
CENTRE = {32: 2.0, 64: 4.0}
# erf is a polynomial up to here
ERF_SMALL = {32: 0.9, 64: 1.0}
# erfc is zero from here on, and erf is one
ERFC_ZERO = {32: 10.1, 64: 27.3}
ERF_ONE = {32: 4.0, 64: 6.0}


def small_erf(x):
    square = x * x
    tail = polynomial(square, ERF[x.bits][1:]) * square
    return fma(x, ERF[x.bits][0], x * (tail + ERF_REST[x.bits]))


def large_erfc(a):
    """erfc(a) for ``a`` between 0 and where it is zero, and NaN for NaN."""
    bits = a.bits
    square = a * a
    lost = fma(a, a, -square)
    n, fraction = reduce(-square, EXP_RANGE)
    # exp(-a**2) / 2**n - 1, put right for the rounding of the square
    fraction = fma(-lost, fraction + 1.0, fraction)
    t = (a - CENTRE[bits]) / (a + CENTRE[bits])
    numerator, denominator = polynomial(t, ERFC[bits]), fma(a, 2.0, 1.0)
    inverse = 1.0 / denominator
    quotient = numerator * inverse
    # what the roundings of the denominator and of the quotient left out
    lost = fma(a, 2.0, 1.0 - denominator)
    rest = fma(-quotient, lost, fma(-quotient, denominator, numerator)) * inverse
    quotient = quotient + fma(quotient, fraction, rest)
    half = n >> 1
    return quotient * power_of_two(half, bits) * power_of_two(n - half, bits)


def large_erf(a):
    """erf(a) for ``a`` from ERF_SMALL to ERF_ONE, and NaN for NaN."""
    if a.bits == 64:
        return 1.0 - large_erfc(a)
    # digits that the smaller erfc lacks do not count beside 1
    exponent = polynomial(a, ERFC_EXPONENT)
    shifted = exponent + ROUNDER[32]
    r = exponent - (shifted - ROUNDER[32])
    scale = as_float((as_bits(shifted) << FRACTION_BITS[32]) + as_bits(a.literal(1.0)))
    return fma(-scale, exp2_of_rest(r), 1.0)


@elementary
def erf(x):
    """The error function within 2 ULP."""
    size = magnitude(x)
    limit = ERF_ONE[x.bits]
    large = large_erf(select(size > limit, limit, size))
    return select(size < ERF_SMALL[x.bits], small_erf(x), copy_sign(large, x))


@elementary
def erfc(x):
    """1 - erf(x) within 2.7 ULP, as the roundings of a product and of a polynomial add up."""
    size = magnitude(x)
    limit = ERFC_ZERO[x.bits]
    large = large_erfc(select(size > limit, limit, size))
    large = select(size > limit, 0.0, large)
    far = select(x < 0.0, 2.0 - large, large)
    return select(size < 0.5, 1.0 - small_erf(x), far)
