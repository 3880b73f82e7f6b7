"""Every rewrite rule, on its own example."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import staticgrad as sg
from staticgrad.rewrite.rules import FIRED, Rule, RuleSet
from staticgrad.rewrite.simplify import SIMPLIFY
from staticgrad.rewrite.stabilise import STABILISE

RULES = [(rules, rule) for rules in (SIMPLIFY, STABILISE) for rule in rules.rules]


def build(rule: Rule) -> tuple[list[sg.Node], sg.Node]:
    assert rule.example is not None, f"{rule.name} has no example"
    count = rule.example.__code__.co_argcount
    inputs = [sg.placeholder("xyz"[k], (3, 4), "float64") for k in range(count)]
    return inputs, rule.example(*inputs)


@pytest.mark.parametrize(("rules", "rule"), RULES, ids=[rule.name for _, rule in RULES])
def test_rule(rules: RuleSet, rule: Rule) -> None:
    inputs, node = build(rule)
    fired: Counter[str] = Counter()
    token = FIRED.set(fired)
    try:
        (rewritten,) = rules.apply([node])
    finally:
        FIRED.reset(token)
    assert fired[rule.name] > 0
    assert rewritten.type == node.type
    rng = np.random.default_rng(0)
    values = {x: rng.uniform(*rule.domain, (3, 4)) for x in inputs}
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            sg.evaluate(rewritten, values), sg.evaluate(node, values), rtol=1e-9, atol=1e-12
        )
        for point in rule.hard:
            result = sg.evaluate(rewritten, {x: np.full((3, 4), point) for x in inputs})
            assert np.isfinite(result).all(), f"{rule.name} at {point}"


def test_names_are_unique() -> None:
    names = [rule.name for _, rule in RULES]
    assert len(set(names)) == len(names) > 25


def test_the_gradient_of_log_one_plus_exp_at_100_is_1() -> None:
    x = sg.placeholder("x", (), "float64")
    value = sg.log(1 + sg.exp(x))
    f = sg.compile(x, [value, sg.grad(value, x), sg.grad(sg.grad(value, x), x)])
    assert f(100.0)[:2] == [100.0, 1.0]
    assert f(1000.0) == [1000.0, 1.0, 0.0]
    assert f(-1000.0) == [0.0, 0.0, 0.0]


STABLE = {
    "log softmax": (lambda x: sg.log(sg.softmax(x, axis=-1)), [1000.0, 0.0, -1000.0]),
    "log sum exp": (lambda x: sg.log(sg.sum(sg.exp(x), axis=-1)), [1000.0, 999.0, -1000.0]),
    "log sigmoid": (lambda x: sg.log(sg.sigmoid(x)), [-1000.0, 0.0, 1000.0]),
    "exp(x) - 1": (lambda x: sg.exp(x) - 1, [1e-18, -1e-18, 0.0]),
    "log(1 + x)": (lambda x: sg.log(1 + x), [1e-18, 1e-9, 0.0]),
    "x / sqrt(x^2 + y^2)": (lambda x: x / sg.sqrt(x**2 + 1.0), [1e200, -1e200, 0.0]),
}


@pytest.mark.parametrize("name", STABLE)
def test_stable_values_and_gradients(name: str) -> None:
    function, points = STABLE[name]
    x = sg.placeholder("x", (3,), "float64")
    node = function(x)
    f = sg.compile(x, [node, sg.grad(node.sum(), x)], name="stable")
    value, gradient = f(np.array(points))
    assert np.isfinite(value).all() and np.isfinite(gradient).all()
    import mpmath

    mpmath.mp.dps = 700
    exact = {
        "log softmax": lambda p: [mpmath.log(mpmath.exp(a) / total(p)) for a in p],
        "log sum exp": lambda p: [mpmath.log(total(p))],
        "log sigmoid": lambda p: [mpmath.log(1 / (1 + mpmath.exp(-a))) for a in p],
        "exp(x) - 1": lambda p: [mpmath.exp(a) - 1 for a in p],
        "log(1 + x)": lambda p: [mpmath.log(1 + a) for a in p],
        "x / sqrt(x^2 + y^2)": lambda p: [a / mpmath.sqrt(a * a + 1) for a in p],
    }[name]([mpmath.mpf(p) for p in points])
    np.testing.assert_allclose(np.ravel(value), [float(e) for e in exact], rtol=1e-14)


def total(points: list) -> object:
    import mpmath

    return sum((mpmath.exp(p) for p in points), start=mpmath.mpf(0))
