"""Where loops run from and to, and what that says about indices.

Ends of a range may be named dimensions, of which it is not known which one is larger; all of its lower
bounds hold, and all of its upper ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy

from staticgrad.graph.dims import Dim, canonical


@dataclass(frozen=True)
class Range:
    """The steps from the largest of ``starts`` on, before the smallest of ``stops``."""

    starts: tuple[Dim, ...]
    stops: tuple[Dim, ...]

    @property
    def start(self) -> Dim:
        return self.starts[0] if len(self.starts) == 1 else canonical(sympy.Max(*self.starts))

    @property
    def stop(self) -> Dim:
        return self.stops[0] if len(self.stops) == 1 else canonical(sympy.Min(*self.stops))

    @property
    def count(self) -> Dim:
        """How many steps they are where named dimensions are not close to 0."""
        # a bound that depends on a dimension then lies above a number
        start = max(self.starts, key=lambda start: not isinstance(start, int))
        stop = min(self.stops, key=lambda stop: not isinstance(stop, int))
        return canonical(stop - start)

    @property
    def is_empty(self) -> bool:
        """Whether it is known to be."""
        return any(
            never_negative(start - stop, {}) for start in self.starts for stop in self.stops
        )

    @property
    def is_unit(self) -> bool:
        """Whether it is known to be of one step."""
        return canonical(self.stop - self.start) == 1

    def within(self, starts: tuple[Dim, ...], stops: tuple[Dim, ...]) -> Range:
        """The steps that lie in another range, too."""
        return Range(tightest(*self.starts, *starts), tightest(*self.stops, *stops, upper=True))


def tightest(*ends: Dim, upper: bool = False) -> tuple[Dim, ...]:
    """The bounds that no other one is known to imply."""
    kept: list[Dim] = []
    for end in ends:
        sign = -1 if upper else 1
        if any(never_negative(sign * (other - end), {}) for other in kept):
            continue
        kept = [other for other in kept if not never_negative(sign * (end - other), {})]
        kept.append(end)
    return tuple(kept)


def never_negative(expression: Any, ranges: Mapping[sympy.Symbol, Range]) -> bool:
    """Whether an expression of loop variables, at most linear in each, is known to be 0 or more
    wherever they run."""
    expression = canonical(expression)
    if isinstance(expression, int):
        return expression >= 0
    for symbol in expression.free_symbols & ranges.keys():
        factor = expression.coeff(symbol)
        rest = sympy.expand(expression - factor * symbol)
        if not factor.is_Integer or symbol in rest.free_symbols:
            return False
        steps = ranges[symbol]
        ends = steps.starts if factor > 0 else [stop - 1 for stop in steps.stops]
        return any(never_negative(rest + factor * end, ranges) for end in ends)
    return bool(expression.is_nonnegative)
