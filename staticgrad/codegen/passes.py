"""What each pass did: the rules that fired, and what the graph or program costs after it."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import islice
from typing import Any, TypeAlias

import sympy

from staticgrad.codegen.compiler import programs
from staticgrad.codegen.cost import flops, kernels, traffic, workspace
from staticgrad.codegen.listing import program_text, text_of
from staticgrad.codegen.module import Generated
from staticgrad.codegen.program import (
    Blocked,
    Call,
    Invocation,
    Loop,
    Peeled,
    Program,
    Rolled,
    RoutineCall,
    Shared,
    statements,
)
from staticgrad.codegen.spans import Span
from staticgrad.codegen.stages import History, Ran, most_often, primal_part
from staticgrad.graph.dims import Dim, concrete, dimension, format_dim, symbols_of
from staticgrad.rewrite.graph import Graph

#: nodes, kernels, operations, bytes moved, bytes of workspace
Counts: TypeAlias = tuple[int, int, Dim, Dim, Dim]
#: what is printed of the rules that fired
WIDEST = 48
COLUMNS = ("pass", "what fired", "nodes", "kernels", "operations", "bytes moved", "workspace")


@dataclass(frozen=True)
class PassReport:
    """What a pass did. Counts are of one call, and integers or expressions of the named dimensions;
    ``staticgrad.codegen.cost`` says what is counted.

    Attributes:
        name: the pass, as ``STATICGRAD_SHOW`` takes it. description: one sentence.
        fired: how often each rule was applied, or what was made.
        nodes: nodes of the graph; of a program, statements and calls.
        kernels: loop nests and calls. flops: floating-point operations.
        bytes: memory that kernels read and write. workspace: bytes of intermediates.
        seconds: how long the pass took when the function was made; no part of what is compared.
    """

    name: str
    description: str
    fired: dict[str, int]
    nodes: int
    kernels: int
    flops: Dim
    bytes: Dim
    workspace: Dim
    seconds: float = field(default=0.0, compare=False)

    @property
    def counts(self) -> Counts:
        """All counts: ``nodes``, ``kernels``, ``flops``, ``bytes``, ``workspace``."""
        return self.nodes, self.kernels, self.flops, self.bytes, self.workspace


class Passes(Sequence[PassReport]):
    """The reports of all passes in order, from the declared graph to the generated module. They are
    told apart by number or by name: ``passes["fuse"]``, the last one of that name.

    Printed, or shown in a notebook, they are a table; counts in it have three digits, and passes that
    had nothing to do stand below it.
    """

    def __init__(
        self, name: str, reports: Sequence[PassReport], dimensions: Iterable[str] = ()
    ) -> None:
        self.name = name
        self.reports = tuple(reports)
        #: the named dimensions of the function's inputs
        self.dimensions = tuple(dimensions)

    def __len__(self) -> int:
        return len(self.reports)

    def __iter__(self) -> Iterator[PassReport]:
        return iter(self.reports)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passes) and self.reports == other.reports

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, key: Any) -> Any:
        """A report by number or name; a slice gives passes. Raises KeyError for an unknown name."""
        if isinstance(key, slice):
            return Passes(self.name, self.reports[key], self.dimensions)
        if not isinstance(key, str):
            return self.reports[key]
        found = [report for report in self.reports if report.name == key]
        if not found:
            names = ", ".join(dict.fromkeys(report.name for report in self.reports))
            raise KeyError(f"{self.name} has no pass {key!r}; there are {names}")
        return found[-1]

    def at(self, **sizes: int) -> Passes:
        """The same with numbers, for given sizes of the named dimensions, as ``at(batch=64)``.

        Raises TypeError where a size is missing, or there is no such dimension.
        """
        needed = {str(symbol) for r in self.reports for symbol in symbols_of(r.counts)}
        missing, unknown = sorted(needed - sizes.keys()), sorted(sizes.keys() - {*self.dimensions})
        if missing:
            raise TypeError(
                f"{self.name}: the counts depend on the size of {', '.join(missing)}: "
                f"pass {', '.join(f'{name}=' for name in missing)}"
            )
        if unknown:
            known = f"it has {', '.join(self.dimensions)}" if self.dimensions else "it has none"
            raise TypeError(f"{self.name} has no dimension {', '.join(unknown)}; {known}")
        values = {dimension(name): size for name, size in sizes.items()}
        return Passes(
            self.name,
            [
                replace(
                    report,
                    flops=concrete(report.flops, values),
                    bytes=concrete(report.bytes, values),
                    workspace=concrete(report.workspace, values),
                )
                for report in self.reports
            ],
        )

    def rows(self) -> tuple[list[tuple[str, ...]], list[str]]:
        """The lines of the table, and the names of passes that never had anything to do."""
        rows: list[tuple[str, ...]] = []
        idle: list[str] = []
        before: PassReport | None = None
        for report in self.reports:
            if before is not None and not report.fired and report.counts == before.counts:
                idle.append(report.name)
                continue
            before = report
            numbers = (str(report.nodes), str(report.kernels))
            sizes = (short(report.flops), short(report.bytes), short(report.workspace))
            rows.append((report.name, told(report.fired), *numbers, *sizes))
        busy = {row[0] for row in rows}
        return rows, [name for name in dict.fromkeys(idle) if name not in busy]

    def __str__(self) -> str:
        rows, idle = self.rows()
        table = [COLUMNS, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = []
        for row in table:
            cells = [f"{text:<{width}}" for text, width in zip(row[:2], widths[:2], strict=True)]
            cells += [f"{text:>{width}}" for text, width in zip(row[2:], widths[2:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        lines.insert(1, "-" * max(map(len, lines)))
        if idle:
            lines.append(f"nothing to do: {', '.join(idle)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows, idle = self.rows()
        described = {report.name: report.description for report in self.reports}
        head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
        body = "".join(
            f'<tr><th scope="row" title="{html.escape(described[row[0]], quote=True)}">{row[0]}</th>'
            + "".join(f"<td>{html.escape(text)}</td>" for text in row[1:])
            + "</tr>"
            for row in rows
        )
        below = f"<p>nothing to do: {', '.join(idle)}</p>" if idle else ""
        caption = f"<caption>Passes of {html.escape(self.name)}</caption>"
        return (
            f'<table class="sg-passes">{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
            f"</table>{below}"
        )


def told(fired: dict[str, int]) -> str:
    """The rules that fired, as many as there is room for."""
    texts = [f"{name} x{number}" if number > 1 else name for name, number in fired.items()]
    text, count = "", 0
    for piece in texts:
        longer = f"{text}, {piece}" if text else piece
        if text and len(longer) > WIDEST:
            break
        text, count = longer, count + 1
    return text if count == len(texts) else f"{text}, ..."


def short(value: Dim) -> str:
    """A count in three digits; what is rounded up to cache lines is told without that."""
    if isinstance(value, int):
        return abbreviated(value)
    plain = value.replace(sympy.floor, lambda inner: inner)
    terms = sympy.expand(plain).as_coefficients_dict()
    ordered = sorted(terms.items(), key=lambda term: (-sympy.Poly(term[0], *value.free_symbols)
                     .total_degree() if term[0].is_polynomial() else 0, str(term[0])))  # fmt: skip
    texts = []
    for monomial, number in ordered:
        if monomial == 1:
            texts.append(abbreviated(float(number)))
        elif number == 1:
            texts.append(format_dim(monomial))
        else:
            texts.append(f"{abbreviated(float(number))} {format_dim(monomial)}")
    return " + ".join(texts)


def abbreviated(number: float) -> str:
    """Three digits: 9.55M for 9,550,400; 812 for 812."""
    for power, letter in ((9, "G"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power:
            scaled = number / 10**power
            return f"{scaled:.{max(0, 2 - len(str(int(abs(scaled)))) + 1)}f}{letter}"
    return f"{number:.0f}" if number == int(number) else f"{number:.3g}"


# ---- making them -------------------------------------------------------------------------------------


class Stage:
    """What there is after a pass: a graph, a loop program or the generated module.

    Attributes:
        report: what the pass did. name: its name.
        state: a Graph, from ``schedule`` on a Program, at the end the Generated module. Programs are
            made anew, each for itself, when they are first asked for; their statements compute the
            nodes of the last graph, as the generated module's do.
    """

    def __init__(self, report: PassReport, make: Callable[[], Graph | Program | Generated]) -> None:
        self.report = report
        self.name = report.name
        self._make = make

    @cached_property
    def state(self) -> Graph | Program | Generated:
        return self._make()

    @cached_property
    def _written(self) -> tuple[str, Sequence[Span]]:
        if isinstance(self.state, Program):
            return program_text(self.state)
        if isinstance(self.state, Generated):
            return self.state.source, self.state.spans
        return text_of(self.state), ()

    @property
    def text(self) -> str:
        """The stage as text: a graph with a line per node, a program as loops, the module's source."""
        return self._written[0]

    @property
    def spans(self) -> Sequence[Span]:
        """Which lines of the text compute which nodes; none for a graph."""
        return self._written[1]

    def __repr__(self) -> str:
        return f"<stage {self.name}: {self.report.description}>"


