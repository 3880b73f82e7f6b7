"""A small pool of threads, in machine code of its own.

A caller publishes a job (a function, its context, how many parts), takes parts from a counter like
the helpers do, closes the job and waits until no helper is inside. One job runs at a time: a caller
that finds the pool busy, from another thread or from within a part, runs its parts itself. Helpers
look for the next job for some microseconds and then sleep. They are threads of the system that know
nothing of Python, so that a caller may hold the interpreter's lock.

Generated code finds the pool at a symbol (``kernels/parallel.py``). Its state is an array of words.
"""

from __future__ import annotations

import ctypes
import platform
import signal
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

#: where generated code looks for the pool
SYMBOL = "staticgrad_pool"
#: words of the state; what different threads write at the same time is a cache line apart
LIMIT, STARTED, STOPPING, FLOATS = 0, 1, 2, 3
BUSY, NEXT, PLACES, ACTIVE, GENERATION, SLEEPERS = 8, 16, 17, 24, 32, 40
FUNCTION, CONTEXT, COUNT, OPEN = 48, 49, 50, 51
MUTEX, CONDITION, HANDLES = 64, 80, 96
MOST_THREADS = 256
#: how often a helper looks for a job before it sleeps, 20 to 50 microseconds
LOOKS = 1000
#: how often a caller looks whether helpers are done before it lets others run
PATIENCE = 2000

WORD, INT = ir.IntType(64), ir.IntType(32)
POINTER = ir.IntType(8).as_pointer()
#: what a part is given: the job's context, its own number, the place of its thread
PART = ir.FunctionType(ir.VoidType(), [POINTER, WORD, WORD])
ROUTINES = {
    "pthread_create": (INT, [POINTER, POINTER, POINTER, POINTER]),
    "pthread_join": (INT, [WORD, POINTER]),
    "pthread_mutex_init": (INT, [POINTER, POINTER]),
    "pthread_mutex_lock": (INT, [POINTER]),
    "pthread_mutex_unlock": (INT, [POINTER]),
    "pthread_cond_init": (INT, [POINTER, POINTER]),
    "pthread_cond_wait": (INT, [POINTER, POINTER]),
    "pthread_cond_broadcast": (INT, [POINTER]),
    "pthread_sigmask": (INT, [INT, POINTER, POINTER]),
    "sigfillset": (INT, [POINTER]),
    "sched_yield": (INT, []),
}


