"""The rule engine: named rewrites of one node, each with its reason and an example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from staticgrad.graph.node import Node, rewriting
from staticgrad.graph.traverse import inherit, lend_role, transform

#: how often each rule fired, for whoever asked
FIRED: ContextVar[Counter[str] | None] = ContextVar("staticgrad_rules_fired", default=None)
#: a node is rewritten again as long as a rule applies; a cycle of rules would be a defect
MOST_REWRITES = 50


def fire(name: str) -> None:
    """Take down that a rule, or what a pass does besides rules, was applied once more."""
    fired = FIRED.get()
    if fired is not None:
        fired[name] += 1


@dataclass(frozen=True)
class Rule:
    """``rewrite(node)`` gives the replacement of a node, or None where the rule does not apply.

    ``example`` builds the left-hand side from placeholders; ``domain`` says on which values a test
    holds both sides together, ``hard`` are values where the left-hand side alone goes wrong.
    """

    name: str
    reason: str
    ops: tuple[str, ...]
    rewrite: Callable[[Node], Node | None]
    example: Callable[..., Node] | None = None
    domain: tuple[float, float] = (-2.0, 2.0)
    hard: tuple[float, ...] = ()


class RuleSet:
    """Rules by the op of the node that they rewrite, in the order in which they are tried."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.by_op: dict[str, list[Rule]] = {}

    def rule(
        self, name: str, reason: str, ops: str, **options: Any
    ) -> Callable[[Callable[[Node], Node | None]], Callable[[Node], Node | None]]:
        """Enter a function as the rule ``name`` for nodes of ``ops`` (names, space-separated)."""

        def enter(function: Callable[[Node], Node | None]) -> Callable[[Node], Node | None]:
            made = Rule(name, reason, tuple(ops.split()), function, **options)
            self.rules.append(made)
            for op in made.ops:
                self.by_op.setdefault(op, []).append(made)
            return function

        return enter

    def apply(self, roots: Sequence[Node], keep: Iterable[Node] = ()) -> list[Node]:
        """Rewrite bottom-up, each node until no rule applies. Nodes in ``keep`` stand as they are.

        Where nothing applies, the same node objects come back.
        """
        return transform(roots, self._visit, keep)

    def _visit(self, node: Node) -> Node:
        for _ in range(MOST_REWRITES):
            replacement = self._once(node)
            if replacement is None:
                return node
            node = replacement
        raise RuntimeError(f"rewriting {node.op.name} does not come to an end")

    def _once(self, node: Node) -> Node | None:
        for rule in self.by_op.get(node.op.name, ()):
            with rewriting(node):
                replacement = rule.rewrite(node)
            if replacement is None:
                continue
            if replacement.type != node.type:
                raise RuntimeError(
                    f"rule {rule.name} turned {node.type} into {replacement.type}"
                )
            fire(rule.name)
            # a replacement made for this node takes over its name; one that was there before does not
            if replacement.serial > node.serial:
                return inherit(replacement, node)
            lend_role(replacement, node)
            return replacement
        return None
