"""Where the time of a compiled function goes: kernel by kernel, under the user's names."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from staticgrad.graph.origin import Origin
from staticgrad.runtime import cache
from staticgrad.runtime.instrument import Kernel, instrumented

if TYPE_CHECKING:
    from staticgrad.runtime.function import CompiledFunction

#: seconds of a round; a short one is less likely to be disturbed
ROUND = 0.003
#: rows that take a smaller part of the time are told together
SHOWN = 0.005
#: how much of a formula a row shows
WIDTH = 64

Order = Literal["time", "source"]


@dataclass(frozen=True)
class ProfileRow:
    """A kernel and its time.

    Attributes:
        seconds: per call, all turns of a loop together. share: of the sum of all rows.
        section: "forward", "backward", "update", "check", or "start" for what comes before.
        first, last: its lines in ``source``. formula: what it computes. names: of what it stores.
        origin: the user's line, or None.
        flops, bytes: what the cost model counts for the sizes of the call.
    """

    seconds: float
    share: float
    section: str
    first: int
    last: int
    formula: str
    names: tuple[str, ...]
    origin: Origin | None
    flops: int
    bytes: int

    @property
    def flops_per_second(self) -> float:
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.bytes / self.seconds if self.seconds else 0.0

    @property
    def lines(self) -> str:
        """The lines in the source as they are written."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


