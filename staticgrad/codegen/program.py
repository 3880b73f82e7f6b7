"""Loop programs: statements in nests of loops over buffers, and library calls between them.

A statement computes one element of its target for each point of its domain; ``value`` and ``index``
say which, given a reader and the loop variables. Its loops are numbered
from the outermost; in a fused tree the loop at level ``k`` runs axis ``k`` of the domain of every
statement inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy

from staticgrad.codegen.ranges import Range
from staticgrad.graph.dims import Dim, Shape, canonical, product, usual
from staticgrad.graph.node import Node
from staticgrad.ops.lowering import Index, Scalar
from staticgrad.show.names import Names

#: what the local accumulator of a reduction is called where its result has a place in memory
ACCUMULATORS = {"sum": "total", "prod": "product", "max": "largest", "min": "smallest"}
#: what a compiled function returns: 0 when all went well, NOT_READY when a shape does not fit or
#: the workspace is too small, FIRST_CHECK + k when the index check k failed
NOT_READY, FIRST_CHECK = 1, 2


@dataclass(eq=False)
class Buffer:
    """Where values lie: an argument, a place in the workspace, or a local scalar.

    ``kind`` is "input", "parameter", "constant", "output" or "workspace". ``axes`` are the axes
    that are really stored: contraction drops those which a fused loop runs over, and a workspace
    buffer with none left is a local variable. ``root`` is another buffer whose memory it views.
    """

    name: str
    dtype: np.dtype
    shape: Shape
    kind: str
    node: Node | None = None
    root: Buffer | None = None
    axes: tuple[int, ...] = ()
    #: for the accumulator of a reduction: where its last value is stored
    finishes_in: Buffer | None = None
    #: for a scalar input, or parameter that the function only reads: it is loaded once, at first
    by_value: bool = False
    #: the local variable that holds its value in another dtype, where nothing needs it in its own
    cast_to: Buffer | None = None
    #: whether another buffer views this one's memory, which must then exist as a whole
    viewed: bool = False
    #: where the buffer is a part of its root along the first axis, which one
    part_of: int | None = None
    #: whether the root serves in its place, in the other turns of a loop over layers
    is_duplicate: bool = False

    def __post_init__(self) -> None:
        self.axes = tuple(range(len(self.shape)))

    @property
    def memory(self) -> Buffer:
        """The buffer that owns the memory."""
        return self if self.root is None else self.root.memory

    @property
    def is_local(self) -> bool:
        return self.kind == "workspace" and not self.axes and not self.viewed and self.root is None

    @property
    def stored_shape(self) -> Shape:
        return tuple(self.shape[axis] for axis in self.axes)


@dataclass(frozen=True, eq=False)
class Access:
    """Element ``index`` of ``buffer`` is read or written; None where it is not known which."""

    buffer: Buffer
    index: Index | None
    writes: bool


@dataclass(eq=False)
class Statement:
    """``target[index] = value``, or an accumulation, at every point of a domain.

    ``action`` is "store", "start" (an accumulator's first value), "accumulate", "scan" (accumulate
    and store the running value), "scatter" (accumulate at an index that is read) or "check" (an
    index out of bounds ends the function).
    """

    action: str
    node: Node
    domain: Shape
    target: Buffer | None
    value: Callable[[Any, tuple[Any, ...]], Scalar]
    index: Callable[[Any, tuple[Any, ...]], Index] = lambda reader, own: own
    combine: str = ""
    #: where a scan stores its running value, and at which index
    running: Buffer | None = None
    running_index: Callable[[tuple[Any, ...]], Index] | None = None
    section: str = "forward"
    own: tuple[sympy.Symbol, ...] = ()
    variables: tuple[sympy.Symbol, ...] = ()
    #: the part of each axis of the domain that is gone through
    ranges: tuple[Range, ...] = ()
    accesses: list[Access] = field(default_factory=list)
    #: nodes that have a buffer, and of which it computes the elements it needs for itself, but for
    #: the one with its own index where the same loop has computed that: it stands ``beside``
    inlined: set[Node] = field(default_factory=set)
    beside: set[Node] = field(default_factory=set)
    #: the scalar functions that its value calls
    functions: set[str] = field(default_factory=set)
    #: the floating-point operations of its value
    flops: int = 0
    check: int = 0

    def __post_init__(self) -> None:
        self.own = tuple(sympy.Dummy(f"i{axis}", integer=True) for axis in range(len(self.domain)))
        self.ranges = tuple(Range((0,), (extent,)) for extent in self.domain)


@dataclass(eq=False)
class Call:
    """A library call: a matrix product into ``target``."""

    node: Node
    target: Buffer
    operands: tuple[Buffer, ...]
    transpose: tuple[bool, bool]
    section: str
    #: within a block of rows: when the product is added to what the target holds
    adds: str = ""
    accesses: list[Access] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accesses = [Access(buffer, None, False) for buffer in self.operands]
        self.accesses.append(Access(self.target, None, True))

    @property
    def multiplications(self) -> int:
        """Of a product of two matrices; a named dimension counts as 128."""
        depth = self.operands[0].shape[-2 if self.transpose[0] else -1]
        return usual(product((*self.target.shape[-2:], depth)))

    @property
    def kernel(self) -> str:
        """The function that computes the product."""
        if self.node.ndim == 2 and self.node.shape[1] == 1 and not self.transpose[1]:
            name = "matvec_t" if self.transpose[0] else "matvec"
        elif any(self.transpose):
            name = "matmul_" + "".join("nt"[flag] for flag in self.transpose)
        else:
            name = "matmul"
        return f"{name}_sum" if self.adds else name


@dataclass(eq=False)
class RoutineCall:
    """A call of the routine of a node's op, which computes ``target``, one of the operands."""

    node: Node
    target: Buffer
    operands: list[Buffer]
    scratch: Buffer | None
    section: str
    #: whether the routine may use several threads
    is_large: bool
    accesses: list[Access] = field(default_factory=list)

    def __post_init__(self) -> None:
        arrays = [*self.operands, *([self.scratch] if self.scratch else [])]
        for buffer in arrays:
            self.accesses.append(Access(buffer, None, buffer in (self.target, self.scratch)))


