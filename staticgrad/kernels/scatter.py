"""Sums of elements by an index whose equal values mostly stand together."""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from staticgrad.kernels.writer import routine


def scatter_runs_function(module, number):
    """(values, index, result, elements of the values, elements of the result)."""
    made, w, arguments = routine(module, number, "scatter_runs", "ftfii")
    if w is None:
        return made
    values, index, result, count, size = arguments
    builder, zero = w.builder, ir.Constant(number, 0.0)
    cgutils.memset(builder, result, (size * (w.bits // 8)).value, 0)
    place, total = w.variable(), cgutils.alloca_once(builder, number)
    builder.store(zero, total)

    def finish_run():
        target = builder.gep(result, [builder.load(place)])
        builder.store(builder.fadd(builder.load(target), builder.load(total)), target)

    with builder.if_then((count > 0).value):
        builder.store(w.entry(index, 0).value, place)
        with w.loop(count) as i:
            new = w.entry(index, i).value
            with builder.if_then(builder.icmp_signed("!=", new, builder.load(place))):
                finish_run()
                builder.store(zero, total)
                builder.store(new, place)
            value = builder.load(w.at(values, i))
            builder.store(builder.fadd(builder.load(total), value), total)
        finish_run()
    builder.ret_void()
    return made


@intrinsic
def scatter_runs(typing_context, values, index, result):
    """Zeros in ``result``, to which each element of ``values`` is added where ``index`` says.

    A run of equal indices, which must be in range, is summed in a register: one after the other would
    wait for the sum before to come back from memory.
    """
    arrays = (values, index, result)
    if not all(isinstance(a, types.Array) and a.ndim == 1 and a.layout == "C" for a in arrays):
        raise TypingError(f"scatter_runs takes contiguous arrays with one axis, not {arrays}")
    if values.dtype != result.dtype or result.dtype not in (types.float32, types.float64):
        raise TypingError(f"scatter_runs takes floats of one type, not {values} and {result}")
    if index.dtype != types.int64:
        raise TypingError(f"scatter_runs takes int64 indices, not {index}")

    def generate(context, builder, signature, arguments):
        made = [
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        (count,), _, (size,) = (cgutils.unpack_tuple(builder, array.shape) for array in made)
        number = context.get_data_type(signature.args[0].dtype)
        function = scatter_runs_function(builder.module, number)
        builder.call(function, [*(array.data for array in made), count, size])
        return context.get_dummy_value()

    return types.void(*arrays), generate
