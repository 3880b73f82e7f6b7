"""The table of addresses that machine code is given, and the memory of outputs.

Memory of outputs is used again once nobody holds it any more, neither it nor a view of it.
"""

from __future__ import annotations

import ctypes
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
#: bytes of outputs from which on it matters that the memory of the last call is used again
LARGE = 2**18
#: what a record begins with: the table, the sizes of named dimensions, the workspace
TABLE, SIZES, FIRST = 0, 1, 3


@dataclass(frozen=True)
class Output:
    """An output's dtype, and its shape in terms of the inputs' sizes."""

    dtype: np.dtype
    shape: Shape


class Addresses:
    """What the addresses of a function lead to.

    A record is what one call needs, and no other has meanwhile: a list of the table of addresses, the
    sizes for which its outputs are, the workspace, an array for each input without axes, and for each
    output what owns its memory and an array over it.

    Args:
        fixed: arrays that come first in the table, parameters and constants.
        scalars: dtypes of the inputs without axes, which come next; ``outputs`` follow.
        inputs: shapes of all inputs.
        workspace: bytes that are always needed.

    Attributes:
        kept: records that no call has at the moment, the one that was used last at the end.
        newest_first: whether that is taken first, if it can be: what it leads to lies in the cache
            then. Otherwise it is the other one, which costs a caller less who holds the last results.
        count, free: what tells how many hold memory, and what it says where nobody does.
        places: the (input, axis) where the sizes are read that the outputs' shapes depend on.
    """

    def __init__(
        self,
        fixed: Sequence[np.ndarray],
        scalars: Sequence[np.dtype],
        outputs: Sequence[Output],
        inputs: Sequence[Shape],
        workspace: int,
    ) -> None:
        self.kept: deque[list[Any]] = deque(maxlen=KEPT)
        self.places = places_of([o.shape for o in outputs], inputs)
        self._fixed, self._scalars, self._outputs = list(fixed), list(scalars), list(outputs)
        self._shapes = shapes_in_sizes([o.shape for o in outputs], inputs)
        self._start = [address_of(array) for array in fixed]
        first = FIRST + len(scalars)
        #: for each output with axes its number, and where it stands in a record and in the table
        self._arrays = [
            (number, first + 2 * number, len(fixed) + len(scalars) + number)
            for number, output in enumerate(outputs) if output.shape
        ]  # fmt: skip
        self.count, self.free = references(), free_count()
        sizes = [o.dtype.itemsize * prod(o.shape) for o in outputs if not symbols_of(o.shape)]
        self.newest_first = sum(sizes) >= LARGE
        self.reserve(workspace)

    @property
    def next(self) -> Callable[[], list[Any]]:
        """Takes a record out of those that are kept, or raises IndexError."""
        return self.kept.pop if self.newest_first else self.kept.popleft

    def reserve(self, count: int) -> None:
        """Make the workspace ``count`` bytes large."""
        self.workspace = aligned_bytes(count)
        self._end = [address_of(self.workspace), count]
        self.kept.clear()

    def table(self, scalars: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> np.ndarray:
        """The table for a call with these arrays, of the right dtypes and shapes."""
        places = [address_of(array) for array in (*scalars, *results)]
        return np.array([*self._start, *places, *self._end], np.int64)

    def new(self, sizes: tuple[int, ...] = ()) -> list[Any]:
        """A record."""
        scalars = [np.empty((), dtype) for dtype in self._scalars]
        results = [
            new_memory(shape, output.dtype)
            for shape, output in zip(self._shapes(*sizes), self._outputs, strict=True)
        ]
        table = self.table(scalars, [array for _, array in results])
        pairs = [item for pair in results for item in pair]
        return [table, sizes, self.workspace, *scalars, *pairs]

    def renewed(self, record: list[Any], sizes: tuple[int, ...] = ()) -> list[Any]:
        """A record in the place of one of which somebody holds an array, or that is for other sizes."""
        if self.newest_first and self.kept:
            # the results of the last call are held: those of the call before it may not be
            self.kept.append(record)
            record = self.kept.popleft()
        elif not self.kept:
            new = self.new(sizes)
            # its next turn is the call after this one; and if there can be no new one, it is still the
            # caller's
            self.kept.append(record)
            return new
        shapes, count, free = self._shapes(*sizes), self.count, self.free
        record[SIZES] = None
        for number, place, position in self._arrays:
            shape = shapes[number]
            if count(record[place]) != free or record[place + 1].shape != shape:
                owner, array = new_memory(shape, self._outputs[number].dtype)
                record[place], record[place + 1] = owner, array
                record[TABLE][position] = address_of(array)
        record[SIZES] = sizes
        return record


def address_of(array: np.ndarray) -> int:
    """Where an array's memory begins."""
    try:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # read-only, or empty
        return array.ctypes.data  # which takes five times as long


def aligned_bytes(count: int) -> np.ndarray:
    """``count`` bytes that begin at a multiple of the alignment."""
    raw = np.empty(count + ALIGNMENT, dtype=np.uint8)
    start = -address_of(raw) % ALIGNMENT
    return raw[start : start + count]


def new_memory(shape: tuple[int, ...], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Memory for an output: what owns it, and an array over it.

    The two have two references to the owner: views of the array refer to the owner too, so that more
    of them mean that somebody else can see the memory.
    """
    array = np.empty(shape, dtype)
    if array.nbytes < WORTH_ALIGNING:
        return array, array
    data = aligned_bytes(array.nbytes)
    assert data.base is not None
    return data.base, data.view(dtype).reshape(shape)


@cache
def free_count() -> int:
    """What ``sys.getrefcount`` says of memory in a record that nobody else holds; 0 where it cannot be
    trusted.

    Asked in the way in which a call asks, since interpreters differ in what they count.
    """
    if sysconfig.get_config_var("Py_GIL_DISABLED") or not hasattr(sys, "getrefcount"):
        return 0
    count = sys.getrefcount
    found = []
    for size in (8, WORTH_ALIGNING):
        record = list(new_memory((size,), np.dtype(np.uint8)))
        free = count(record[0])
        held = record[1][...]
        part = held[1:]
        del held
        one_view = count(record[0])
        found.append((free, one_view))
        del part
    return free if found[0] == found[1] and one_view == free + 1 else 0


def references() -> Callable[[Any], int]:
    """What is asked for how many references there are; it never says ``free_count()`` where that cannot
    be trusted."""
    return sys.getrefcount if free_count() else lambda owner: -1


# ---- shapes in terms of sizes -----------------------------------------------------------------------


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


def shapes_in_sizes(
    shapes: Sequence[Shape], inputs: Sequence[Shape]
) -> Callable[..., tuple[tuple[int, ...], ...]]:
    """A function of the sizes at ``places_of(shapes, inputs)`` that gives the shapes."""
    sizes = ", ".join(f"size_{p}_{axis}" for p, axis in places_of(shapes, inputs))
    values = "".join(f"{in_sizes(shape, inputs) or '()'}, " for shape in shapes)
    return _evaluated(f"lambda {sizes}: ({values})")


@cache
def _evaluated(text: str) -> Any:
    return eval(text, {"__builtins__": {}})


__all__ = ["Addresses", "Output", "address_of", "in_sizes", "places_of"]
