"""Running passes one by one: what each did is kept, and what environment variables ask for is done.

``STATICGRAD_SHOW`` holds names of stages, with commas between them, or ``all``: what the graph or the
program is after each of them is printed to standard error. ``STATICGRAD_VERIFY=1`` checks after each
what must hold.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from staticgrad.codegen.program import Program
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological, users
from staticgrad.rewrite.graph import Graph, effects_of
from staticgrad.rewrite.pipeline import verify
from staticgrad.rewrite.rules import FIRED


@dataclass(frozen=True)
class Ran:
    """A pass that ran: the rules that fired and how often, and the graph that came out, if it was one.
    Programs are changed in place, and are not kept."""

    name: str
    description: str
    fired: dict[str, int]
    seconds: float
    graph: Graph | None = None


@dataclass(frozen=True, eq=False)
class History:
    """What led to a generated module: the graph as it was declared with its gradients, and each pass.
    With the names it can be run through again from where the graph was lowered."""

    declared: Graph
    ran: list[Ran] = field(default_factory=list)

    @property
    def lowered(self) -> Graph:
        """The graph after the last graph pass."""
        return next(ran.graph for ran in reversed(self.ran) if ran.graph is not None)


class Runner:
    """Runs passes, each a function from a graph or program to the next.

    Args:
        graph: what it begins with.
        names: of all stages, for messages.

    Raises ValueError where ``STATICGRAD_SHOW`` names a stage that there is not.
    """

    def __init__(self, graph: Graph, names: Sequence[str]) -> None:
        self.history = History(graph)
        self.shown = shown_stages(names)
        self.checking = os.environ.get("STATICGRAD_VERIFY", "") not in ("", "0")
        if "declared" in self.shown:
            self._show("declared", "The graph as it was declared.", primal_part(graph))
        if "derived" in self.shown:
            self._show("derived", "With gradients and updates.", graph)

    def __call__(self, step: Callable[..., Any], state: Any, *rest: Any) -> Any:
        """Run a pass; ``rest`` are its further arguments."""
        fired: Counter[str] = Counter()
        token = FIRED.set(fired)
        start = perf_counter()
        try:
            result = step(state, *rest)
        finally:
            FIRED.reset(token)
        seconds = perf_counter() - start
        name, description = step.__name__, summary(step)
        graph = result if isinstance(result, Graph) else None
        self.history.ran.append(Ran(name, description, most_often(fired.elements()), seconds, graph))
        if self.checking:
            try:
                check(state, result)
            except RuntimeError as error:
                raise RuntimeError(f"after the pass {name}: {error}") from None
        if name in self.shown:
            self._show(name, description, result)
        return result

    def _show(self, name: str, description: str, state: Any) -> None:
        from staticgrad.codegen.listing import text_of

        print(f"==== {name}: {description}\n{text_of(state)}\n", file=sys.stderr)


def check(before: Any, after: Any) -> None:
    """Check what must hold after a pass. Raises RuntimeError."""
    from staticgrad.codegen.verify import verify_program

    if isinstance(after, Graph):
        verify(after, before)
    elif isinstance(after, Program):
        verify_program(after)


def shown_stages(names: Sequence[str]) -> frozenset[str]:
    """The stages that ``STATICGRAD_SHOW`` asks for. Raises ValueError for others than ``names``."""
    asked = [name.strip() for name in os.environ.get("STATICGRAD_SHOW", "").split(",")]
    found = {name for name in asked if name}
    if "all" in found:
        return frozenset(names)
    unknown = sorted(found.difference(names))
    if unknown:
        raise ValueError(
            f"STATICGRAD_SHOW={os.environ['STATICGRAD_SHOW']}: no stage is called "
            f"{', '.join(unknown)}; there are {', '.join(names)}, and all"
        )
    return frozenset(found)


def most_often(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, the most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))


def summary(step: Callable[..., Any]) -> str:
    """The first sentence of a pass's docstring."""
    words = " ".join((step.__doc__ or "").split()).replace("``", "")
    return words.partition(". ")[0].rstrip(".") + "."


def primal_part(graph: Graph) -> Graph:
    """What was declared before any gradient was asked for: the results that no adjoint leads to, and
    what else adjoints belong to."""
    nodes = graph.nodes()
    after: set[Node] = set()
    for node in nodes:
        if node.adjoint_of is not None or any(source in after for source in node.inputs):
            after.add(node)
    results = [node for node in graph.outputs if node not in after]
    primals = [node.adjoint_of.declared for node in nodes if node.adjoint_of is not None]
    order = topological([*results, *(p for p in primals if p.adjoint_of is None)])
    takers = users(order)
    outputs = [node for node in order if node.inputs and not takers[node]]
    outputs = list(dict.fromkeys([*results, *outputs]))
    stored = effects_of(outputs)
    return Graph(graph.inputs, tuple(outputs), tuple(u for u in graph.updates if u[0] in stored))
