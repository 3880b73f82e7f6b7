"""The short way of a call: a Python function written for one compiled function.

It hands the arguments to the machine code as they are, beside outputs whose memory it uses again
once nobody holds it any more. Whatever does not go through at once takes the long way, which says
what is wrong (``CompiledFunction``).
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from staticgrad.graph.dims import Shape, format_shape, symbols_of

#: what vector loads and cache lines like
ALIGNMENT = 64
#: outputs of fewer bytes lie where NumPy puts them
WORTH_ALIGNING = 4096
#: sets of outputs that a function keeps: what the caller holds from the last call, and the next
KEPT = 2
#: memory that is never free
NOTHING = (None, None, None)


@dataclass(frozen=True)
class Output:
    """An output's dtype, and its shape in terms of the inputs' sizes."""

    dtype: np.dtype
    shape: Shape


def aligned_bytes(count: int) -> np.ndarray:
    """``count`` bytes that begin at a multiple of the alignment."""
    raw = np.empty(count + ALIGNMENT, dtype=np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + count]


def new_memory(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray, Any]:
    """Memory for an output: what owns it, an array over it, and the array's shape.

    Each has two references to the owner: views of the array refer to the owner too, so that more of
    them mean that somebody else can see the memory.
    """
    if prod(shape) * dtype.itemsize < WORTH_ALIGNING:
        array = np.empty(shape, dtype)
        return array, array, shape
    data = aligned_bytes(prod(shape) * dtype.itemsize)
    assert data.base is not None
    return data.base, data.view(dtype).reshape(shape), shape


@cache
def free_count() -> int:
    """What ``sys.getrefcount`` says of memory that nobody else holds; 0 where it cannot be trusted.

    Asked in the way in which the short way asks, since interpreters differ in what they count.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED") or not hasattr(sys, "getrefcount"):
        return 0
    count = sys.getrefcount
    found = []
    for size in (8, WORTH_ALIGNING):
        slot = new_memory((size,), np.dtype(np.uint8))
        free = count(slot[0])
        held = slot[1][...]
        part = held[1:]
        del held
        one_view = count(slot[0])
        found.append((free, one_view))
        del part
    return free if found[0] == found[1] and one_view == free + 1 else 0


def short_way(
    entry: Callable[..., int],
    inputs: Sequence[Shape],
    scalars: Sequence[int],
    fixed: Sequence[np.ndarray],
    outputs: Sequence[Output],
    single: bool | None,
    convert: Callable[[int], Callable[[Any], Any]],
) -> Callable[..., Any]:
    """A function of a tuple of arguments, which calls ``entry`` with them.

    Args:
        entry: Numba's dispatcher. inputs: the declared shapes. scalars: positions of inputs without
            axes, which may come as Python numbers; ``convert(position)`` makes arrays of them.
        fixed: arrays between inputs and outputs.
        single: whether the result is the output itself, a list of outputs, or None.

    The function raises TypeError or ValueError for a call that must take the long way: arguments of
    other types, shapes or number, or which the machine code refuses. Nothing has been changed then.
    """
    shapes = tuple(None if symbols_of(o.shape) else tuple(o.shape) for o in outputs)
    texts = tuple(in_sizes(o.shape, inputs) for o in outputs)
    places = tuple(places_of([o.shape for o in outputs], inputs))
    make = _maker(len(inputs), tuple(scalars), len(fixed), texts, places, single)
    return make(
        entry, convert, np.ndarray, sys.getrefcount if free_count() else _unknown,
        free_count(), fixed, [o.dtype for o in outputs], shapes,
        [deque([NOTHING] * KEPT if o.shape else [], KEPT) for o in outputs], new_memory,
    )  # fmt: skip


def _unknown(owner: Any) -> int:
    return -1


def _names(inputs: Sequence[Shape]) -> dict[str, tuple[int, int]]:
    """Where the size of each named dimension is read."""
    found: dict[str, tuple[int, int]] = {}
    for position, shape in enumerate(inputs):
        for axis, dim in enumerate(shape):
            if not isinstance(dim, int) and dim.is_Symbol:
                found.setdefault(str(dim), (position, axis))
    return found