@dataclass(frozen=True, repr=False)
class Profile:
    """The time of each kernel of a compiled function; a table when it is printed.

    Attributes:
        name: of the function. rows: in the order of the source.
        seconds: of a call of the unmodified function.
        clocked_seconds: of a call with clocks in between, which the rows are parts of.
        clock_seconds: what one clock takes; a row has one for each turn of a loop around it.
    """

    name: str
    rows: tuple[ProfileRow, ...]
    seconds: float
    clocked_seconds: float
    clock_seconds: float

    def sorted(self, by: Order = "time") -> list[ProfileRow]:
        """The rows, the longest first, or in the order of the ``source``."""
        if by not in ("time", "source"):
            raise ValueError(f'rows are sorted by "time" or "source", not {by!r}')
        return list(self.rows) if by == "source" else sorted(self.rows, key=lambda r: -r.seconds)

    def table(self, by: Order = "time", least: float = SHOWN) -> str:
        """The rows as text; those with less than a share of ``least`` in one line."""
        rows = [row for row in self.sorted(by) if row.share >= least]
        cells = [HEAD, *map(_cells, rows)]
        widths = [max(len(line[k]) for line in cells) for k in range(len(HEAD))]
        lines = [self._headline(), ""]
        for line in cells:
            numbers = "  ".join(cell.rjust(widths[k]) for k, cell in enumerate(line[:NUMBERS]))
            words = "  ".join(
                cell.ljust(width) for cell, width in zip(line[NUMBERS:], widths[NUMBERS:], strict=True)
            )
            lines.append(f"{numbers}  {words}".rstrip())
        rest = [row for row in self.rows if row.share < least]
        if rest:
            seconds = sum(row.seconds for row in rest)
            share = sum(row.share for row in rest)
            lines.append(f"{duration(seconds)} ({share:.1%}) in {len(rest)} others")
        return "\n".join(lines)

    def _headline(self) -> str:
        more = self.clocked_seconds / self.seconds - 1
        return (
            f"{self.name}: {duration(self.seconds)} per call; {duration(self.clocked_seconds)} with "
            f"clocks of {duration(self.clock_seconds)} between the kernels ({more:+.0%}), of which the "
            f"rows tell {duration(sum(row.seconds for row in self.rows))}"
        )

    def __repr__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        rows = [
            "<tr>" + "".join(
                f'<td style="text-align:{"right" if k < NUMBERS else "left"}">{html.escape(cell)}</td>'
                for k, cell in enumerate(_cells(row))
            ) + "</tr>"
            for row in self.sorted()
        ]  # fmt: skip
        head = "".join(f"<th>{cell}</th>" for cell in HEAD)
        return (
            f"<table><caption>{html.escape(self._headline())}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        )


HEAD = ["time", "share", "GFLOP/s", "GB/s", "lines", "section", "computes", "from"]
#: how many of the columns are numbers
NUMBERS = 5


def _cells(row: ProfileRow) -> list[str]:
    formula = row.formula if len(row.formula) <= WIDTH else f"{row.formula[: WIDTH - 3]}..."
    return [
        duration(row.seconds), f"{row.share:.1%}", rate(row.flops_per_second),
        rate(row.bytes_per_second), row.lines, row.section, formula, str(row.origin or ""),
    ]  # fmt: skip


def rate(per_second: float) -> str:
    """Billions per second, in three digits; nothing for nothing."""
    billions = per_second / 1e9
    return "" if not billions else f"{billions:.0f}" if billions >= 100 else f"{billions:.3g}"


def duration(seconds: float) -> str:
    """A time in a unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}" if seconds < 1000 * size else f"{seconds:.0f} s"
    return f"{seconds * 1e9:.0f} ns"


def profile(function: CompiledFunction, arguments: Sequence[Any], repeat: int) -> Profile:
    """Time the kernels of a function; see ``CompiledFunction.profile``."""
    if isinstance(repeat, bool) or not isinstance(repeat, (int, np.integer)) or repeat < 1:
        raise ValueError(f"repeat must be a positive integer, got {repeat!r}")
    arrays = function.prepare(function.with_scalars(tuple(arguments)))
    source, kernels = instrumented(function._generated)
    laps = np.zeros(len(kernels) + 2, np.int64)
    with function.unchanged() as restore:
        function(*arrays)  # which makes the workspace large enough, or says what is wrong
        clocked = _load(function, source)
        results, others = function.results(arrays), function.results(arrays)
        plain = function.handed(arrays, results)
        extra = [*function.handed(arrays, others), laps]
        restore()
        _checked(function._entry(*plain))
        after = [array.copy() for array in function._parameters]
        restore()
        _checked(clocked(*extra))
        for one, other in zip(
            [*results, *after], [*others, *function._parameters], strict=True
        ):
            if not np.allclose(one, other, rtol=1e-3, atol=1e-6, equal_nan=True):
                raise RuntimeError(
                    f"{function.name}: with clocks between its kernels it computes something else"
                )
        seconds, clocked_seconds, best, tick = _measured(
            lambda: function._entry(*plain), lambda: clocked(*extra), laps, int(repeat), restore
        )
    sizes = function.sizes(arrays)
    *taken, clock = (best[:-1] * tick).tolist()
    whole = sum(taken) or 1.0
    rows = tuple(
        _row(kernel, t, t / whole, *kernel.cost(sizes))
        for kernel, t in zip(kernels, taken, strict=True)
    )
    return Profile(function.name, rows, seconds, clocked_seconds, clock)


def _row(kernel: Kernel, seconds: float, share: float, flops: int, moved: int) -> ProfileRow:
    return ProfileRow(
        seconds, share, kernel.section, kernel.first, kernel.last, kernel.formula, kernel.names,
        kernel.origin, flops, moved,
    )  # fmt: skip


def _load(function: CompiledFunction, source: str) -> Any:
    from staticgrad.runtime.function import array_type, signature

    types = (*signature(function._generated), array_type(np.int64, 1))
    name = f"{function.name}_profile"
    return cache.load(source, name, function.name, types).dispatcher


def _checked(status: int) -> None:
    if status:
        raise RuntimeError(f"the call failed with status {status}")


def _measured(
    plain: Callable[[], int], clocked: Callable[[], int], laps: np.ndarray, repeat: int,
    restore: Callable[[], None],
) -> tuple[float, float, np.ndarray, float]:  # fmt: skip
    """Seconds of a call without and with clocks, ticks per call of each kernel in the quickest round,
    and seconds per tick."""
    calls = max(1, int(ROUND / max(_seconds(plain, 2), 1e-9)))
    fastest = quickest = np.inf
    best = np.zeros(len(laps))
    begin = time.perf_counter()
    clocked()
    first = int(laps[-1])
    for _ in range(repeat):
        restore()
        fastest = min(fastest, _seconds(plain, calls))
        restore()
        laps[:-1] = 0
        seconds = _seconds(clocked, calls)
        if seconds < quickest:
            quickest, best = seconds, laps / calls
    end = time.perf_counter()
    clocked()
    return fastest, quickest, best, (end - begin) / (int(laps[-1]) - first)


def _seconds(call: Callable[[], int], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


__all__ = ["Profile", "ProfileRow", "profile"]
