"""Square roots and rounding: what the hardware does exactly."""

from staticgrad.vectormath.straightline import call, elementary


@elementary
def sqrt(x):
    """The square root, correctly rounded."""
    return call("llvm.sqrt", x)


@elementary
def rsqrt(x):
    """1/sqrt(x): two rounded operations, within 1.5 ULP."""
    return 1.0 / call("llvm.sqrt", x)


@elementary
def floor(x):
    """The greatest integer not above ``x``."""
    return call("llvm.floor", x)
