"""Writing routines as LLVM: integers with Python's operators, loops, memory by the element."""

from contextlib import contextmanager
from types import SimpleNamespace

from llvmlite import ir
from numba.core import cgutils

from staticgrad.kernels.parallel import pack_record, run_parts
from staticgrad.kernels.vectors import INDEX, LANE, VECTOR_BYTES, Vectors, function
from staticgrad.vectormath.straightline import Value, select

TABLE = INDEX.as_pointer()


class Writer(Vectors):
    """Writes the instructions of one function, on vectors of a float type."""

    def __init__(self, builder, number):
        super().__init__(number)
        self.builder = builder
        self.integers = ir.VectorType(ir.IntType(self.bits), self.lanes)

    def arguments(self, made):
        """The function's arguments, integers as values with operators."""
        return [Value(self.builder, a) if a.type == INDEX else a for a in made.args]

    def index(self, value):
        return value if isinstance(value, Value) else Value(self.builder, INDEX(value))

    def at(self, pointer, index):
        return self.builder.gep(pointer, [self.index(index).value])

    def entry(self, table, index):
        return Value(self.builder, self.builder.load(self.at(table, index)))

    def enter(self, value, table, index):
        self.builder.store(self.index(value).value, self.at(table, index))

    def read(self, pointer, index, kind=None):
        return self.load(self.builder, self.at(pointer, index), kind)

    def write(self, vector, pointer, index):
        self.store(self.builder, vector, self.at(pointer, index))

    def call(self, routine, *arguments):
        values = [self.index(a) if isinstance(a, int) else a for a in arguments]
        self.builder.call(routine, [a.value if isinstance(a, Value) else a for a in values])

    @contextmanager
    def loop(self, stop, start=0, step=1):
        bounds = [self.index(value).value for value in (start, stop, step)]
        with cgutils.for_range_slice(self.builder, *bounds) as (index, _):
            yield Value(self.builder, index)

    def variable(self):
        """A place for an integer, zero to begin with."""
        place = cgutils.alloca_once(self.builder, INDEX)
        self.builder.store(INDEX(0), place)
        return place

    def room(self, count):
        """A place for some floats, as of a vector."""
        place = cgutils.alloca_once(self.builder, ir.ArrayType(self.number, count))
        place.align = VECTOR_BYTES
        return self.builder.bitcast(place, self.pointer)

    def distance(self, start, end):
        """How many elements stand between two pointers."""
        size = self.builder.sub(*(self.builder.ptrtoint(item, INDEX) for item in (end, start)))
        return Value(self.builder, self.builder.sdiv(size, INDEX(self.bits // 8)))

    def clear(self, pointer, count):
        """Zeros in memory that has room for one vector more."""
        with self.loop(count, step=self.lanes) as i:
            self.write(self.zero, pointer, i)

    def carve(self, scratch, *sizes):
        """Pieces of the scratch memory, each at a cache line; and what is left."""
        pieces = []
        for size in sizes:
            pieces.append(scratch)
            scratch = self.at(scratch, whole_lines(self.index(size)))
        return (*pieces, scratch)

    def carve_tables(self, scratch, *sizes):
        """The same with tables of integers."""
        *pieces, rest = self.carve(scratch, *(self.index(size) * 2 for size in sizes))
        return (*(self.builder.bitcast(piece, TABLE) for piece in pieces), rest)

    def below(self, count):
        """Which lanes are numbered below ``count``."""
        numbers = ir.Constant(self.integers, list(range(self.lanes)))
        none = ir.Constant(self.integers, ir.Undefined)
        kind = self.integers.element
        short = count.value if kind == INDEX else self.builder.trunc(count.value, kind)
        first = self.builder.insert_element(none, short, LANE(0))
        spread = self.shuffle(self.builder, first, none, [0] * self.lanes)
        return self.builder.icmp_signed("<", numbers, spread)

    def read_lanes(self, mask, pointer):
        """The elements whose lanes ``mask`` names, and zeros."""
        where = self.type.as_pointer()
        kinds = [where, LANE, mask.type, self.type]
        operands = [self.builder.bitcast(pointer, where), LANE(self.bits // 8), mask, self.zero]
        return self.builder.call(self.masked("load", self.type, kinds), operands)

    def write_lanes(self, mask, vector, pointer):
        where = self.type.as_pointer()
        kinds = [self.type, where, LANE, mask.type]
        operands = [vector, self.builder.bitcast(pointer, where), LANE(self.bits // 8), mask]
        self.builder.call(self.masked("store", ir.VoidType(), kinds), operands)

    def masked(self, name, result, kinds):
        """LLVM's function that loads or stores some lanes."""
        name = f"llvm.masked.{name}.v{self.lanes}f{self.bits}.p0v{self.lanes}f{self.bits}"
        kind = ir.FunctionType(result, kinds)
        return cgutils.get_or_insert_function(self.builder.module, kind, name)


def in_parts(w, name, body, count, /, **given):
    """Let any threads call ``body(w, number of the part, place of the thread, what they are given)``
    for each part: a function of its own, named ``name``, gets what is given by these names."""
    values = [value.value if isinstance(value, Value) else value for value in given.values()]
    record, kind = pack_record(w.builder, values)
    record = w.builder.bitcast(record, cgutils.voidptr_t)
    module = w.builder.module
    made, builder = function(module, f"staticgrad_{name}_f{w.bits}", [cgutils.voidptr_t, INDEX, INDEX])
    if builder is not None:
        inside = Writer(builder, w.number)
        fields = builder.bitcast(made.args[0], kind.as_pointer())
        items = {}
        for position, key in enumerate(given):
            item = builder.load(cgutils.gep_inbounds(builder, fields, 0, position))
            items[key] = Value(builder, item) if item.type == INDEX else item
        numbers = (Value(builder, number) for number in made.args[1:])
        body(inside, *numbers, SimpleNamespace(**items))
        builder.ret_void()
    run_parts(w.builder, made, record, w.index(count).value)


def whole_lines(size):
    """``size`` elements, and enough for the next to start at a cache line."""
    return ((size + 15) >> 4) << 4


def least(a, b):
    return select(a < b, a, b)


def most(a, b):
    return select(a > b, a, b)


def quotient(a, b):
    return a.instruction("sdiv", b)


def remainder(a, b):
    return a.instruction("srem", b)


def routine(module, number, name, kinds, is_plain=False):
    """A new function with a writer and its arguments, or a known one with None for both. A ``plain``
    one is not worth LLVM's time: what takes long stands in others that it calls."""
    kit = Vectors(number)
    kinds = [{"f": kit.pointer, "t": TABLE, "i": INDEX}[kind] for kind in kinds]
    made, builder = function(module, f"staticgrad_{name}_f{kit.bits}", kinds)
    if builder is None:
        return made, None, None
    if is_plain:
        made.attributes.discard("optsize")
        made.attributes.add("optnone")
    writer = Writer(builder, number)
    return made, writer, writer.arguments(made)


def planar(values, default):
    """Two values, the first a constant where only one axis is there."""
    return values if len(values) == 2 else [INDEX(default), *values]
