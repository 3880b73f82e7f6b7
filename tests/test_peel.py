"""First and last steps of loops apart, and loops of unequal lengths as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

import staticgrad as sg
from staticgrad.codegen.ranges import Range, never_negative, tightest

#: lengths around those that loops must have to be taken apart, and what peeling leaves of them
LENGTHS = (0, 1, 2, 3, 5, 17, 40, 101)


def check(inputs: list[Any], outputs: list[Any], lengths: tuple[int, ...], name: str) -> Any:
    """Compile, compare with the execution op by op for each length of the named dimension, and return
    the function."""
    function = sg.compile(inputs, outputs, name=name)
    for length in lengths:
        rng = np.random.default_rng(length)
        arrays = [
            rng.uniform(-1, 1, [d if isinstance(d, int) else length for d in node.shape])
            for node in inputs
        ]
        expected = sg.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
        for got, exact in zip(function(*arrays), expected, strict=True):
            np.testing.assert_allclose(got, exact, rtol=1e-9, atol=1e-9, err_msg=f"length {length}")
    return function


def lines(source: str) -> str:
    """Source without comments."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith("#"))


def valley(x: Any) -> Any:
    return sg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def test_value_and_gradient_take_one_pass_without_conditions() -> None:
    x = sg.placeholder("x", (1000,), dtype="float64")
    loss = valley(x)
    source = lines(check([x], [loss, sg.grad(loss, x)], (0,), "valley").source)
    assert source.count("for i in ") == 1
    assert "for i in range(1, 999):" in source
    assert "d_x[0] = " in source and "d_x[999] = " in source
    assert " if " not in source.split("return 1")[1]


def test_named_lengths_may_be_too_short_for_any_step_in_between() -> None:
    x = sg.placeholder("x", ("n",), dtype="float64")
    loss = valley(x) + sg.sum(x**2)
    source = check([x], [loss, sg.grad(loss, x)], LENGTHS[1:], "named_valley").source
    assert "for further in range(n - 2):" in source
    with pytest.raises(Exception, match="n - 1"):
        sg.compile([x], valley(x), name="short_valley")(np.zeros(0))


def test_what_is_needed_within_one_step_is_not_stored() -> None:
    x = sg.placeholder("x", (500,), dtype="float64")
    loss = sg.sum(sg.exp(x[:-1]))
    function = check([x], [loss, sg.grad(loss, x)], (0,), "within")
    assert function.workspace_bytes() == 0
    assert function.source.count("exp(x[i])") == 1


def test_what_other_steps_need_is_stored() -> None:
    x = sg.placeholder("x", (500,), dtype="float64")
    d = sg.tanh(x[1:] - x[:-1])
    loss = sg.sum(d**3)
    function = check([x], [loss, sg.grad(loss, x)], (0,), "across")
    assert function.workspace_bytes() > 0
    assert "for i in range(1, 499):" in function.source


@pytest.mark.parametrize("shape", [(70, 80), ("n", "n"), (5, 90)])
def test_stencils_of_a_plane(shape: tuple[Any, ...]) -> None:
    u = sg.placeholder("u", shape, dtype="float64")
    flow = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1]
    loss = sg.sum(flow**2) + sg.sum(sg.pad(u, 1) ** 2)
    lengths = (2, 3, 4, 20) if shape == ("n", "n") else (0,)
    check([u], [loss, sg.grad(loss, u)], lengths, "stencil")


def test_a_vector_of_parameters_of_several_kinds() -> None:
    """Each part of the gradient reads as its formula."""
    theta = sg.placeholder("theta", (12,), dtype="float64")
    mean, log_scale, slope, z = theta[0], theta[1], theta[2], theta[3:]
    x = np.linspace(-1, 1, 9)
    value = mean + sg.exp(log_scale) * z + slope * x
    loss = sg.sum(value**2) - log_scale + mean * slope + 0.5 * sg.sum(z**2)
    source = lines(check([theta], [loss, sg.grad(loss, theta)], (0,), "kinds").source)
    gradient = source[source.index("d_theta[0] = ") :]
    for line in ("d_theta[0] = ", "d_theta[1] = ", "d_theta[2] = ", "for i in range(3, short(12)):"):
        assert gradient.count(line) == 1
    assert " if " not in gradient and "embed" not in gradient and " 0.0" not in gradient


