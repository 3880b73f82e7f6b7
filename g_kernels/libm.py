"""The C library, for the rare arguments that no short formula fits, beside a vectorised loop.

A branch in a loop's body keeps LLVM from vectorising it. So the choice is made in a function of its
own, which has vector variants: the attribute ``vector-function-abi-variant`` (LLVM Language
Reference, "Call Site Attributes"; Vector Function ABI) names them, and the vectoriser calls them in
its place. A variant returns at once unless one of its lanes needs more.
"""

from llvmlite import ir

from .straightline import Value, magnitude

# the lanes of vectors of 128, 256 and 512 bits
LANES = {32: (4, 8, 16), 64: (2, 4, 8)}


class Attributes(ir.values.FunctionAttributes):
    """Attributes that llvmlite has no names for, as LLVM writes them."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def __len__(self):
        return 1

    def _to_list(self, returned):
        return [self.text]


def call_libm(name, *arguments):
    """Call the C function ``name`` (its float32 twin ends in ``f``): correct, but never vector."""
    builder, first = arguments[0].builder, arguments[0]
    function_type = ir.FunctionType(first.type, [first.type] * len(arguments))
    symbol = name + "f" if first.bits == 32 else name
    function = builder.module.globals.get(symbol)
    if function is None:
        function = ir.Function(builder.module, function_type, symbol)
        function.attributes.add("nounwind")
    return Value(builder, builder.call(function, [argument.value for argument in arguments]))


def unless_large(x, usual, limit, name, formula):
    """``usual``, but ``formula(x)`` where ``|x|`` is above ``limit`` or x is NaN.

    ``name`` names the functions in LLVM's module.
    """
    module = x.builder.module
    symbol = f"staticgrad_{name}{x.bits}"
    function = module.globals.get(symbol)
    if function is None:
        function = define_choice(module, symbol, x, limit, formula)
    return Value(x.builder, x.builder.call(function, [x.value, usual.value]))


def define_choice(module, symbol, like, limit, formula):
    """The function that chooses, for one number, and its variants for vectors."""
    kind = like.type
    exact = new_function(module, symbol + "_exact", [kind], "noinline cold minsize optsize")
    builder = ir.IRBuilder(exact.append_basic_block())
    builder.ret(formula(Value(builder, exact.args[0])).value)
    lanes = LANES[like.bits]
    variants = ",".join(f"_ZGV_LLVM_N{n}vv_{symbol}({symbol}_{n})" for n in lanes)
    choice = new_function(
        module, symbol, [kind, kind], f'noinline "vector-function-abi-variant"="{variants}"'
    )
    builder = ir.IRBuilder(choice.append_basic_block())
    x, usual = choice.args
    with builder.if_then(is_large(Value(builder, x), limit).value, likely=False):
        builder.ret(builder.call(exact, [x]))
    builder.ret(usual)
    keep(module, [define_variant(module, f"{symbol}_{n}", n, kind, limit, exact) for n in lanes])
    return choice


def is_large(x, limit):
    return ~(magnitude(x) <= limit)


def new_function(module, symbol, kinds, attributes):
    """A function without effects, which modules that are linked together share."""
    function = ir.Function(module, ir.FunctionType(kinds[0], kinds), symbol)
    function.linkage = "linkonce_odr"
    function.attributes = Attributes(f"{attributes} nounwind willreturn readnone")
    return function


def define_variant(module, symbol, lanes, kind, limit, exact):
    """What is usual, unless x is large in a lane; then all goes to a function that needs registers."""
    vector = ir.VectorType(kind, lanes)
    slow = define_lanes(module, symbol + "_lanes", vector, limit, exact)
    function = new_function(module, symbol, [vector, vector], "optsize")
    builder = ir.IRBuilder(function.append_basic_block())
    mask = builder.bitcast(large_lanes(builder, function.args[0], limit), ir.IntType(lanes))
    with builder.if_then(builder.icmp_unsigned("!=", mask, mask.type(0)), likely=False):
        builder.ret(builder.call(slow, function.args, tail=True))
    builder.ret(function.args[1])
    return function


def large_lanes(builder, xs, limit):
    # |x| has no sign bit; llvmlite does not declare the intrinsic for vectors
    lanes, width = xs.type.count, 32 if xs.type.element == ir.FloatType() else 64
    whole = ir.VectorType(ir.IntType(width), lanes)
    bits = builder.and_(builder.bitcast(xs, whole), ir.Constant(whole, [2 ** (width - 1) - 1] * lanes))
    sizes = builder.bitcast(bits, xs.type)
    return builder.fcmp_unordered(">", sizes, ir.Constant(xs.type, [limit] * lanes))


def define_lanes(module, symbol, vector, limit, exact):
    """``exact(x)`` in the lanes where x is large, one after the other; else what is usual."""
    function = new_function(module, symbol, [vector, vector], "noinline cold minsize optsize")
    builder = ir.IRBuilder(function.append_basic_block())
    xs, usual = function.args
    large = large_lanes(builder, xs, limit)
    before = builder.block
    loop, after = (function.append_basic_block() for _ in range(2))
    builder.branch(loop)
    builder.position_at_end(loop)
    lane, result = builder.phi(ir.IntType(32)), builder.phi(vector)
    found = builder.call(exact, [builder.extract_element(xs, lane)])
    chosen = builder.select(
        builder.extract_element(large, lane), found, builder.extract_element(usual, lane)
    )
    grown = builder.insert_element(result, chosen, lane)
    following = builder.add(lane, lane.type(1))
    for phi, first, later in ((lane, lane.type(0), following), (result, usual, grown)):
        phi.add_incoming(first, before)
        phi.add_incoming(later, loop)
    builder.cbranch(builder.icmp_unsigned("<", following, lane.type(vector.count)), loop, after)
    builder.position_at_end(after)
    builder.ret(grown)
    return function


def keep(module, functions):
    """Keep functions that nothing calls until the vectoriser has run."""
    pointer = ir.IntType(8).as_pointer()
    name = "llvm.compiler.used"
    used = module.globals.get(name)
    values = [*(used.initializer.constant if used else ()), *(f.bitcast(pointer) for f in functions)]
    kind = ir.ArrayType(pointer, len(values))
    if used is None:
        used = ir.GlobalVariable(module, kind, name)
        used.linkage, used.section = "appending", "llvm.metadata"
    used.value_type, used.type = kind, kind.as_pointer()
    used.initializer = ir.Constant(kind, values)