class Writer(ir.IRBuilder):
    """Writes a function of the pool."""

    def __init__(self, function: ir.Function, state: int, addresses: dict[str, int]) -> None:
        super().__init__(function.append_basic_block("entry"))
        # loops that wait gain nothing from optimisation, which would take longer than all else here
        function.attributes.add("noinline")
        function.attributes.add("optnone")
        self.state, self.addresses = state, addresses

    def number(self, value: int) -> ir.Constant:
        return ir.Constant(WORD, value)

    def place(self, word: int) -> Any:
        return self.inttoptr(self.number(self.state + 8 * word), WORD.as_pointer())

    def pointer(self, word: int) -> Any:
        return self.inttoptr(self.number(self.state + 8 * word), POINTER)

    def read(self, word: int) -> Any:
        return self.load_atomic(self.place(word), "seq_cst", 8)

    def write(self, word: int, value: Any) -> None:
        value = self.number(value) if isinstance(value, int) else value
        self.store_atomic(value, self.place(word), "seq_cst", 8)

    def add_to(self, word: int, value: int) -> Any:
        """What the word was before."""
        return self.atomic_rmw("add", self.place(word), self.number(value), "seq_cst")

    def acquire(self) -> Any:
        """Whether the pool was free, and is this thread's now."""
        taken = self.cmpxchg(self.place(BUSY), self.number(0), self.number(1), "seq_cst", "seq_cst")
        return self.extract_value(taken, 1)

    def call_routine(self, name: str, *arguments: Any) -> Any:
        kind = ir.FunctionType(*ROUTINES[name])
        routine = self.inttoptr(self.number(self.addresses[name]), kind.as_pointer())
        return self.call(routine, list(arguments))

    def locked(self) -> None:
        self.call_routine("pthread_mutex_lock", self.pointer(MUTEX))

    def unlocked(self) -> None:
        self.call_routine("pthread_mutex_unlock", self.pointer(MUTEX))

    def wake(self) -> None:
        """Wake all who sleep, once the generation has been counted up."""
        self.locked()
        self.call_routine("pthread_cond_broadcast", self.pointer(CONDITION))
        self.unlocked()

    def pause(self) -> None:
        """Tell the processor that this is a loop that waits."""
        machine = platform.machine().lower()
        if machine in ("x86_64", "amd64"):
            kind, name, arguments = [], "llvm.x86.sse2.pause", []
        elif machine in ("aarch64", "arm64"):
            kind, name, arguments = [INT], "llvm.aarch64.hint", [ir.Constant(INT, 1)]
        else:
            return
        self.call(declared(self.module, name, kind), arguments)

    def float_settings(self, keep: bool) -> None:
        """Keep the caller's way of rounding and of denormal numbers, or take it over."""
        if platform.machine().lower() in ("x86_64", "amd64"):
            name = f"llvm.x86.sse.{'st' if keep else 'ld'}mxcsr"
            self.call(declared(self.module, name, [POINTER]), [self.pointer(FLOATS)])

    def take_parts(self) -> None:
        """Run parts until all have been handed out. A thread takes a place with its first part, so that
        there are no more places than parts."""
        function = self.inttoptr(self.read(FUNCTION), PART.as_pointer())
        context = self.inttoptr(self.read(CONTEXT), POINTER)
        count = self.read(COUNT)
        begin, body, end = (self.append_basic_block(n) for n in ("begin", "part", "no_more"))
        before = self.add_to(NEXT, 1)
        self.cbranch(self.icmp_signed("<", before, count), begin, end)
        self.position_at_end(begin)
        place = self.add_to(PLACES, 1)
        self.branch(body)
        self.position_at_end(body)
        part = self.phi(WORD)
        self.call(function, [context, part, place])
        after = self.add_to(NEXT, 1)
        part.add_incoming(before, begin)
        part.add_incoming(after, body)
        self.cbranch(self.icmp_signed("<", after, count), body, end)
        self.position_at_end(end)

    def loop_until(self, condition: Any, looks: int | None, instead: Any) -> None:
        """Look again and again: until ``condition()``, or ``looks`` times; ``instead()`` is done
        after each ``PATIENCE`` looks."""
        counter = cgutils.alloca_once(self, WORD)
        self.store(self.number(0), counter)
        look, again, tired, end = (
            self.append_basic_block(n) for n in ("look", "again", "tired", "seen")
        )
        self.branch(look)
        self.position_at_end(look)
        self.cbranch(condition(), end, again)
        self.position_at_end(again)
        self.pause()
        count = self.add(self.load(counter), self.number(1))
        self.store(count, counter)
        self.cbranch(self.icmp_signed("<", count, self.number(looks or PATIENCE)), look, tired)
        self.position_at_end(tired)
        if looks is None:
            instead()
            self.store(self.number(0), counter)
            self.branch(look)
        else:
            self.branch(end)
        self.position_at_end(end)


def declared(module: ir.Module, name: str, kinds: list[Any]) -> Any:
    if name in module.globals:
        return module.globals[name]
    return ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)


