"""lgamma, digamma and polygamma.

lgamma and digamma near their positive roots and between are polynomials, which the recurrence brings
other arguments up to 8 to; beyond are Stirling's series and its derivative; below 0 is reflection
(Abramowitz and Stegun, Handbook of Mathematical Functions, 6.1, 6.3 and 6.4). All is computed in
float64, with fewer coefficients for float32. The polynomials are near-minimax (least squares at
Chebyshev nodes, with mpmath).
"""

import math

from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.vectormath.logarithm import log
from staticgrad.vectormath.powers import double_log, two_sum
from staticgrad.vectormath.straightline import (
    Value,
    call,
    check_floats,
    copy_sign,
    elementary,
    fma,
    is_nan,
    magnitude,
    narrowed,
    polynomial,
    select,
    widened,
)  # fmt: skip
from staticgrad.vectormath.trigonometric import sine_and_cosine

# lgamma(2 + z) / z for |z| <= 1/2
LGAMMA = {
    32: (0.42278433510492125, 0.32246703367226004, -0.0673523024581011, 0.02058078858191416,
         -0.0073855005892856825, 0.002890952577376278, -0.001193420197329223,
         0.0005056767390400238, -0.0002192004984350645, 0.00011496915437029669,
         -5.5456277944530075e-05),
    64: (0.42278433509846713, 0.3224670334241132, -0.06735230105319814, 0.02058080842778486,
         -0.007385551028668184, 0.0028905103307183644, -0.0011927539119997708,
         0.0005096695255370472, -0.0002231547507710041, 9.945749780477888e-05,
         -4.4926350805223313e-05, 2.0507382387344925e-05, -9.438460745920815e-06,
         4.3736675259743725e-06, -2.0449121077663404e-06, 9.604529636390382e-07,
         -4.3037304340651624e-07, 1.9787551289670557e-07, -1.3411292384881552e-07,
         6.814578165058496e-08),
}  # fmt: skip
# (lgamma(x) - (x - 1/2) log(x) + x - log(2 pi)/2) x in powers of 1/x**2, from 8 on
STIRLING = {
    32: (0.08333333333297047, -0.0027777770310552846, 0.0007934099217168697,
         -0.0005701722380031909),
    64: (0.08333333333333333, -0.0027777777777740443, 0.0007936507897939822,
         -0.0005952365958109715, 0.0008414714760940962, -0.0018904619118891278,
         0.005067585376179586),
}  # fmt: skip
# digamma's positive root in two pieces
ROOT = (1.4616321449683622, 9.549995429965697e-17)
# digamma(x) / d in powers of d = x - root, for x from 1 to 2.25
DIGAMMA = {
    32: (0.9676722453239908, -0.4427631709716717, 0.2584997962897557, -0.16394256217871256,
         0.10782235751689788, -0.0722016432987061, 0.048834277630281246, -0.0331662041497093,
         0.02236536229710933, -0.015172293680841357, 0.011243325377627345, -0.008645841910037259,
         0.00492361905440804, -0.0013058470720612462),
    64: (0.9676722454476212, -0.4427631689835922, 0.25849976095566335, -0.1639427054424003,
         0.10782405068963814, -0.07219956125540414, 0.04880428824654297, -0.033161126589869236,
         0.022597646153012057, -0.015424761647197792, 0.010538820219524965,
         -0.007204613908510302, 0.0049265714443730586, -0.003368964540282897,
         0.0023057143724323527, -0.00158198076749017, 0.0010810437179706958,
         -0.0007221131738886661, 0.0004830658012604905, -0.0003616405083653182,
         0.0002934704941120019, -0.00019563413269598954, 8.131193675124676e-05,
         -1.5047747546354617e-05),
}  # fmt: skip
# (digamma(x) - log(x) + 1/(2x)) x**2 in powers of 1/x**2, from 8 on
DIGAMMA_SERIES = {
    32: (-0.08333333333012147, 0.008333326717106852, -0.003966116049330979,
         0.003943407432255332),
    64: (-0.08333333333333333, 0.00833333333327954, -0.003968253912624483, 0.00416664500536135,
         -0.007571712041585408, 0.020699259230253297, -0.06364857526008147),
}  # fmt: skip
# the series hold from here on
FAR = 8.0
# steps of the recurrence from there down to the polynomials
STEPS_DOWN = 6
HALF_LOG_TWO_PI = 0.9189385332046728
PI = (3.141592653589793, 1.2246467991473532e-16)
# the Bernoulli numbers B2, B4, ...
BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330,
)  # fmt: skip
# how far polygamma's recurrence goes up
STEPS_UP = 10