@dataclass(eq=False)
class Loop:
    """``extent`` steps from ``start`` on, in each of which the items run in order."""

    variable: sympy.Symbol
    extent: Dim
    body: list[Any] = field(default_factory=list)
    start: Dim = 0

    @property
    def stop(self) -> Dim:
        return canonical(self.start + self.extent)


@dataclass(eq=False)
class Peeled:
    """A loop, and what its ``first`` and ``last`` steps would be: they stand apart, so that it needs
    no conditions."""

    first: list[Any]
    loop: Loop | Shared
    last: list[Any]

    @property
    def items(self) -> list[Any]:
        return [*self.first, self.loop, *self.last]


@dataclass(eq=False)
class Routine:
    """A function made of loops that occur several times: what its buffers are called in it, those
    it is given, which may be ``flat`` (arrays with one axis), and those of its own."""

    name: str
    items: list[Any]
    parameters: list[tuple[Buffer, str]]
    internal: list[tuple[Buffer, str]]
    sizes: list[sympy.Symbol]
    flat: bool
    #: where each parameter stands among the arrays and numbers in order of appearance
    order: list[int]


@dataclass(eq=False)
class Invocation:
    """A call of a routine in the place of ``items``; of a flat one, on ``slices`` of so many elements
    if several threads may share it."""

    routine: Routine
    items: list[Any]
    arguments: list[Buffer]
    sizes: list[sympy.Symbol]
    slices: int = 0


@dataclass(eq=False)
class Stack:
    """Buffers that a loop over layers goes through: parameters whose addresses follow each other, or
    parts of one array. ``first`` is what the first one's place was counted as."""

    kind: str
    buffers: list[Buffer]
    name: str = ""
    buffer: Buffer | None = None
    first: int = 0


@dataclass(eq=False)
class Binding:
    """In turn k of a loop over layers, ``buffer`` stands for number ``base + step * k`` of a stack."""

    buffer: Buffer
    stack: Stack | None
    base: int
    step: int

    def number(self, turn: str, offset: int = 0) -> str:
        assert self.stack is not None
        start = self.base - self.stack.first + offset
        if self.step < 0:
            return f"{start} - {turn}" if start else f"-{turn}"
        return f"{turn} + {start}" if start else turn


@dataclass(eq=False)
class Rolled:
    """A loop over layers: the items of each turn, which differ in their buffers only."""

    turns: list[list[Any]]
    bindings: list[Binding]


@dataclass(eq=False)
class Blocked:
    """A loop over blocks of rows of a long axis; ``exact`` if all are of one size. ``views`` are what
    the rows of a buffer are called within; ``local`` are the buffers that hold one block only."""

    items: list[Any]
    extent: Dim
    size: int
    exact: bool
    views: dict[Buffer, Buffer] = field(default_factory=dict)
    local: set[Buffer] = field(default_factory=set)
    #: how its blocks go to several threads, if they do
    parts: Parts | None = None


@dataclass(eq=False)
class Parts:
    """Blocks of rows in ``count`` parts of ``size`` rows, each a call of the function ``name``, on any
    thread. ``partial`` is where a part leaves its share of each sum over all rows; ``starts`` are the
    items that give those their first values. The buffers in ``own`` lie in the memory ``scratch``,
    once per thread, at ``places``."""

    name: str
    size: int
    count: int
    arguments: list[Buffer]
    partial: dict[Buffer, Buffer]
    starts: list[Any]
    own: set[Buffer]
    scratch: Buffer
    places: list[Any] = field(default_factory=list)

    @property
    def arrays(self) -> list[Buffer]:
        """What each part is given."""
        return [*self.arguments, *self.partial.values(), self.scratch]