def places_of(shapes: Sequence[Shape], inputs: Sequence[Shape]) -> list[tuple[int, int]]:
    """The (input, axis) where the sizes are read that ``in_sizes`` needs for these shapes."""
    used = {str(symbol) for shape in shapes for symbol in symbols_of(shape)}
    return [place for name, place in _names(inputs).items() if name in used]


def in_sizes(shape: Shape, inputs: Sequence[Shape]) -> str:
    """A shape in Python, of variables ``size_<input>_<axis>``; empty for a scalar."""
    if not shape:
        return ""
    text = format_shape(shape)
    for name, (position, axis) in _names(inputs).items():
        text = re.sub(rf"\b{name}\b", f"size_{position}_{axis}", text)
    return text


@cache
def _maker(
    arguments: int,
    scalars: tuple[int, ...],
    fixed: int,
    shapes: tuple[str, ...],
    sizes: tuple[tuple[int, int], ...],
    single: bool | None,
) -> Callable[..., Callable[..., Any]]:
    """A function that binds the short way's constants."""
    given = [f"input_{k}" for k in range(arguments)]
    lines = [
        "def make(entry, convert, ndarray, count, free, fixed, dtypes, shapes, kept, new):",
        *(f"    fixed_{k} = fixed[{k}]" for k in range(fixed)),
    ]
    for k, text in enumerate(shapes):
        lines += [f"    kept_{k}, dtype_{k} = kept[{k}], dtypes[{k}]"]
        if text and "size_" not in text:
            lines += [f"    shape_{k} = shapes[{k}]"]
    lines += ["    def call(arguments):"]
    lines += [f"        {''.join(f'{name}, ' for name in given)}= arguments"] if given else []
    for k in scalars:
        lines += [
            f"        if type(input_{k}) is not ndarray:",
            f"            input_{k} = convert({k})(input_{k})",
        ]
    if sizes:
        lines += ["        try:"]
        lines += [f"            size_{p}_{axis} = input_{p}.shape[{axis}]" for p, axis in sizes]
        lines += ["        except (AttributeError, IndexError):"]
        lines += ["            raise TypeError from None"]
    for k, text in enumerate(shapes):
        lines += _memory(k, text)
    results = [f"memory_{k}[1]" if text else f"memory_{k}" for k, text in enumerate(shapes)]
    handed = [*given, *(f"fixed_{k}" for k in range(fixed)), *results]
    lines += [
        f"        if entry({', '.join(handed)}):",
        "            raise TypeError",
    ]
    for k, text in enumerate(shapes):
        lines += [f"        result_{k} = memory_{k}{'[1][...]' if text else '[()]'}"]
        lines += [f"        kept_{k}.append(memory_{k})"]
    returned = ", ".join(f"result_{k}" for k in range(len(shapes)))
    lines += [f"        return {returned if single else None if single is None else f'[{returned}]'}"]
    lines += ["    return call"]
    space: dict[str, Any] = {}
    exec(compile("\n".join(lines), "<the short way of a staticgrad call>", "exec"), space)
    return space["make"]


def _memory(k: int, text: str) -> list[str]:
    """Lines that find memory for an output: a scalar's is always free, since its value is read off;
    an array's is if only the pair that holds it refers to its owner. What is in use by a call is
    out of the deque, so that no other thread finds it."""
    if not text:
        return [
            "        try:",
            f"            memory_{k} = kept_{k}.pop()",
            "        except IndexError:",
            f"            memory_{k} = new((), dtype_{k})[1]",
        ]
    prepared = [] if "size_" not in text else [f"        shape_{k} = {text}"]
    fits = f"count(memory_{k}[0]) == free"
    if prepared:
        fits += f" and memory_{k}[2] == shape_{k}"
    return [
        *prepared,
        "        try:",
        f"            memory_{k} = kept_{k}.pop()",
        f"            if not ({fits}):",
        f"                kept_{k}.appendleft(memory_{k})",
        f"                memory_{k} = kept_{k}.pop()",
        f"                if not ({fits}):",
        f"                    memory_{k} = new(shape_{k}, dtype_{k})",
        "        except IndexError:",
        f"            memory_{k} = new(shape_{k}, dtype_{k})",
    ]


__all__ = ["Output", "aligned_bytes", "in_sizes", "new_memory", "places_of", "short_way"]
