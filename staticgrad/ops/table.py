"""The op table: every op, entered where it is declared, with samples that tests are drawn from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from staticgrad.graph.methods import FUNCTIONS
from staticgrad.graph.node import Op

OPS: dict[str, Op] = {}
SAMPLES: dict[str, list[Sample]] = {}


@dataclass(frozen=True)
class Sample:
    """One way to call a public function, for tests.

    ``call`` takes the differentiable inputs, as nodes or arrays of ``shapes``, drawn uniformly from
    ``domain`` (one interval for all, or one for each).
    """

    name: str
    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    domain: tuple[float, float] | tuple[tuple[float, float], ...] = (-2.0, 2.0)
    differentiable: bool = True
    notes: Mapping[str, Any] = field(default_factory=dict)

    def interval(self, position: int) -> tuple[float, float]:
        first = self.domain[0]
        return self.domain[position] if isinstance(first, tuple) else self.domain  # type: ignore


def register(op: Op) -> Op:
    """Enter an op in the table; names are unique."""
    if op.name in OPS:
        raise ValueError(f"op {op.name} is declared twice")
    OPS[op.name] = op
    return op


def sample(
    name: str,
    call: Callable[..., Any],
    *shapes: tuple[int, ...],
    domain: Any = (-2.0, 2.0),
    differentiable: bool = True,
    **notes: Any,
) -> None:
    """Enter a sample of the op or function ``name``."""
    SAMPLES.setdefault(name, []).append(
        Sample(name, call, shapes, domain, differentiable, notes)
    )


def method(name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a public function reachable from the operators and methods of nodes."""

    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[name or function.__name__] = function
        return function

    return enter