def stages(generated: Generated) -> list[Stage]:
    """What there is after each pass, from the declared graph to the generated module."""
    history = known(generated)
    graphs = [primal_part(history.declared), history.declared]
    graphs += [ran.graph for ran in history.ran if ran.graph is not None]
    found = []
    for number, report in enumerate(reports(generated)):
        made = number - len(graphs)
        make: Callable[[], Any] = partial(remade, generated, made)
        if made < 0:
            make = partial(graphs.__getitem__, number)
        elif report.name == history.ran[-1].name:
            make = partial(lambda: generated)
        found.append(Stage(report, make))
    return found


def remade(generated: Generated, number: int) -> Program:
    """The program after ``schedule`` and so many loop passes."""
    return next(islice(programs(generated), number, None))


def reports(generated: Generated) -> Passes:
    """What each pass on the way to a generated module did, counted now."""
    history = known(generated)
    primal = primal_part(history.declared)
    start = Ran("declared", "The graph as it was declared.", {}, 0.0, primal)
    full = Ran("derived", "Gradients and updates are added.", derived(history), 0.0,
               history.declared)  # fmt: skip
    anew = programs(generated)
    found: list[PassReport] = []
    graph: Graph | None = None
    before: Counter[str] = Counter()
    for ran in (start, full, *history.ran[:-1]):
        if ran.graph is not None:
            same = graph is not None and len(graph.roots) == len(ran.graph.roots) and all(
                one is other for one, other in zip(graph.roots, ran.graph.roots, strict=True)
            )  # fmt: skip
            counts = found[-1].counts if same else counted(ran.graph)
            graph = ran.graph
            found.append(report(ran, counts))
            continue
        program = next(anew)
        made = features(program)
        changed = {name: made[name] - before[name] for name in made if made[name] > before[name]}
        if ran.name == "fuse":
            changed["loops merged"] = before["loops"] - made["loops"]
        changed.pop("loops", None)
        before = made
        fired = {name: number for name, number in changed.items() if number}
        found.append(report(replace(ran, fired=fired), counted(program)))
    last = replace(history.ran[-1], fired={"lines": generated.source.count("\n")})
    found.append(report(last, found[-1].counts))
    shapes = (buffer.shape for buffer in generated.program.inputs)
    dimensions = {str(symbol) for shape in shapes for symbol in symbols_of(shape)}
    return Passes(generated.name, found, sorted(dimensions))


