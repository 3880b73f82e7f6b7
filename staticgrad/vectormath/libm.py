"""What the C library computes: correct to about 1 ULP, one element at a time."""

from staticgrad.vectormath.straightline import call_libm, elementary


@elementary
def lgamma(x):
    """The logarithm of the gamma function's magnitude: C's lgamma."""
    return call_libm("lgamma", x)