@dataclass(eq=False)
class Shared:
    """A loop in ``parts`` of ``size`` steps, each a call of the function ``name``, on any thread.
    ``partial`` is where a part leaves what it has accumulated; ``starts`` are the first values."""

    name: str
    loop: Loop
    size: int
    parts: int
    arguments: list[Buffer]
    partial: dict[Buffer, Buffer]
    starts: dict[Buffer, Any]

    @property
    def arrays(self) -> list[Buffer]:
        """What each part is given."""
        return [*self.arguments, *self.partial.values()]


def statements(items: list[Any] | Any) -> Iterator[Any]:
    """All statements and calls below ``items``, in order."""
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, Loop):
            yield from statements(item.body)
        elif isinstance(item, Blocked):
            yield from statements(item.parts.starts if item.parts else [])
            yield from statements(item.items)
        elif isinstance(item, Invocation | Peeled):
            yield from statements(item.items)
        elif isinstance(item, Shared):
            yield from statements(item.loop)
        elif isinstance(item, Rolled):
            for turn in item.turns:
                yield from statements(turn)
        else:
            yield item


def nested_items(items: list[Any]) -> Iterator[Any]:
    """Items, and those within them."""
    for item in items:
        yield item
        if isinstance(item, Peeled):
            yield item.loop
        elif isinstance(item, Rolled):
            for turn in item.turns:
                yield from nested_items(turn)


def shared_loops(items: list[Any]) -> Iterator[Shared]:
    """The loops among items that are carried out in parts."""
    for item in items:
        loop = item.loop if isinstance(item, Peeled) else item
        if isinstance(loop, Shared):
            yield loop


def shared_blocks(items: list[Any]) -> Iterator[tuple[Blocked, Parts]]:
    """The blocks of rows among items that go to several threads."""
    for item in items:
        if isinstance(item, Blocked) and item.parts is not None:
            yield item, item.parts


@dataclass(eq=False)
class Program:
    """A whole function: its buffers, and its items in order of execution."""

    inputs: list[Buffer]
    parameters: list[Buffer]
    constants: list[Buffer]
    outputs: list[Buffer]
    buffers: list[Buffer]
    items: list[Any]
    checks: list[Any]
    names: Names
    #: the workspace's places in order, and its bytes in Python syntax over the named dimensions
    places: list[Any] = field(default_factory=list)
    workspace: str = "0"
    is_planned: bool = False
    #: buffers that each loop computes for itself
    repeated: set[Buffer] = field(default_factory=set)
    #: functions of loops that occur several times
    routines: list[Routine] = field(default_factory=list)

    @property
    def readers(self) -> dict[Node, Buffer]:
        """Where the value of each node is read."""
        found: dict[Node, Buffer] = {}
        for buffer in self.buffers:
            if buffer.node is not None and buffer.finishes_in is None:
                found.setdefault(buffer.node, buffer)
        return found


def only_starts(item: Any) -> bool:
    """Whether an item does nothing but give accumulators their first value."""
    return all(getattr(member, "action", "") == "start" for member in statements(item))


def starts_together(group: list[Any]) -> list[Any]:
    """A group of items in which one loop gives all accumulators of one length their first value;
    before it stand the single ones."""
    result: list[Any] = []
    for item in sorted(group, key=lambda item: getattr(item, "action", "") != "start"):
        last = result[-1] if result else None
        if (
            isinstance(item, Loop) and isinstance(last, Loop) and item.extent == last.extent
            and all(isinstance(m, Statement) for m in (*item.body, *last.body))
            and only_starts(item) and only_starts(last)
            and item.variable == last.variable
        ):  # fmt: skip
            result[-1] = Loop(last.variable, last.extent, [*last.body, *item.body])
        else:
            result.append(item)
    return result


def groups(items: list[Any]) -> list[list[Any]]:
    """The items of a program, each with the first values of the accumulators that it needs."""
    found: list[list[Any]] = []
    pending: list[Any] = []
    for item in items:
        if only_starts(item):
            pending.append(item)
            continue
        needed = involved(item) if pending else set()
        mine = [start for start in pending if involved(start) & needed]
        pending = [start for start in pending if start not in mine]
        found.append([*mine, item])
    return [*found, *([item] for item in pending)]


def involved(item: Any) -> set[Buffer]:
    """The arrays and variables that an item reads or writes."""
    members = list(statements(item))
    found = {access.buffer.memory for member in members for access in member.accesses}
    found |= {member.target.memory for member in members if member.target is not None}
    return found | {b.finishes_in.memory for b in found if b.finishes_in is not None}
