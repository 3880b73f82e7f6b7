"""Formulas for the page."""

from __future__ import annotations

from collections.abc import Mapping

from staticgrad.graph.node import Node
from staticgrad.show.mathml import mathml
from staticgrad.show.trees import expression_of, symbol_of


def display(inner: str) -> str:
    return f'<math display="block"><mrow>{inner}</mrow></math>'


def equation(node: Node, name: str, named: Mapping[Node, str]) -> str:
    """``name = ...`` as MathML, in terms of the nodes of ``named``."""
    left = derivative(node, {**named, node: name})
    return display(f"{left}<mo>=</mo>{formula(node, named)}")


def renewal(parameter: Node, value: Node, named: Mapping[Node, str]) -> str:
    """``parameter ← ...`` as MathML, in terms of the nodes of ``named``."""
    return display(f"{derivative(parameter, named)}<mo>←</mo>{formula(value, named)}")


def formula(node: Node, named: Mapping[Node, str]) -> str:
    """What ``node`` computes, as MathML without the element around it."""
    return mathml(expression_of(node, named))


def derivative(node: Node, named: Mapping[Node, str]) -> str:
    """The name of a node, of an adjoint as what it is the derivative of."""
    return mathml(symbol_of(node, named))
