"""A card for each gradient: its formula, the rules it comes from, what flows into it, and a check."""

from __future__ import annotations

import html
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from staticgrad.explain.graph import HIDDEN
from staticgrad.explain.mathematics import derivative, display, equation, formula
from staticgrad.explain.measure import Check
from staticgrad.explain.panes import Links
from staticgrad.explain.values import LEAVES
from staticgrad.graph.leaves import PLACEHOLDER, constant
from staticgrad.graph.node import Node, Op, adjoint_context
from staticgrad.graph.traverse import topological, users
from staticgrad.ops.composite import Composite
from staticgrad.ops.convert import broadcast
from staticgrad.ops.elementwise import Elementwise, chain
from staticgrad.rewrite.simplify import SIMPLIFY
from staticgrad.show.highlight import highlighted_lines

#: what a rule looks through, to the operation that does something
THROUGH = HIDDEN | {"permute_dims", "reshape", "astype"}
#: uses of a leaf and adjoints on the way to the loss that a card tells of
MOST_USES, LONGEST_WAY = 3, 9


@dataclass(frozen=True)
class Gradient:
    """A leaf, its adjoint in the declared graph, and the scalar that was derived, if it was one."""

    leaf: Node
    adjoint: Node
    loss: Node | None


@dataclass(frozen=True)
class Use:
    """What takes a leaf, as which argument, through which nodes that spread it."""

    taker: Node
    position: int
    through: tuple[Node, ...]


def gradients_of(nodes: Sequence[Node]) -> list[Gradient]:
    """The gradients in a declared graph, in order of computation."""
    found: dict[Node, Node] = {}
    for node in nodes:
        primal = node.adjoint_of
        if node.role == "adjoint" and primal is not None and primal.op.name in LEAVES:
            found[primal] = node
    return [Gradient(leaf, adjoint, adjoint.derivative_of) for leaf, adjoint in found.items()]


