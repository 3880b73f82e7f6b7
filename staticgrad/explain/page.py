"""``step.explain("out.html")``: a compiled function as one page that needs nothing but a browser."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from staticgrad.codegen.passes import known
from staticgrad.explain.cards import Cards, gradients_of
from staticgrad.explain.charts import bytes_text, memory_section, race_section
from staticgrad.explain.graph import drawing
from staticgrad.explain.measure import (
    Check,
    Race,
    check_gradients,
    example_inputs,
    race,
    sizes_text,
)
from staticgrad.explain.panes import Links, code_pane, equations_pane, source_pane
from staticgrad.explain.stages import Stage, journey
from staticgrad.explain.values import Values
from staticgrad.graph.dims import concrete, symbols_of
from staticgrad.graph.leaves import Parameter, sizes_from
from staticgrad.graph.node import Node
from staticgrad.graph.traverse import topological
from staticgrad.measure.model import Model
from staticgrad.runtime.function import CompiledFunction
from staticgrad.show.highlight import STYLE
from staticgrad.training.step import TrainStep
from staticgrad.version import __version__

LEAD = (
    "Each card follows one gradient from the rule of the operation that uses it to the formula that is "
    "computed, and holds it against finite differences of the loss. Names in colour select."
)


class Page:
    """Gathers what the page holds."""

    def __init__(self, step: CompiledFunction | TrainStep, inputs: Sequence[Any]) -> None:
        self.model = Model.of(step)
        if isinstance(step, TrainStep) and step.accumulation_steps > 1:
            # a call in so many updates parameters: that one is told of
            self.model = Model.of(step.function)
        self.function = function = self.model.function
        self.graph = function.graph
        self.generated = function.generated
        self.stages = journey(self.generated, function.passes)
        self.gradients = gradients_of(self.graph.nodes())
        self.arrays = (
            function.prepare(function.with_scalars(tuple(inputs)))
            if inputs
            else tuple(example_inputs(self.graph))
        )
        self.sizes = sizes_from(self.graph.inputs, [array.shape for array in self.arrays])
        self.values = Values(self.generated.program.names)
        for stage in self.stages:
            self.values.enter(stage.nodes, stage.late, stage.renewed)
        program = self.generated.program
        self.drawings = [drawing(stage, program, self.values) for stage in self.stages]
        drawn = {node[0] for one in self.drawings for node in one["nodes"]}
        self.links = Links(self.values, drawn)

    def html(self, measure: bool) -> str:
        """The whole page."""
        code, kernels = code_pane(self.generated, self.links)
        checks, timing = self._measured() if measure else ({}, "the page was made with measure=False")
        cards, rules = self._cards(checks, measure)
        stages = self.stages
        parts = {
            "title": html.escape(f"{self.function.name} explained"),
            "style": asset("page.css") + STYLE,
            "name": html.escape(self.function.name),
            "summary": html.escape(self._summary()),
            "ticks": "".join(f'<button type="button">{stage.name}</button>' for stage in stages),
            "source": source_pane(self.links),
            "equations": equations_pane(self.generated, self.links, stages[-1].renewed),
            "code": code,
            "gradients-lead": LEAD if self.gradients else "This function computes no gradients.",
            "cards": cards + rules,
            "passes": self.passes(),
            "memory": memory_section(self.generated, self.sizes, self.links, self._where()),
            "race": race_section(timing, f"Measured on this machine{self._where()}."),
            "footer": f"Made by staticgrad {__version__}. This file needs no network.",
            "data": script_json(self._data(kernels)),
            "script": asset("graph.js") + asset("page.js"),
        }
        return re.sub(r"\{\{([a-z-]+)\}\}", lambda match: parts[match[1]], asset("page.html"))

    def passes(self) -> str:
        """The table of all passes, in numbers."""
        sizes = {str(symbol): size for symbol, size in self.sizes.items()}
        known = {str(s) for report in self.function.passes for s in symbols_of(report.counts)}
        numbers = self.function.passes.at(**{name: sizes[name] for name in known})
        return numbers._repr_html_()

    def _summary(self) -> str:
        outputs = ", ".join(buffer.name for buffer in self.generated.program.outputs)
        nodes = [buffer.node for buffer in self.generated.program.parameters]
        count = sum(n.value.size for n in nodes if isinstance(n, Parameter) and n.requires_grad)
        text = f"computes {outputs}" if outputs else "updates parameters"
        return f"{text} · {count:,} parameters" if count else text

    def _where(self) -> str:
        return f", with {sizes_text(self.sizes)}" if self.sizes else ""

    def _measured(self) -> tuple[dict[Node, Check], Race | str]:
        given = dict(zip(self.graph.inputs, self.arrays, strict=True))
        derived = {g.leaf: (g.adjoint, g.loss) for g in self.gradients if g.loss is not None}
        checks = check_gradients(derived, given, self.sizes)
        start = self.function.compile_seconds + sum(ran.seconds for ran in known(self.generated).ran)
        try:
            return checks, race(self.model, self.arrays, start)
        except Exception as error:  # whatever a user's own pullback may raise in eager mode
            return checks, f"eager mode raised {type(error).__name__}: {error}"

    def _cards(self, checks: Mapping[Node, Check], measured: bool) -> tuple[str, str]:
        last = self.stages[-1]
        final = {self.values[node].number: node for node in last.nodes}
        named = {node: buffer.name for node, buffer in self.generated.program.readers.items()}
        losses = [gradient.loss for gradient in self.gradients if gradient.loss is not None]
        nodes = topological([*self.graph.roots, *losses])
        cards = Cards(nodes, self.links, final, named)
        text = "".join(
            cards.card(number, gradient, checks.get(gradient.leaf), measured)
            for number, gradient in enumerate(self.gradients)
        )
        return text, cards.templates()

    def _data(self, kernels: list[list[int]]) -> dict[str, Any]:
        for drawn, stage in zip(self.drawings, self.stages, strict=True):
            drawn["summary"] = self._costs(stage)
        unused = ["", 0, -1, -1, "", "", ""]
        values = [
            [value.name, value.lane, value.concept, value.target, value.type, value.op,
             str(value.origin or "")] if value.number in self.links.drawn else unused
            for value in self.values.all
        ]  # fmt: skip
        return {"values": values, "stages": self.drawings, "kernels": kernels}

    def _costs(self, stage: Stage) -> str:
        _, kernels, flops, moved, kept = (int(concrete(n, self.sizes)) for n in stage.report.counts)
        return (
            f"{len(stage.nodes)} nodes · {kernels} kernels · {count_text(flops)}FLOP · "
            f"{bytes_text(moved)} moved · {bytes_text(kept)} kept"
        )


def count_text(amount: float) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g} {unit}"
    return f"{amount:.0f} "


def asset(name: str) -> str:
    return resources.files("staticgrad.explain").joinpath("assets", name).read_text("utf-8")


def script_json(data: Any) -> str:
    """JSON that may stand in a script element: nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