def nearest_integer(x):
    return call("llvm.rint", x)


def sine_and_cosine_pi(x):
    """The sine and cosine of pi x up to a sign that they share, from the distance to the nearest half,
    which is exact; not for huge ``x``."""
    halves = nearest_integer(x + x)
    d = fma(halves, -0.5, x)
    r = d * PI[0]
    rest = fma(d, PI[1], fma(d, PI[0], -r))
    sine, cosine = sine_and_cosine(r, rest)
    quarter = halves * 0.5
    even = nearest_integer(quarter) == quarter
    return select(even, sine, cosine), select(even, cosine, -sine)


def step_down(x, lowest):
    """``x - k`` for as many whole ``k`` as keep it above ``lowest`` or so, and the terms between:
    ``(x - k, (x - 1) ... (x - k))``, with the sum of the terms' inverses times their product."""
    last, product, total = x, x.literal(1.0), x.literal(0.0)
    for k in range(1, STEPS_DOWN + 1):
        active = x >= lowest + k
        term = x - float(k)
        last = select(active, term, last)
        total = select(active, fma(total, term, product), total)
        product = select(active, product * term, product)
    return last, product, total


def lgamma_positive(x, bits):
    """lgamma from -1/2 up, as a sum of two numbers."""
    last, product, _ = step_down(x, 1.5)
    # the recurrence upwards, where x is below 3/2
    below, negative = x < 1.5, x < 0.5
    up = select(negative, fma(x, x, x), x)
    z = select(negative, x, select(below, x - 1.0, last - 2.0))
    # z times the first coefficient is the largest part; its product's rounding is kept
    first, *others = LGAMMA[bits]
    near = z * first
    near_rest = fma(z, first, -near) + polynomial(z, others) * (z * z)
    far = x >= FAR
    high, low = logarithm(select(far, x, select(below, magnitude(up), product)), bits)
    flip = select(below, x.literal(-1.0), 1.0)
    near_high, near_low = two_sum(high * flip, near)
    m = x - 0.5
    inverse = 1.0 / x
    series = polynomial(inverse * inverse, STIRLING[bits]) * inverse
    stirling = m * high
    stirling_low = fma(m, high, -stirling) + m * low
    difference = stirling - x
    lost = (stirling - difference) - x
    stirling_low = lost + (stirling_low + (series + HALF_LOG_TWO_PI))
    # beyond the largest finite result there is nothing to correct
    finite = stirling < math.inf
    return (
        select(far, select(finite, difference, stirling), near_high),
        select(far, select(finite, stirling_low, 0.0), fma(low, flip, near_low + near_rest)),
    )


def logarithm(x, bits):
    """log(x), for the result of a function of so many bits, as a sum."""
    return (log.formula(x), x.literal(0.0)) if bits == 32 else double_log(x)


@elementary
def lgamma(argument):
    """The logarithm of the gamma function's magnitude, within 2 ULP from -1/2 up (0.51 in float32).

    Below, where it has a root beside each integer, the error is within 4 ULP of the larger of the
    result and 1, measured to -300 (float32: 0.51).
    """
    x = widened(argument)
    reflect = x < -0.5
    size = magnitude(x)
    high, low = lgamma_positive(select(reflect, size, x), argument.bits)
    # log|gamma(-y)| = log(pi / (y sin(pi y))) - log(gamma(y))
    sine, _ = sine_and_cosine_pi(size)
    other = log.formula(magnitude(sine) * (1 / math.pi) * select(reflect, size, 1.0))
    value = select(reflect, -(other + high) - low, high + low)
    # poles at the integers up to zero; all large numbers are integers
    pole = (x <= 0.0) & (x == nearest_integer(x))
    value = select(pole | (size == math.inf), math.inf, value)
    return narrowed(select(is_nan(x), x, value), argument)


