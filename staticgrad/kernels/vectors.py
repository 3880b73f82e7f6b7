"""Vectors of the widest kind that the CPU has, for routines written as LLVM."""

from llvmlite import binding, ir
from numba.core import cgutils

FEATURES = binding.get_host_cpu_features()
VECTOR_BYTES = 64 if FEATURES.get("avx512f") else 32 if FEATURES.get("avx") else 16
#: rows of a block: with two vectors each, the accumulators leave room for the operands among 32
#: vector registers, or among 16 (AVX2, SSE)
ROWS = 8 if FEATURES.get("avx512f") or not FEATURES.get("sse2") else 6 if FEATURES.get("avx2") else 4
#: without such an instruction, llvm.fma is a slow call
FUSED = bool(FEATURES.get("fma") or FEATURES.get("avx512f") or not FEATURES.get("sse2"))
#: rows of a panel, which then takes up three quarters of 32 KiB, two vectors wide
DEPTH = 24576 // (2 * VECTOR_BYTES)
#: rows of a that are gone through for each panel, and stay in the L2 cache
BAND = 256
INDEX = ir.IntType(64)
FLAG = ir.IntType(1)
LANE = ir.IntType(32)


class Vectors:
    """Vectors of a float type, and what the routines do with them."""

    def __init__(self, number):
        self.number = number
        self.bits = 32 if isinstance(number, ir.FloatType) else 64
        self.lanes = VECTOR_BYTES * 8 // self.bits
        self.width = 2 * self.lanes
        self.type = ir.VectorType(number, self.lanes)
        self.pointer = number.as_pointer()
        #: the side of the squares in which matrices are transposed
        self.side = min(self.lanes, 8)
        self.square = ir.VectorType(number, self.side)
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)
        self.undefined = ir.Constant(self.type, ir.Undefined)

    def load(self, builder, address, kind=None):
        pointer = (kind or self.type).as_pointer()
        return builder.load(builder.bitcast(address, pointer), align=self.bits // 8)

    def store(self, builder, vector, address):
        pointer = vector.type.as_pointer()
        builder.store(vector, builder.bitcast(address, pointer), align=self.bits // 8)

    def lanes_below(self, builder, count):
        """The mask of the first ``count`` lanes."""
        narrow = builder.trunc(count, LANE)
        kind = ir.VectorType(LANE, self.lanes)
        first = builder.insert_element(ir.Constant(kind, ir.Undefined), narrow, LANE(0))
        limit = self.shuffle(builder, first, ir.Constant(kind, ir.Undefined), [0] * self.lanes)
        return builder.icmp_signed("<", ir.Constant(kind, list(range(self.lanes))), limit)

    def load_some(self, builder, address, mask):
        """A vector with zeros in the lanes that the mask leaves out, which are not read."""
        if mask is None:
            return self.load(builder, address)
        pointer = builder.bitcast(address, self.type.as_pointer())
        kind = ir.FunctionType(self.type, [pointer.type, LANE, mask.type, self.type])
        name = f"llvm.masked.load.v{self.lanes}f{self.bits}.p0"
        routine = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(routine, [pointer, LANE(self.bits // 8), mask, self.zero])

    def store_some(self, builder, vector, address, mask):
        if mask is None:
            self.store(builder, vector, address)
            return
        pointer = builder.bitcast(address, self.type.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [self.type, pointer.type, LANE, mask.type])
        name = f"llvm.masked.store.v{self.lanes}f{self.bits}.p0"
        routine = cgutils.get_or_insert_function(builder.module, kind, name)
        builder.call(routine, [vector, pointer, LANE(self.bits // 8), mask])

    def spread(self, builder, scalar):
        """A vector of copies of ``scalar``."""
        first = builder.insert_element(self.undefined, scalar, LANE(0))
        return self.shuffle(builder, first, self.undefined, [0] * self.lanes)

    def shuffle(self, builder, one, other, lanes):
        mask = ir.Constant(ir.VectorType(LANE, len(lanes)), lanes)
        return builder.shuffle_vector(one, other, mask)

    def multiply_add(self, builder, a, b, c):
        if not FUSED:
            return builder.fadd(builder.fmul(a, b), c)
        kind = ir.FunctionType(self.type, [self.type] * 3)
        name = f"llvm.fma.v{self.lanes}f{self.bits}"
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])

    def transposed(self, builder, rows):
        """As many vectors as lanes, transposed: blocks of growing size change places."""
        rows, half, lanes = list(rows), 1, range(len(rows))
        while half < len(rows):
            for i in lanes:
                if i & half == 0:
                    one, other = rows[i], rows[i + half]
                    low = [p + len(rows) - half if p & half else p for p in lanes]
                    high = [p + len(rows) if p & half else p + half for p in lanes]
                    rows[i] = self.shuffle(builder, one, other, low)
                    rows[i + half] = self.shuffle(builder, one, other, high)
            half *= 2
        return rows


def function(module, name, arguments):
    """A function of the module, to be filled if it is new; one copy is kept of equal ones."""
    known = module.globals.get(name)
    if known is not None:
        return known, None
    made = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    made.linkage = "linkonce_odr"
    made.attributes.add("noinline")
    made.attributes.add("nounwind")
    # the loops are written as they should run: without this, LLVM would unroll and vectorise them anew
    made.attributes.add("optsize")
    return made, ir.IRBuilder(made.append_basic_block("entry"))


def smaller(builder, a, b):
    return builder.select(builder.icmp_signed("<", a, b), a, b)


def larger(builder, a, b):
    return builder.select(builder.icmp_signed(">", a, b), a, b)