class Cards:
    """Writes the cards, and gathers the declarations of the ops that they mention."""

    def __init__(
        self,
        nodes: Sequence[Node],
        links: Links,
        final: Mapping[int, Node],
        named: Mapping[Node, str],
    ) -> None:
        self.links = links
        self.final = final
        self.named = dict(named)
        self.takers = users(nodes)
        self.adjoints = {
            node.adjoint_of: node
            for node in nodes
            if node.role == "adjoint" and node.adjoint_of is not None
        }
        self.rules: dict[str, str] = {}
        self._below: dict[Node, set[Node]] = {}

    def card(self, number: int, gradient: Gradient, check: Check | None, measured: bool) -> str:
        adjoint = gradient.adjoint
        rows = [("Formula", self._formula(adjoint))]
        uses = self._uses(gradient.leaf, gradient.loss)
        for number_of_use, use in enumerate(uses[:MOST_USES], 1):
            which = f" {number_of_use}" if len(uses) > 1 else ""
            rule, local = self._rule(gradient, use)
            rows += [(f"Pullback{which}", rule), ("Locally", local)]
        if len(uses) > MOST_USES:
            rows.append(
                ("", f"and {len(uses) - MOST_USES} further uses, whose contributions add up")
            )
        rows += self._contributes(gradient, uses)
        verdict, row = self._check(check, gradient.loss, measured)
        rows.append(("Check", row))
        body = "".join(f"<dt>{title}</dt><dd>{text}</dd>" for title, text in rows)
        own = self.links.numbers([adjoint])
        return (
            f'<article class="card" id="gradient-{number}"{self.links.attribute(own)}>'
            f"<h3>{html.escape(self.links.values.spoken(adjoint))} "
            f"<small>{html.escape(str(adjoint.type))}</small>{verdict}</h3><dl>{body}</dl></article>"
        )

    def _computed(self, adjoint: Node) -> Node:
        """What computes a gradient in the code; not a view of it."""
        node = self.final.get(self.links.values[adjoint].number, adjoint)
        while node.op.name in THROUGH and node.inputs[0] in self.named and node.inputs[0].inputs:
            node = node.inputs[0]
        return node

    def _formula(self, adjoint: Node) -> str:
        node = self._computed(adjoint)
        named = {other: name for other, name in self.named.items() if other is not node}
        return equation(node, self.links.values.spoken(adjoint), named)

    def _on_the_way(self, node: Node, loss: Node | None) -> list[Node]:
        """What takes a node in the part that was differentiated."""
        takers = dict.fromkeys(self.takers.get(node, ()))
        if loss is None:
            return [taker for taker in takers if taker in self.adjoints]
        if loss not in self._below:
            self._below[loss] = set(topological([loss]))
        return [taker for taker in takers if taker in self._below[loss]]

    def _uses(self, node: Node, loss: Node | None) -> list[Use]:
        """What takes a leaf, through what spreads it."""
        found = []
        for taker in self._on_the_way(node, loss):
            for position, source in enumerate(taker.inputs):
                if source is not node:
                    continue
                if taker.op.name in THROUGH:
                    found += [Use(u.taker, u.position, (taker, *u.through))
                              for u in self._uses(taker, loss)]  # fmt: skip
                else:
                    found.append(Use(taker, position, ()))
        return found

    # ---- rules -----------------------------------------------------------------------------------

    def _rule(self, gradient: Gradient, use: Use) -> tuple[str, str]:
        """The op as it is used, with its pullback for one argument, written by the op itself; and the
        local derivative."""
        node, leaf, loss = use.taker, gradient.leaf, gradient.loss
        named: dict[Node, str] = {}
        stand_in = self._leaf(leaf, named)
        spread = [stand_in]
        for item in use.through:
            spread.append(Node(item.op, (spread[-1], *item.inputs[1:]), item.attrs, item.type))
        inputs: dict[Node, Node] = {}
        chosen = []
        for position, source in enumerate(node.inputs):
            if position == use.position:
                chosen.append(spread[-1])
            elif source is leaf:
                chosen.append(stand_in)
            else:
                if source not in inputs:
                    inputs[source] = self._input(source, named)
                chosen.append(inputs[source])
        result = Node(node.op, tuple(chosen), node.attrs, node.type, node.name)
        text = equation(result, self.links.values.spoken(node), named)
        named[result] = self.links.values.spoken(node)
        if loss is not None and loss not in named:
            named[loss] = self.links.values.spoken(loss)
        adjoint: Node | None = self._adjoint(result, loss, named)
        position = use.position
        for item in (result, *spread[:0:-1]):
            if adjoint is not None:
                with adjoint_context(item):
                    adjoint = item.op.pullback(item, adjoint)[position]
            position = 0
        local = self._local(result, use.position, stand_in, named)
        if adjoint is None:
            return text, "nothing flows back"
        (back,) = SIMPLIFY.apply([adjoint])
        left = self._adjoint(stand_in, loss, named)
        rule = f"{derivative(left, named)}<mo>=</mo>" + (
            derivative(back, named) if back in named else formula(back, named)
        )
        if not local:
            depends = {stand_in, result} & set(topological([back]))
            where = f"<code>{html.escape(named[stand_in])}</code>"
            local = (
                f"depends on {where}: see the rule"
                if depends
                else f"linear in {where}: the rule is the transposed map"
            )
        return text + display(rule) + self._declaration(node.op), local

    def _leaf(self, node: Node, named: dict[Node, str]) -> Node:
        """A leaf in the place of a node, called like it."""
        leaf = Node(PLACEHOLDER, (), {}, node.type, node.name)
        named[leaf] = self.links.values.spoken(node)
        return leaf

    def _input(self, source: Node, named: dict[Node, str]) -> Node:
        """A leaf in the place of an input; numbers and what is spread are written out."""
        known = source in self.links.values and self.links.values[source].name
        if source.op.name in HIDDEN or (source.op.name in THROUGH and not known):
            inputs = [self._input(item, named) for item in source.inputs]
            return Node(source.op, tuple(inputs), source.attrs, source.type)
        return self._leaf(source, named)

    def _adjoint(self, primal: Node, loss: Node | None, named: dict[Node, str]) -> Node:
        """A leaf that stands for the adjoint of ``primal``."""
        adjoint = Node(PLACEHOLDER, (), {}, primal.type)
        named[adjoint] = f"d_{named[primal]}"
        adjoint.role, adjoint.adjoint_of, adjoint.derivative_of = "adjoint", primal, loss
        return adjoint

    @staticmethod
    def _local(result: Node, position: int, leaf: Node, named: dict[Node, str]) -> str:
        """The partial derivative of an elementwise op."""
        op = result.op
        if not isinstance(op, Elementwise):
            return ""
        one = broadcast(constant(1.0, result.dtype), result.shape)
        factor = chain(one, op.derivative[position], op.environment(result))
        (factor,) = SIMPLIFY.apply([one * 0.0 if factor is None else factor])
        right = derivative(factor, named) if factor in named else formula(factor, named)
        return partial(derivative(result, named), derivative(leaf, named), right)

    def _declaration(self, op: Op) -> str:
        if op.name not in self.rules:
            self.rules[op.name] = declaration(op)
        name = html.escape(op.name)
        summary = f"<summary>as the op {name} declares it</summary>"
        return f'<details data-rule="{name}">{summary}</details>'

    # ---- what flows in ---------------------------------------------------------------------------

    def _contributes(self, gradient: Gradient, uses: Sequence[Use]) -> list[tuple[str, str]]:
        """The values in the formula, and the way from the loss."""
        adjoint = gradient.adjoint
        node = self._computed(adjoint)
        reached = dict.fromkeys(node.inputs)
        waiting = list(reached)
        for item in waiting:
            if item not in self.named:
                waiting += [source for source in item.inputs if source not in reached]
                reached.update(dict.fromkeys(item.inputs))
        direct = self.links.numbers(item for item in reached if item in self.named)
        way: list[int] = []
        current = uses[0].taker if uses else None
        seen: set[Node] = set()
        while current is not None and current not in seen:
            seen.add(current)
            if current in self.adjoints:
                way += self.links.numbers([self.adjoints[current]])
            above = self._on_the_way(current, gradient.loss)
            current = above[0] if above else None
        way = list(dict.fromkeys(n for n in way if self.links.values.all[n].name))[::-1]
        if len(way) > LONGEST_WAY:
            way = [*way[:3], -1, *way[-(LONGEST_WAY - 4) :]]
        arrow = ' <span class="none">→</span> '
        own = self.links.numbers([adjoint])
        path = arrow.join("…" if n < 0 else self._chip(n) for n in [*way, *own])
        inputs = "".join(map(self._chip, direct)) or '<span class="none">numbers only</span>'
        return [
            ("Contributes", f'<div class="chips">{inputs}</div>'),
            ("From the loss", f'<div class="chips">{path}</div>'),
        ]

    def _chip(self, number: int) -> str:
        value = self.links.values.all[number]
        text = html.escape(value.name or value.op)
        kind = f'class="chip lane{value.lane}" type="button"'
        return f'<button {kind} data-select="{number}">{text}</button>'

    # ---- the check -------------------------------------------------------------------------------

    @staticmethod
    def _check(check: Check | None, loss: Node | None, measured: bool) -> tuple[str, str]:
        if check is None:
            if not measured:
                why = "not measured"
            else:
                why = "no scalar was derived" if loss is None else "not checked"
            return f'<span class="verdict none">{why}</span>', why
        mark, kind = ("✓ agrees", "pass") if check.passed else ("✗ differs", "fail")
        kink = "" if check.kind == "smooth" else f", at a {check.kind}"
        if kink and not check.passed:
            # between the slopes of both sides, any number is as good as another
            mark, kind = f"at a {check.kind}", "none"
        row = (
            f"along a random direction, in float64: <code>{check.derived:.9g}</code> derived, "
            f"<code>{check.difference:.9g}</code> by differences{kink}; "
            f"relative error <code>{check.error:.1e}</code>"
        )
        return f'<span class="verdict {kind}">{mark}</span>', row

    def templates(self) -> str:
        """The declarations that the cards refer to."""
        return "".join(
            f'<template id="rule-{html.escape(name)}">{text}</template>'
            for name, text in self.rules.items()
        )


def partial(above: str, below: str, inner: str) -> str:
    """``∂ above / ∂ below = ...`` as MathML."""
    fraction = f"<mfrac><mrow><mo>∂</mo>{above}</mrow><mrow><mo>∂</mo>{below}</mrow></mfrac>"
    return display(f"{fraction}<mo>=</mo>{inner}")


def declaration(op: Op) -> str:
    """The lines that declare an op's pullback: of an elementwise op its formula and derivatives."""
    if isinstance(op, Elementwise):
        derivatives = ", ".join(map(str, op.derivative))
        text = f"{op.name}: {op.formula}\nderivative: {derivatives}"
        return f'<pre class="sg-code">{html.escape(text)}</pre>'
    function: Any = op.closed_form if isinstance(op, Composite) else type(op).pullback
    try:
        source = inspect.cleandoc("\n" + inspect.getsource(function))
        file = Path(inspect.getsourcefile(function) or "").name
    except (OSError, TypeError):
        return "the source cannot be read"
    lines = "\n".join(highlighted_lines(source))
    return f'<div class="none">{html.escape(file)}</div><pre class="sg-code"><code>{lines}</code></pre>'