@elementary
def digamma(argument):
    """The logarithmic derivative of the gamma function; NaN at the negative integers.

    For positive x within 2 ULP, at the root too, but within 2.7 from 2.25 to 8, where inverses are
    added up (0.51 in float32). Below 0, where it has a root between each two integers, the error is
    within 8 ULP of the larger of the result and 1.
    """
    x, bits = widened(argument), argument.bits
    reflect = x < 0.0
    y = select(reflect, 1.0 - x, x)
    last, product, total = step_down(y, 1.25)
    below, far = y < 1.0, y >= FAR
    # one step up from below 1; the steps down from above 2.25
    product, total = select(below, y, product), select(below, y.literal(-1.0), total)
    last = select(below, y + 1.0, last)
    d = (last - ROOT[0]) - ROOT[1]
    reciprocal = 1.0 / product
    steps = total * reciprocal
    lost = fma(-steps, product, total) * reciprocal
    # an infinite inverse has nothing to correct
    lost = select(magnitude(lost) < 1.0, lost, 0.0)
    near = steps + fma(d, polynomial(d, DIGAMMA[bits]), lost)
    inverse = 1.0 / y
    square = inverse * inverse
    series = log.formula(y) - fma(square, -polynomial(square, DIGAMMA_SERIES[bits]), inverse * 0.5)
    value = select(far, series, near)
    sine, cosine = sine_and_cosine_pi(x)
    value = select(reflect, value - math.pi * (cosine / sine), value)
    # the pole at zero has a sign on either side, as log has; the others have none
    pole = select(x == 0.0, copy_sign(x.literal(math.inf), -x), math.nan)
    return narrowed(select((x <= 0.0) & (x == nearest_integer(x)), pole, value), argument)


@intrinsic(prefer_literal=True)
def polygamma(typing_context, n, x):
    """The derivative of order ``n`` of digamma; ``n`` is a literal, at least 1.

    For positive x within n + 1 ULP, measured to n = 4 (0.51 in float32).
    """
    if not isinstance(n, types.IntegerLiteral) or n.literal_value < 1:
        raise TypingError("polygamma's order is a literal integer, at least 1")
    check_floats("polygamma", (x,))
    order = n.literal_value

    def generate(context, builder, signature, values):
        argument = Value(builder, values[1])
        return narrowed(polygamma_formula(order, widened(argument)), argument).value

    return x(n, x), generate


def polygamma_formula(order, x):
    reflect = x <= 0.0
    start = select(reflect, 1.0 - x, x)
    factorial = math.factorial(order)
    steps = STEPS_UP + order
    far = start >= STEPS_UP + order
    inverse = 1.0 / select(far, start, start + float(steps))
    square = inverse * inverse
    bernoulli = [
        number * math.factorial(2 * k + order - 1) / math.factorial(2 * k)
        for k, number in enumerate(BERNOULLI, start=1)
    ]
    tail = polynomial(square, bernoulli) * square
    series = tail + inverse * (factorial / 2) + math.factorial(order - 1)
    series = series * integer_power(inverse, order)
    total = series
    # the largest terms last, which rounds the least
    for k in range(steps - 1, -1, -1):
        total = total + factorial / integer_power(start + float(k), order + 1)
    value = select(far, series, total) * (-1.0) ** (order + 1)
    sine, cosine = sine_and_cosine_pi(x)
    slope = cotangent_derivative(order, cosine / sine) * math.pi ** (order + 1)
    return select(reflect, value * (-1.0) ** order - slope, value)


def integer_power(x, n):
    result = x
    for _ in range(n - 1):
        result = result * x
    return result


def cotangent_derivative(order, cotangent):
    """The derivative of order ``order`` of cot: a polynomial in cot, since cot' = -(1 + cot**2)."""
    coefficients = [0.0, 1.0]
    for _ in range(order):
        slope = [power * c for power, c in enumerate(coefficients)][1:]
        coefficients = [0.0] * (len(slope) + 2)
        for power, c in enumerate(slope):
            coefficients[power] -= c
            coefficients[power + 2] -= c
    result = cotangent.literal(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * cotangent + coefficient
    return result
