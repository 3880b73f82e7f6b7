"""Matrix products through the BLAS that SciPy ships, on C-contiguous arrays and without copies.

BLAS counts columns first, so a C-contiguous matrix is the transpose of what BLAS sees, and
``out = a @ b`` is computed as ``out' = b' @ a'``. The routines are called by a name that is bound to
their address when this module is imported; machine code from the disk cache finds them the same way.
"""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder

import scipy
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import get_cython_function_address, intrinsic


def load_blas():
    """SciPy's table of BLAS routines, without the 0.3 s that all of scipy.linalg takes to import."""
    name = "scipy.linalg.cython_blas"
    if name not in sys.modules:
        folders = [os.path.join(folder, "linalg") for folder in scipy.__path__]
        spec = PathFinder.find_spec(name, folders)
        if spec is None or spec.loader is None:
            importlib.import_module(name)
            return
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except ImportError:
            del sys.modules[name]
            importlib.import_module(name)


def bind(symbol, routine):
    """Give a BLAS routine a name that compiled code can refer to."""
    load_blas()
    binding.add_symbol(symbol, get_cython_function_address("scipy.linalg.cython_blas", routine))


ROUTINES = {"float32": "staticgrad_sgemm", "float64": "staticgrad_dgemm"}
bind("staticgrad_sgemm", "sgemm")
bind("staticgrad_dgemm", "dgemm")


def gemm(transpose_a, transpose_b):
    """An intrinsic ``(a, b, out)`` that stores the product of two matrices, each as it lies or
    transposed."""

    def typed(typing_context, a, b, out):
        for array in (a, b, out):
            if not (isinstance(array, types.Array) and array.ndim == 2 and array.layout == "C"):
                raise TypingError(f"matmul takes C-contiguous matrices, not {array}")
        if not (a.dtype == b.dtype == out.dtype and str(out.dtype) in ROUTINES):
            raise TypingError(f"matmul takes floats of one type, not {a}, {b} and {out}")

        def generate(context, builder, signature, arguments):
            call_gemm(context, builder, signature.args, arguments, transpose_a, transpose_b)
            return context.get_dummy_value()

        return types.void(a, b, out), generate

    return typed


def call_gemm(context, builder, kinds, arguments, transpose_a, transpose_b):
    a, b, out = (
        context.make_array(kind)(context, builder, value)
        for kind, value in zip(kinds, arguments, strict=True)
    )
    integer = ir.IntType(32)
    number = context.get_data_type(kinds[2].dtype)
    one = ir.Constant(integer, 1)

    def size(array, axis):
        return builder.trunc(cgutils.unpack_tuple(builder, array.shape)[axis], integer)

    def at_least_one(value):
        # a leading dimension of zero is an error to BLAS, even where nothing is read
        return builder.select(builder.icmp_signed(">", value, one), value, one)

    def reference(value):
        return cgutils.alloca_once_value(builder, value)

    def letter(transposed):
        return reference(ir.Constant(ir.IntType(8), ord("T" if transposed else "N")))

    rows, columns = size(out, 0), size(out, 1)
    inner = size(a, 0 if transpose_a else 1)
    operands = [
        letter(transpose_b), letter(transpose_a),
        reference(columns), reference(rows), reference(inner),
        reference(ir.Constant(number, 1.0)),
        b.data, reference(at_least_one(size(b, 1))),
        a.data, reference(at_least_one(size(a, 1))),
        reference(ir.Constant(number, 0.0)),
        out.data, reference(at_least_one(columns)),
    ]  # fmt: skip
    signature = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
    routine = cgutils.get_or_insert_function(
        builder.module, signature, ROUTINES[str(kinds[2].dtype)]
    )
    builder.call(routine, operands)


matmul = intrinsic(gemm(False, False))
#: ``a.T @ b``
matmul_tn = intrinsic(gemm(True, False))
#: ``a @ b.T``
matmul_nt = intrinsic(gemm(False, True))
#: ``a.T @ b.T``
matmul_tt = intrinsic(gemm(True, True))
