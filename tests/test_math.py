"""Formulas: every op as text, LaTeX and MathML, from one description of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from cases import cases

import staticgrad as sg
from staticgrad.show.mathml import equations

SAMPLES = [case for case in cases() if case.dtype == "float64"]


def check_latex(text: str) -> None:
    """Braces, fences and environments match, and every underscore outside of a command's name is a
    subscript or escaped."""
    bare = re.sub(r"\\[{}]", "", text)
    depth = 0
    for character in bare:
        depth += (character == "{") - (character == "}")
        assert depth >= 0, text
    assert depth == 0, text
    assert len(re.findall(r"\\left(?![a-z])", text)) == len(re.findall(r"\\right(?![a-z])", text))
    assert re.findall(r"\\begin{(\w+)}", text)[::-1] == re.findall(r"\\end{(\w+)}", text) or (
        sorted(re.findall(r"\\begin{(\w+)}", text)) == sorted(re.findall(r"\\end{(\w+)}", text))
    )
    for match in re.finditer("_", text):
        before, after = text[: match.start()], text[match.end() :]
        assert before.endswith("\\") or after.startswith("{"), text
    # a script on a script needs braces around the first
    assert not re.search(r"[_^]\{[^{}]*\}[_^]", text), text


def check_all_notations(nodes: list[sg.Node]) -> None:
    for node in nodes:
        assert str(node)
        check_latex(node.latex())
    for equation in equations(nodes):
        assert ElementTree.fromstring(equation.mathml).tag == "math"
        check_latex(equation.latex)
        assert equation.text.startswith(f"{equation.name} = ")


@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_every_op_prints_in_all_notations(case) -> None:
    inputs = case.placeholders()
    node = case.sample.call(*inputs)
    gradients = []
    if case.sample.differentiable:
        gradients = sg.grad(sg.sum(node * 1.5), inputs, unused="zeros")
    check_all_notations([node, *gradients])
