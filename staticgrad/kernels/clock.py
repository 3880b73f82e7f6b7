"""A clock for profiles: how far a counter has gone between two places of generated code."""

import platform
import sys
import time

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

#: whether the processor has a counter that any program may read, which takes a few nanoseconds
HAS_COUNTER = platform.machine().lower() in ("x86_64", "amd64")
WORD = ir.IntType(64)


@intrinsic
def cycle_counter(typing_context):
    """The processor's counter, which runs at one rate whatever the cores do."""

    def generate(context, builder, signature, arguments):
        kind = ir.FunctionType(WORD, [])
        counter = cgutils.get_or_insert_function(builder.module, kind, "llvm.readcyclecounter")
        return builder.call(counter, [])

    return types.int64(), generate


@intrinsic
def system_clock(typing_context):
    """The operating system's clock, in its own units: nanoseconds, but for Windows."""

    def generate(context, builder, signature, arguments):
        if sys.platform == "win32":
            place = cgutils.alloca_once(builder, WORD)
            kind = ir.FunctionType(ir.IntType(32), [WORD.as_pointer()])
            clock = cgutils.get_or_insert_function(builder.module, kind, "QueryPerformanceCounter")
            builder.call(clock, [place])
            return builder.load(place)
        pair = ir.LiteralStructType([WORD, WORD])
        place = cgutils.alloca_once(builder, pair)
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), pair.as_pointer()])
        clock = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        builder.call(clock, [ir.Constant(ir.IntType(32), time.CLOCK_MONOTONIC), place])
        now = builder.load(place)
        seconds, rest = builder.extract_value(now, 0), builder.extract_value(now, 1)
        return builder.add(builder.mul(seconds, ir.Constant(WORD, 10**9)), rest)

    return types.int64(), generate


ticks = cycle_counter if HAS_COUNTER else system_clock


@njit(error_model="numpy")
def started(laps):
    """The counter, which is also left at the end of ``laps``."""
    now = ticks()
    laps[laps.size - 1] = now
    return now


@njit(error_model="numpy")
def lap(laps, number, before):
    """Add to a place of ``laps`` what has passed since ``before``; returns the counter."""
    now = ticks()
    laps[number] += now - before
    return now
