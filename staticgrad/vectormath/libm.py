"""Functions that the C library computes: correct to about 1 ULP, one element at a time."""

from staticgrad.vectormath.straightline import call_libm, elementary


def from_libm(name, symbol, arguments=1):
    """The function ``symbol`` of the C library under the name that the array API gives it."""

    def unary(x):
        return call_libm(symbol, x)

    def binary(x, y):
        return call_libm(symbol, x, y)

    formula = (unary, binary)[arguments - 1]
    formula.__name__ = name
    formula.__doc__ = f"C's {symbol}."
    return elementary(formula)


sin = from_libm("sin", "sin")
cos = from_libm("cos", "cos")
tan = from_libm("tan", "tan")
asin = from_libm("asin", "asin")
acos = from_libm("acos", "acos")
atan = from_libm("atan", "atan")
sinh = from_libm("sinh", "sinh")
cosh = from_libm("cosh", "cosh")
erf = from_libm("erf", "erf")
erfc = from_libm("erfc", "erfc")
lgamma = from_libm("lgamma", "lgamma")
atan2 = from_libm("atan2", "atan2", 2)
power = from_libm("power", "pow", 2)
hypot = from_libm("hypot", "hypot", 2)