def test_a_value_that_is_needed_beside_its_name_keeps_it() -> None:
    x = sg.placeholder("x", (6,), dtype="float64")
    joined = sg.concat([x[:2] * 3.0, sg.exp(x[2:])])
    joined.name = "joined"
    outputs = [sg.sin(joined) + joined, sg.sum(joined**2), sg.cumsum(joined)]
    check([x], outputs, (0,), "needed")


def test_long_loops_in_parts() -> None:
    x = sg.placeholder("x", (150_000,), dtype="float64")
    loss = valley(sg.sin(x))
    function = check([x], [loss, sg.grad(loss, x)], (0,), "parts_of_valley")
    assert "in_parallel(" in function.source


def test_layers_that_repeat_stay_one_routine() -> None:
    inputs = [sg.placeholder(f"x{k}", (200,), dtype="float64") for k in range(4)]
    outputs = [sg.pad(sg.square(x), 1) * 2.0 for x in inputs]
    source = check(inputs, outputs, (0,), "layers").source
    assert source.count("range(1, 201)") == 1


# ---- any expression of shifted arrays --------------------------------------------------------------

SHIFTS = {
    "next": lambda a: a[1:],
    "previous": lambda a: a[:-1],
    "inner": lambda a: a[2:-1],
    "padded": lambda a: sg.pad(a, [(2, 1)]),
    "ended": lambda a: sg.concat([a, np.ones(2)]),
    "reversed": lambda a: a[::-1],
    "differences": lambda a: a[1:] - a[:-1],
    "curvature": lambda a: a[2:] - 2.0 * a[1:-1] + a[:-2],
    "squared": lambda a: a * a,
    "bent": lambda a: sg.tanh(a) + 0.1,
}


@settings(max_examples=12, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(sorted(SHIFTS)), min_size=1, max_size=3), min_size=1, max_size=3),
    st.sampled_from(["n", 64, 65, 80]),
)
def test_any_shifts(chains: list[list[str]], length: Any) -> None:
    x = sg.placeholder("x", (length,), dtype="float64")
    loss: Any = sg.sum(x * 0.5)
    for chain in chains:
        node = x
        for name in chain:
            node = SHIFTS[name](node)
        loss = loss + sg.sum(sg.sin(node))
    lost = 3 * 3  # elements that a chain takes away at most
    lengths = (lost, lost + 1, lost + 2, 20, 70) if length == "n" else (0,)
    check([x], [loss, sg.grad(loss, x)], lengths, "shifts")


# ---- ranges ----------------------------------------------------------------------------------------

I = sympy.Symbol("i", integer=True)
N = sympy.Symbol("n", integer=True, nonnegative=True)


@pytest.mark.parametrize(
    ("expression", "steps", "known"),
    [
        (I - 1, Range((1,), (N,)), True),
        (I - 2, Range((1,), (N,)), False),
        (N - 1 - I, Range((0,), (N,)), True),
        (N - 2 - I, Range((0,), (N - 1,)), True),
        (N - 2 - I, Range((0,), (N,)), False),
        (I - N + 1, Range((1, N - 1), (N,)), True),
        (2 * I - 3, Range((2,), (9,)), True),
        (I * I, Range((0,), (9,)), False),
        (I + 3 - N, Range((0,), (N,)), False),
    ],
)
def test_what_is_known_of_an_index(expression: Any, steps: Range, known: bool) -> None:
    assert never_negative(expression, {I: steps}) is known


@given(st.integers(-5, 5), st.integers(-3, 3), st.integers(0, 6), st.integers(0, 6))
def test_what_is_known_holds(offset: int, factor: int, start: int, stop: int) -> None:
    steps = Range((start,), (stop,))
    values = [factor * step + offset for step in range(start, stop)]
    if never_negative(factor * I + offset, {I: steps}):
        assert all(value >= 0 for value in values)
    elif values:
        assert any(value < 0 for value in values)


def test_ends_of_ranges() -> None:
    assert tightest(0, 1, N - 1) == (1, N - 1)
    assert tightest(N, N - 1, 3, upper=True) == (N - 1, 3)
    last = Range((0,), (N,)).within((1, N - 1), ())
    assert (last.start, last.stop, last.count) == (sympy.Max(1, N - 1), N, 1)
    assert Range((2,), (3,)).is_unit and not Range((2,), (N,)).is_unit
    assert Range((N,), (N,)).is_empty and not Range((1,), (N,)).is_empty