def known(generated: Generated) -> History:
    assert generated.history is not None
    return generated.history


def report(ran: Ran, counts: Counts) -> PassReport:
    return PassReport(ran.name, ran.description, ran.fired, *counts, seconds=ran.seconds)


def counted(state: Graph | Program) -> Counts:
    """Nodes, kernels, operations, bytes moved, bytes of workspace."""
    nodes = len(state.nodes()) if isinstance(state, Graph) else len(list(members(state)))
    return nodes, kernels(state), flops(state), traffic(state), workspace(state)


def derived(history: History) -> dict[str, int]:
    """The pullbacks that derivation went through, by the op that they belong to."""
    primals = {node.adjoint_of for node in history.declared.nodes()} - {None}
    return most_often(f"pullback of {p.op.name}" for p in primals if p is not None and p.inputs)


def members(program: Program) -> Iterator[Any]:
    """All statements and calls."""
    for item in program.items:
        yield from statements(item)


def features(program: Program) -> Counter[str]:
    """What passes make of a program, counted."""
    found: Counter[str] = Counter()
    found["loops"] = kernels(program)
    found["calls of kernels"] = sum(isinstance(m, Call | RoutineCall) for m in members(program))
    for buffer in program.buffers:
        if buffer.kind != "workspace":
            continue
        found["variables in place of arrays"] += bool(buffer.shape) and buffer.is_local
        part = 0 < len(buffer.axes) < len(buffer.shape)
        found["arrays of which a part is stored"] += part
    found["values computed again"] = len(program.repeated)
    found["scalars cast once"] = sum(b.cast_to is not None for b in program.buffers)
    found["functions"] = len(program.routines)
    found["places"] = len(program.places)
    found["arrays in them"] = sum(len(place.buffers) for place in program.places)
    waiting = list(program.items)
    while waiting:
        item = waiting.pop()
        if isinstance(item, Blocked):
            found["blocks of rows"] += 1
            found["blocks of rows for threads"] += item.parts is not None
            waiting += item.items
        elif isinstance(item, Rolled):
            found["loops over layers"] += 1
            found["layers in them"] += len(item.turns)
            for turn in item.turns:
                waiting += turn
        elif isinstance(item, Loop):
            waiting += item.body
        elif isinstance(item, Peeled):
            found["loops taken apart"] += 1
            waiting.append(item.loop)
        elif isinstance(item, Invocation):
            found["calls of functions"] += 1
        elif isinstance(item, Shared):
            found["loops for threads"] += 1
    return found
