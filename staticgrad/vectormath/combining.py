"""Selections, maxima and accumulators: on any numbers, and fit for vectorised reductions."""

from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.vectormath.straightline import Value, call, select


def common_type(name, context, kinds):
    """The type of a result: integers and literals take the floats' type, float32 stays float32."""
    kinds = [kind.literal_type if isinstance(kind, types.Literal) else kind for kind in kinds]
    for kind in kinds:
        if not isinstance(kind, types.Boolean | types.Integer | types.Float):
            raise TypingError(f"{name} takes numbers, not {kind}")
    floats = {kind for kind in kinds if isinstance(kind, types.Float)}
    if len(floats) > 1:
        raise TypingError(f"{name} takes floats of one type, not float32 beside float64")
    return floats.pop() if floats else context.unify_types(*kinds)


def combining(formula):
    """Make ``formula`` a function of numbers of any type, brought to their common type first."""
    name = formula.__name__

    def typed(context, kinds):
        result = common_type(name, context, kinds)

        def generate(target, builder, signature, values):
            cast = [
                Value(builder, target.cast(builder, value, kind, result))
                for value, kind in zip(values, kinds, strict=True)
            ]
            return formula(*cast).value

        return result(*kinds), generate

    def unary(context, x):
        return typed(context, (x,))

    def binary(context, x, y):
        return typed(context, (x, y))

    chosen = (unary, binary)[formula.__code__.co_argcount - 1]
    chosen.__name__, chosen.__doc__ = name, formula.__doc__
    function = intrinsic(chosen)
    function.formula = formula
    return function


def is_bool(x):
    return x.bits == 1 and not x.is_float


@intrinsic
def where(context, condition, yes, no):
    """``yes`` or ``no``, both computed: an LLVM ``select``, which does not hinder vectorisation."""
    kind = common_type("where", context, (yes, no))

    def generate(target, builder, signature, values):
        truth = target.cast(builder, values[0], condition, types.boolean)
        pair = [
            target.cast(builder, value, given, kind)
            for value, given in zip(values[1:], (yes, no), strict=True)
        ]
        return builder.select(truth, *pair)

    return kind(condition, yes, no), generate


@combining
def maximum(a, b):
    """The greater number, or NaN if either is (IEEE 754-2019 maximum; +0 is above -0)."""
    if a.is_float:
        return call("llvm.maximum", a, b)
    return a | b if is_bool(a) else select(a > b, a, b)


@combining
def minimum(a, b):
    """The smaller number, or NaN if either is (IEEE 754-2019 minimum; -0 is below +0)."""
    if a.is_float:
        return call("llvm.minimum", a, b)
    return a & b if is_bool(a) else select(a < b, a, b)


def accumulate(name, instruction):
    """``acc + v`` or ``acc * v`` in the type of ``acc``, in an order that LLVM may choose.

    Only this instruction carries the flags: ``reassoc`` lets the loop keep partial results in the
    lanes of a vector, and ``nsz`` is what the vectoriser needs beside it to start them from zero.
    """

    def typed(context, accumulator, value):
        kinds = (accumulator, value)
        if isinstance(accumulator, types.Float) and not (
            isinstance(value, types.Float) and value.bitwidth > accumulator.bitwidth
        ):
            kind = accumulator
        else:
            kind = common_type(name, context, kinds)

        def generate(target, builder, signature, values):
            left, right = (
                target.cast(builder, given, source, kind)
                for given, source in zip(values, kinds, strict=True)
            )
            if isinstance(kind, types.Float):
                flags = ("reassoc", "nsz")
                return getattr(builder, "f" + instruction)(left, right, flags=flags)
            if isinstance(kind, types.Boolean):
                return builder.or_(left, right) if name == "plus" else builder.and_(left, right)
            return getattr(builder, instruction)(left, right)

        return kind(*kinds), generate

    typed.__name__ = name
    return intrinsic(typed)


plus = accumulate("plus", "add")
times = accumulate("times", "mul")


@combining
def absolute(x):
    """The magnitude; that of the least integer wraps, as in NumPy."""
    if x.is_float:
        return call("llvm.fabs", x)
    return x if is_bool(x) else select(x < 0, -x, x)


@combining
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    if not x.is_float:
        return x if is_bool(x) else select(x > 0, 1, select(x < 0, x.literal(-1), 0))
    return select(x > 0, 1.0, select(x < 0, -1.0, select(x == 0, 0.0, x)))
