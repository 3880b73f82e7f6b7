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

from staticgrad.graph.dims import Dim, Shape
from staticgrad.graph.node import Node
from staticgrad.ops.lowering import Index, Scalar

#: what the local accumulator of a reduction is called where its result has a place in memory
ACCUMULATORS = {"sum": "total", "prod": "product", "max": "largest", "min": "smallest"}


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
    #: for a scalar parameter that the function only reads: it is loaded once, at the beginning
    by_value: bool = False
    #: whether another buffer views this one's memory, which must then exist as a whole
    viewed: bool = False

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
    accesses: list[Access] = field(default_factory=list)
    check: int = 0

    def __post_init__(self) -> None:
        self.own = tuple(sympy.Dummy(f"i{axis}", integer=True) for axis in range(len(self.domain)))


@dataclass(eq=False)
class Call:
    """A library call: a matrix product into ``target``."""

    node: Node
    target: Buffer
    operands: tuple[Buffer, ...]
    transpose: tuple[bool, bool]
    section: str
    accesses: list[Access] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.accesses = [Access(buffer, None, False) for buffer in self.operands]
        self.accesses.append(Access(self.target, None, True))


@dataclass(eq=False)
class Loop:
    """``for variable in range(extent)``: items run in order at each step."""

    variable: sympy.Symbol
    extent: Dim
    body: list[Any] = field(default_factory=list)


def statements(items: list[Any] | Any) -> Iterator[Any]:
    """All statements and calls below ``items``, in order."""
    for item in items if isinstance(items, list) else [items]:
        if isinstance(item, Loop):
            yield from statements(item.body)
        else:
            yield item


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
    names: dict[Node, str]
    #: the workspace's places in order, and its bytes in Python syntax over the named dimensions
    places: list[Any] = field(default_factory=list)
    workspace: str = "0"
