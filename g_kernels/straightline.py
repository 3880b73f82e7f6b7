"""Formulas written with Python's operators, turned into straight-line LLVM at the place of the call.

Numba from pip has no vector maths library: a loop that calls ``math.exp`` stays scalar. Here each
function is arithmetic without branches, which LLVM inlines by construction and vectorises with the
loop around it. A formula runs once per call site at compile time; its arguments are `Value`s whose
operators append instructions. That costs about a millisecond where an ``njit`` function costs
twenty, types every literal like the argument (float32 never promotes by accident), and lets single
instructions carry fast-math flags while the function around them stays strict.
"""


from llvmlite import ir
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic


class Value:
    """An LLVM scalar under construction. Python numbers beside it take its type."""

    __slots__ = ("builder", "value")

    def __init__(self, builder, value):
        self.builder = builder
        self.value = value

    @property
    def type(self):
        return self.value.type

    @property
    def is_float(self):
        return not isinstance(self.type, ir.IntType)

    @property
    def bits(self):
        """The width: 32 or 64 for floats; tables of coefficients are keyed by it."""
        return self.type.width if not self.is_float else 32 if self.type == ir.FloatType() else 64

    def literal(self, number):
        """``number`` as a constant of this value's type."""
        if isinstance(number, Value):
            return number
        return Value(self.builder, ir.Constant(self.type, number))

    def instruction(self, name, *operands, **keywords):
        values = [self.literal(operand).value for operand in operands]
        return Value(self.builder, getattr(self.builder, name)(self.value, *values, **keywords))

    def arithmetic(self, name, other):
        return self.instruction("f" + name if self.is_float else name, other)

    def compare(self, operator, other):
        # every comparison is false for NaN, except !=, as in C
        if not self.is_float:
            left, right = self.value, self.literal(other).value
            return Value(self.builder, self.builder.icmp_signed(operator, left, right))
        name = "fcmp_unordered" if operator == "!=" else "fcmp_ordered"
        left, right = self.value, self.literal(other).value
        return Value(self.builder, getattr(self.builder, name)(operator, left, right))

    def __add__(self, other):
        return self.arithmetic("add", other)

    def __sub__(self, other):
        return self.arithmetic("sub", other)

    def __mul__(self, other):
        return self.arithmetic("mul", other)

    def __truediv__(self, other):
        return self.instruction("fdiv", other)

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other):
        return self.literal(other) - self

    def __rtruediv__(self, other):
        return self.literal(other) / self

    def __neg__(self):
        return self.instruction("fneg" if self.is_float else "neg")

    def __lt__(self, other):
        return self.compare("<", other)

    def __le__(self, other):
        return self.compare("<=", other)

    def __gt__(self, other):
        return self.compare(">", other)

    def __ge__(self, other):
        return self.compare(">=", other)

    def __eq__(self, other):
        return self.compare("==", other)

    def __ne__(self, other):
        return self.compare("!=", other)

    __hash__ = None  # type: ignore[assignment]  # == makes a comparison, as in NumPy

    def __and__(self, other):
        return self.instruction("and_", other)

    def __or__(self, other):
        return self.instruction("or_", other)

    def __invert__(self):
        return self.instruction("not_")

    def __xor__(self, other):
        return self.instruction("xor", other)

    def __lshift__(self, other):
        return self.instruction("shl", other)

    def __rshift__(self, other):
        """Arithmetic shift, which keeps the sign."""
        return self.instruction("ashr", other)


def call(name, *arguments):
    """Call the LLVM intrinsic ``name``, such as ``llvm.sqrt``, on values of one type."""
    builder = arguments[0].builder
    function = builder.module.declare_intrinsic(
        name, [arguments[0].type], ir.FunctionType(arguments[0].type, [a.type for a in arguments])
    )
    return Value(builder, builder.call(function, [argument.value for argument in arguments]))


def is_nan(value):
    """Whether a computed value is NaN."""
    return value.compare("!=", value)


def select(condition, yes, no):
    """One of two computed values, without a branch."""
    yes = yes if isinstance(yes, Value) else no.literal(yes)
    no = yes.literal(no)
    return Value(yes.builder, yes.builder.select(condition.value, yes.value, no.value))


def fma(a, b, c):
    """``a*b + c`` rounded once; the hardware instruction wherever there is one."""
    like = next(value for value in (a, b, c) if isinstance(value, Value))
    return call("llvm.fma", like.literal(a), like.literal(b), like.literal(c))


def polynomial(x, coefficients):
    """Horner's rule; coefficients from the constant term upwards."""
    *rest, last = coefficients
    result = x.literal(last)
    for coefficient in reversed(rest):
        result = fma(result, x, coefficient)
    return result


def as_bits(x):
    """The bits of a float as an integer of its width."""
    return Value(x.builder, x.builder.bitcast(x.value, ir.IntType(x.bits)))


def as_float(bits):
    """The float with these bits."""
    kind = ir.FloatType() if bits.bits == 32 else ir.DoubleType()
    return Value(bits.builder, bits.builder.bitcast(bits.value, kind))


def widened(x):
    """A float as float64."""
    if x.bits == 64:
        return x
    return Value(x.builder, x.builder.fpext(x.value, ir.DoubleType()))


def narrowed(value, like):
    """A float64 rounded to the type of ``like``."""
    if like.bits == 64:
        return value
    return Value(value.builder, value.builder.fptrunc(value.value, like.type))


def magnitude(x):
    return call("llvm.fabs", x)


def copy_sign(x, sign):
    return call("llvm.copysign", x, sign)


def check_floats(name, arguments):
    if arguments[0] not in (types.float32, types.float64) or len(set(arguments)) > 1:
        described = ", ".join(str(argument) for argument in arguments)
        raise TypingError(f"{name} takes arguments of one float type, not ({described})")


def elementary(formula):
    """Make ``formula`` on values a function of float32 or float64 for compiled code.

    Other formulas call it as ``name.formula``.
    """
    name = formula.__name__

    def typed(arguments):
        check_floats(name, arguments)

        def generate(context, builder, signature, values):
            return formula(*(Value(builder, value) for value in values)).value

        return arguments[0](*arguments), generate

    def unary(typing_context, x):
        return typed((x,))

    def binary(typing_context, x, y):
        return typed((x, y))

    chosen = (unary, binary)[formula.__code__.co_argcount - 1]
    chosen.__name__, chosen.__doc__ = name, formula.__doc__
    function = intrinsic(chosen)
    function.formula = formula
    return function