class Pool:
    """The pool of this process. RuntimeError where the system's threads are not POSIX threads."""

    def __init__(self) -> None:
        routines = _routines()
        if routines is None:
            raise RuntimeError("this system has no POSIX threads")
        self._routines = routines
        # from a cache line's beginning on
        raw = np.zeros(HANDLES + MOST_THREADS + 8, np.int64)
        self.state = raw[-raw.ctypes.data % 64 // 8 :][: HANDLES + MOST_THREADS]
        address = self.state.ctypes.data
        with global_compiler_lock:
            library = cpu_target.target_context.codegen().create_library("staticgrad_pool")
            module = library.create_ir_module("staticgrad_pool")
            _write_run(module, address, routines, _write_helper(module, address, routines))
            _write_stop(module, address, routines)
            library.add_ir_module(module)
            library.finalize()
        self._library = library
        self._run = library.get_pointer_to_function("staticgrad_pool_run")
        self._stop = ctypes.CFUNCTYPE(None)(library.get_pointer_to_function("staticgrad_pool_stop"))
        self.reset()

    def reset(self) -> None:
        """Start from nothing: the first time, and in a child process, which has no helpers."""
        threads = self.state[LIMIT]
        self.state[:] = 0
        self.state[LIMIT] = threads
        for name, word in (("pthread_mutex_init", MUTEX), ("pthread_cond_init", CONDITION)):
            kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
            kind(self._routines[name])(self.state.ctypes.data + 8 * word, None)

    def limit(self, threads: int) -> None:
        """Let so many threads take part, the caller included; helpers start at the first job."""
        self.state[LIMIT] = min(threads, MOST_THREADS)
        place = binding.address_of_symbol(SYMBOL)
        if place:
            ctypes.c_int64.from_address(place).value = self._run if threads > 1 else 0

    def stop(self) -> None:
        """End the helpers; without another limit, they start again at the next job."""
        self._stop()

    @property
    def helpers(self) -> int:
        """How many threads have been started."""
        return int(self.state[STARTED])


def _routines() -> dict[str, int] | None:
    try:
        process = ctypes.CDLL(None)
        return {
            name: ctypes.cast(getattr(process, name), ctypes.c_void_p).value or 0 for name in ROUTINES
        }
    except (AttributeError, OSError, TypeError):
        return None


def _write_helper(module: ir.Module, state: int, routines: dict[str, int]) -> ir.Function:
    """What a helper does; its argument is its number."""
    function = ir.Function(module, ir.FunctionType(POINTER, [POINTER]), "staticgrad_pool_helper")
    w = Writer(function, state, routines)
    number = w.ptrtoint(function.args[0], WORD)
    seen = w.alloca(WORD)
    w.store(w.number(-1), seen)
    signals = w.alloca(ir.ArrayType(WORD, 32))
    signals = w.bitcast(signals, POINTER)
    # signals are for threads that Python knows
    w.call_routine("sigfillset", signals)
    block = ir.Constant(INT, int(getattr(signal, "SIG_BLOCK", 0)))
    w.call_routine("pthread_sigmask", block, signals, ir.Constant(POINTER, None))

    def something_new() -> Any:
        return w.icmp_signed("!=", w.read(GENERATION), w.load(seen))

    look, sleep, doze, awake, enter, take, leave, end = (
        w.append_basic_block(name)
        for name in ("look_out", "sleep", "doze", "awake", "enter", "take", "leave", "end")
    )
    w.branch(look)

    w.position_at_end(look)
    w.loop_until(something_new, LOOKS, None)
    w.cbranch(something_new(), enter, sleep)

    w.position_at_end(sleep)
    w.locked()
    # either the caller sees the sleeper, or the sleeper sees what the caller has counted up before
    w.add_to(SLEEPERS, 1)
    w.branch(doze)
    w.position_at_end(doze)
    nap = w.append_basic_block("nap")
    w.cbranch(something_new(), awake, nap)
    w.position_at_end(nap)
    w.call_routine("pthread_cond_wait", w.pointer(CONDITION), w.pointer(MUTEX))
    w.branch(doze)
    w.position_at_end(awake)
    w.add_to(SLEEPERS, -1)
    w.unlocked()
    w.branch(enter)

    w.position_at_end(enter)
    w.store(w.read(GENERATION), seen)
    working = w.append_basic_block("working")
    w.cbranch(w.icmp_signed("!=", w.read(STOPPING), w.number(0)), end, working)
    w.position_at_end(working)
    wanted = w.append_basic_block("wanted")
    # the caller is one of the threads
    place = w.add(number, w.number(1))
    w.cbranch(w.icmp_signed("<", place, w.read(LIMIT)), wanted, sleep)
    w.position_at_end(wanted)
    # either the job is seen closed here, or its caller waits for this helper
    w.add_to(ACTIVE, 1)
    w.cbranch(w.icmp_signed("!=", w.read(OPEN), w.number(0)), take, leave)
    w.position_at_end(take)
    w.float_settings(keep=False)
    w.take_parts()
    w.branch(leave)
    w.position_at_end(leave)
    w.add_to(ACTIVE, -1)
    w.branch(look)

    w.position_at_end(end)
    w.ret(ir.Constant(POINTER, None))
    return function


def _write_run(
    module: ir.Module, state: int, routines: dict[str, int], helper: ir.Function
) -> None:
    """``void run(part *function, void *context, int64_t count)``"""
    kind = ir.FunctionType(ir.VoidType(), [PART.as_pointer(), POINTER, WORD])
    function = ir.Function(module, kind, "staticgrad_pool_run")
    w = Writer(function, state, routines)
    part, context, count = function.args
    several, alone = w.append_basic_block("several"), w.append_basic_block("alone")
    w.cbranch(w.acquire(), several, alone)

    w.position_at_end(alone)
    counter = w.alloca(WORD)
    w.store(w.number(0), counter)
    more, body, end = (w.append_basic_block(n) for n in ("more_alone", "part_alone", "end_alone"))
    w.branch(more)
    w.position_at_end(more)
    number = w.load(counter)
    w.cbranch(w.icmp_signed("<", number, count), body, end)
    w.position_at_end(body)
    w.call(part, [context, number, w.number(0)])
    w.store(w.add(number, w.number(1)), counter)
    w.branch(more)
    w.position_at_end(end)
    w.ret_void()

    w.position_at_end(several)
    _write_start(w, helper)
    w.write(FUNCTION, w.ptrtoint(part, WORD))
    w.write(CONTEXT, w.ptrtoint(context, WORD))
    w.write(COUNT, count)
    w.write(NEXT, 0)
    w.write(PLACES, 0)
    w.float_settings(keep=True)
    w.write(OPEN, 1)
    w.add_to(GENERATION, 1)
    with w.if_then(w.icmp_signed(">", w.read(SLEEPERS), w.number(0))):
        w.wake()
    w.take_parts()
    w.write(OPEN, 0)
    nobody = w.number(0)
    w.loop_until(
        lambda: w.icmp_signed("==", w.read(ACTIVE), nobody), None,
        lambda: w.call_routine("sched_yield"),
    )  # fmt: skip
    w.write(BUSY, 0)
    w.ret_void()


def _write_start(w: Writer, helper: ir.Function) -> None:
    """Start the helpers that are missing. One that cannot be started is done without."""
    check, create, count, end = (
        w.append_basic_block(name) for name in ("check", "create", "count", "started")
    )
    w.branch(check)
    w.position_at_end(check)
    started = w.read(STARTED)
    w.cbranch(w.icmp_signed("<", w.add(started, w.number(1)), w.read(LIMIT)), create, end)
    w.position_at_end(create)
    handle = w.add(w.number(w.state + 8 * HANDLES), w.mul(started, w.number(8)))
    status = w.call_routine(
        "pthread_create", w.inttoptr(handle, POINTER), ir.Constant(POINTER, None),
        w.bitcast(helper, POINTER), w.inttoptr(started, POINTER),
    )  # fmt: skip
    w.cbranch(w.icmp_signed("==", status, ir.Constant(INT, 0)), count, end)
    w.position_at_end(count)
    w.write(STARTED, w.add(started, w.number(1)))
    w.branch(check)
    w.position_at_end(end)


def _write_stop(module: ir.Module, state: int, routines: dict[str, int]) -> None:
    """``void stop(void)``: ends all helpers and waits for their end."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "staticgrad_pool_stop")
    w = Writer(function, state, routines)
    w.loop_until(w.acquire, None, lambda: w.call_routine("sched_yield"))
    w.write(STOPPING, 1)
    w.add_to(GENERATION, 1)
    w.wake()
    check, join, end = (w.append_basic_block(name) for name in ("check", "join", "end"))
    w.branch(check)
    w.position_at_end(check)
    started = w.read(STARTED)
    w.cbranch(w.icmp_signed(">", started, w.number(0)), join, end)
    w.position_at_end(join)
    last = w.sub(started, w.number(1))
    handle = w.add(w.number(state + 8 * HANDLES), w.mul(last, w.number(8)))
    w.call_routine(
        "pthread_join", w.load(w.inttoptr(handle, WORD.as_pointer())), ir.Constant(POINTER, None)
    )
    w.write(STARTED, last)
    w.branch(check)
    w.position_at_end(end)
    w.write(STOPPING, 0)
    w.write(BUSY, 0)
    w.ret_void()


__all__ = ["MOST_THREADS", "Pool"]
