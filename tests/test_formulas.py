"""Formulas of known models, as a textbook has them: text, LaTeX, MathML, and what notebooks show."""

from __future__ import annotations

import io
import re
import textwrap
from xml.etree import ElementTree

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import eager, nn
from staticgrad.graph.compose import number, product, spelled
from staticgrad.show import mathml
from staticgrad.show.plain import plain


def text(expected: str) -> str:
    return textwrap.dedent(expected).strip()


def softmax_regression() -> tuple[sg.Node, sg.Node, sg.Node]:
    x, y = sg.placeholder("x", ("batch", 4)), sg.placeholder("y", ("batch",), "int64")
    W = sg.parameter(np.zeros((4, 3), "float32"), name="W")
    logits = x @ W
    loss = sg.cross_entropy(logits, y)
    return logits, loss, sg.grad(loss, W)


def test_softmax_regression() -> None:
    _, loss, gradient = softmax_regression()
    assert str(loss) == text("""
        mean(cross_entropy(logits, y))
          where
            logits = x @ W
    """)
    assert str(gradient) == text("""
        x.T @ d_logits
          where
            logits   = x @ W
            d_logits = (softmax(logits) - one_hot(y, 3)) / batch
    """)
    assert gradient.latex() == text(r"""
        \begin{aligned}
        \frac{\partial \mathrm{loss}}{\partial \mathbf{W}} &= {\mathbf{x}}^{\top}\,\frac{\partial \mathrm{loss}}{\partial \mathrm{logits}} \\[4pt]
        \mathrm{logits} &= \mathbf{x}\,\mathbf{W} \\[4pt]
        \frac{\partial \mathrm{loss}}{\partial \mathrm{logits}} &= \frac{1}{\mathrm{batch}}\,(\operatorname{softmax}(\mathrm{logits})-\operatorname{onehot}(\mathbf{y}))
        \end{aligned}
    """)  # noqa: E501


def test_a_net_under_the_names_of_its_modules() -> None:
    net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
    loss = nn.MSELoss()(net(x), y)
    first, *_, last = sg.grad(loss, list(net.parameters()))
    assert str(first) == text("""
        d_linear0.T @ x
          where
            linear0   = x @ linear0_weight.T + linear0_bias
            relu1     = relu(linear0)
            linear2   = relu1 @ linear2_weight.T + linear2_bias
            d_linear2 = 2 * (linear2 - y) / batch
            d_linear0 = where(relu1 > 0, d_linear2 @ linear2_weight, 0)
    """)
    assert str(last).startswith("sum(d_linear2, axis=0)\n")
    assert r"{\mathrm{weight}}_{\mathrm{linear0}}" in loss.latex()
    assert r"\odot \left[ \mathrm{relu1} > 0 \right]" in first.latex()


def black_scholes() -> tuple[sg.Node, list[sg.Node]]:
    S, K, T, r, sigma = (sg.placeholder(name, (), "float64") for name in "S K T r sigma".split())
    d1 = (sg.log(S / K) + (r + sigma**2 / 2) * T) / (sigma * sg.sqrt(T))
    d2 = d1 - sigma * sg.sqrt(T)
    first, second = (0.5 * (1 + sg.erf(d / np.sqrt(2))) for d in (d1, d2))
    call = S * first - K * sg.exp(-r * T) * second
    return call, sg.grad(call, [S, sigma])


def test_black_scholes() -> None:
    call, (_, vega) = black_scholes()
    assert str(call).splitlines()[0] == (
        "S * (1 + erf(d1 / sqrt(2))) / 2 - K * exp(-r * T) * (1 + erf(d2 / sqrt(2))) / 2"
    )
    assert str(vega) == text("""
        -d_d2 * sqrt(T) - d_d1 * d1 / sigma + d_d1 * sqrt(T)
          where
            d1   = (log(S / K) + (r + sigma**2 / 2) * T) / (sigma * sqrt(T))
            d2   = d1 - sigma * sqrt(T)
            d_d2 = -K * exp(-r * T) * exp(-d2**2 / 2) / sqrt(2 * pi)
            d_d1 = d_d2 + S * exp(-d1**2 / 2) / sqrt(2 * pi)
    """)
    assert r"\frac{\partial \mathrm{call}}{\partial \sigma } &=" in vega.latex()
    assert r"{d}_{1} &= \frac{\log\left( \frac{S}{K} \right)" in vega.latex()


def test_gaussian_log_density() -> None:
    y = sg.placeholder("y", ("n",), "float64")
    mu, sigma = (sg.placeholder(name, (), "float64") for name in ("mu", "sigma"))
    log_p = sg.sum(-0.5 * ((y - mu) / sigma) ** 2 - sg.log(sigma) - 0.5 * np.log(2 * np.pi))
    d_mu, d_sigma = sg.grad(log_p, [mu, sigma])
    assert str(log_p) == "sum(-((y - mu) / sigma)**2 / 2 - log(sigma) - log(2 * pi) / 2)"
    assert str(d_mu) == "sum((y - mu) / sigma**2)"
    assert str(d_sigma) == "-n / sigma + sum((y - mu)**2 / sigma**3)"


def test_layer_norm() -> None:
    x = sg.placeholder("x", ("batch", 16), "float64")
    gamma = sg.parameter(np.ones(16), name="gamma")
    mu = sg.mean(x, axis=1, keepdims=True)
    variance = sg.var(x, axis=1, correction=0, keepdims=True)
    xhat = (x - mu) / sg.sqrt(variance + 1e-5)
    out = xhat * gamma
    loss = sg.sum(out**3)
    assert str(sg.grad(loss, gamma)) == text("""
        sum(3 * xhat * out**2, axis=0)
          where
            mu       = mean(x, axis=1)
            variance = var(x, axis=1, correction=0)
            xhat     = (x - mu) / sqrt(variance + 1e-5)
            out      = xhat * gamma
    """)
    assert r"\hat{\mathbf{x}} &= \frac{\mathbf{x}-\boldsymbol{\mu}}" in out.latex()


def test_convolution() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    x = sg.placeholder("x", ("batch", 1, 8, 8))
    loss = sg.sum(net(x) ** 2)
    gradient, bias = sg.grad(loss, list(net.parameters()))
    assert str(gradient).startswith("correlation(x, d_conv2d0, padding=1)\n")
    assert "\n    conv2d0      = conv2d(x, conv2d0_weight, padding=1) + conv2d0_bias" in str(
        gradient
    )
    assert (
        bias.latex()
        .splitlines()[1]
        .startswith(
            r"\frac{\partial \mathrm{loss}}{\partial {\mathrm{bias}}_{\mathrm{conv2d0}}} &="
        )
    )


def test_second_derivatives() -> None:
    x = sg.placeholder("x", (), "float64")
    f = sg.sin(x) * sg.exp(-(x**2))
    first = sg.grad(f, x)
    second = sg.grad(first, x)
    assert str(first) == "cos(x) * exp(-x**2) - 2 * x * sin(x) * exp(-x**2)"
    assert second.latex().startswith(r"\frac{{\partial }^{2}f}{\partial {x}^{2}} = ")
    assert mathml.equations([second])[-1].name == "second"
    assert mathml.equations([sg.grad(first, x)])[-1].name == "d2_f_d_x2"


def test_a_partial_derivative_under_the_users_name() -> None:
    """What is no derivative of a scalar with a name stands under the variable that holds it."""
    x, t = sg.placeholder("x", ("n",)), sg.placeholder("t", ("n",))
    u = sg.sin(x) * sg.cos(t)
    u_x, u_t = sg.grad(u, [x, t], seed=1.0)
    assert str(u * u_x - 2 * u_t).splitlines()[0] == "u * u_x - 2 * u_t"
    assert r"\mathbf{u}\odot{\mathbf{u}}_{x}" in (u * u_x).latex().replace(" ", "")
    loss = sg.sum(u)
    slope = sg.grad(loss, x)
    assert slope.latex().startswith(r"\frac{\partial \mathrm{loss}}{\partial \mathbf{x}} =")


def test_derivatives_of_two_scalars_are_told_apart() -> None:
    x = sg.placeholder("x", ("n",), "float64")
    hidden = sg.tanh(x)
    f = sg.sum(hidden**2)
    g = sg.sum(hidden * x)
    names = [e.name for e in mathml.equations([sg.grad(f, x), sg.grad(g, x)])]
    assert {"d_f_d_x", "d_g_d_x"} <= set(names)
    assert [e.name for e in mathml.equations([sg.grad(f, x)])][-1] == "d_x"


def test_an_adjoint_that_is_no_derivative_has_a_bar() -> None:
    x, v = sg.placeholder("x", ("n", 3)), sg.placeholder("v", ("n", 2))
    W = sg.parameter(np.ones((3, 2), "float32"), name="W")
    h = sg.tanh(x @ W)
    assert sg.grad(h, W, seed=v).latex().splitlines()[1].startswith(r"\overline{\mathbf{W}} &=")


def test_what_was_computed_twice_is_told_once_but_not_two_draws() -> None:
    x = sg.placeholder("x", ("n", 4))
    mu = sg.mean(x, axis=1, keepdims=True)
    assert str((x - mu) * (x - sg.mean(x, axis=1, keepdims=True))).startswith("(x - mu) * (x - mu)")
    dropout = nn.Dropout(0.5)
    first, second = dropout(x), dropout(x)
    assert str(first - second).count("uniform(") == 2


@pytest.mark.parametrize(
    "value, expected",
    [
        (2.0, "2"), (0.1, "0.1"), (np.float32(0.1), "0.1"), (1e-5, "1e-5"), (-2.5e10, "-25000000000"),
        (1 / np.sqrt(2), "1 / sqrt(2)"), (np.float32(np.sqrt(2)), "sqrt(2)"),
        (2 / np.sqrt(np.pi), "2 / sqrt(pi)"), (-np.pi, "-pi"), (np.pi / 2, "pi / 2"),
        (1 / np.sqrt(2 * np.pi), "1 / sqrt(2 * pi)"), (1 / 3, "1 / 3"), (0.123456789, "0.123456789"),
        (np.inf, "inf"), (np.nan, "nan"), (True, "True"), (np.sqrt(12.0), "2 * sqrt(3)"),
        (np.pi**2, "9.869604401089358"), (np.log(2.0), "log(2)"), (np.log(2.5), "log(5 / 2)"),
        (0.5 * np.log(2 * np.pi), "log(2 * pi) / 2"), (np.float32(-np.log(3)), "-log(3)"),
    ],
)  # fmt: skip
def test_numbers(value, expected: str) -> None:
    assert plain(number(value)) == expected


@pytest.mark.parametrize("seed", range(20))
def test_a_product_is_worth_its_factors(seed: int) -> None:
    """Numbers are folded, signs pulled out and roots recognised; the value stays."""
    rng = np.random.default_rng(seed)
    pool = [0.5, 2.0, -3.0, 0.1, np.sqrt(2), 1 / np.sqrt(np.pi), -1.0, 16.0, 1 / 3, 7.25]
    above, below = (rng.choice(pool, rng.integers(1, 4)) for _ in range(2))
    made = spelled(product([number(v) for v in above], [number(v) for v in below]))
    found = eval(plain(made), {"sqrt": np.sqrt, "pi": np.pi})
    np.testing.assert_allclose(found, np.prod(above) / np.prod(below), rtol=1e-13)


@pytest.mark.parametrize(
    "name, expected",
    [
        ("x", r"\mathbf{x}"), ("W1", r"{\mathbf{W}}_{1}"), ("loss", r"\mathrm{loss}"),
        ("W_hidden", r"{\mathbf{W}}_{\mathrm{hidden}}"), ("sigma", r"\boldsymbol{\sigma}"),
        ("mu_2", r"{\boldsymbol{\mu}}_{2}"),
        ("x_hat", r"\hat{\mathbf{x}}"), ("a_b_c", r"\mathrm{a\_b\_c}"), ("fc1", r"\mathrm{fc1}"),
    ],
)  # fmt: skip
def test_names_are_set_as_mathematics(name: str, expected: str) -> None:
    assert sg.placeholder(name, ("n",)).latex() == expected


def test_scalars_are_italic_and_arrays_bold() -> None:
    a, b = sg.placeholder("a", ()), sg.placeholder("b", ("n",))
    c = sg.placeholder("c", ("n",))
    assert (a * b).latex() == r"a\,\mathbf{b}"
    assert (b * c).latex() == r"\mathbf{b} \odot \mathbf{c}"


def test_repr_is_short() -> None:
    logits, loss, _ = softmax_regression()
    str(loss)  # names what the statements assign
    assert (repr(logits), repr(loss)) == ("<logits: float32(batch, 3)>", "<loss: float32()>")


def test_formulas_are_as_deep_as_memory_allows() -> None:
    x = sg.placeholder("x", (1200,))
    total, tower = x[0], x
    for position in range(1, 1200):
        total, tower = total + x[position], sg.sin(tower)
    for node in (total, tower):
        lines = str(node).splitlines()
        assert 15 < len(lines) < 1000
        assert sg.show(node, io.StringIO()).count("\n") > 1200
        check = ElementTree.fromstring(mathml.equations([node])[-1].mathml)
        assert check.tag == "math"


# ---- MathML --------------------------------------------------------------------------------------


def test_mathml_names_link_to_generated_code() -> None:
    *_, gradient = softmax_regression()
    for equation in mathml.equations([gradient]):
        tree = ElementTree.fromstring(equation.mathml)
        names = [item.get("data-name") for item in tree.iter() if item.get("data-name")]
        assert names[0] == equation.name
        words = set(re.findall(r"[A-Za-z_]\w*", equation.text))
        assert set(names) <= words


def test_mathml_of_one_node_in_given_names() -> None:
    logits, loss, _ = softmax_regression()
    inner = mathml.expression(loss, {logits: "scores<&"})
    tree = ElementTree.fromstring(f"<math>{inner}</math>")
    assert "scores<&" in {item.get("data-name") for item in tree.iter()}
    assert "W" not in "".join(tree.itertext())


def test_mathml_has_elements_with_as_many_children_as_they_take() -> None:
    call, greeks = black_scholes()
    for equation in mathml.equations([call, *greeks]):
        for item in ElementTree.fromstring(equation.mathml).iter():
            wanted = {"mfrac": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2}.get(item.tag)
            assert wanted is None or len(item) == wanted, equation.mathml
            leaf = item.tag in ("mi", "mn", "mo")
            assert not leaf or (len(item) == 0 and item.text)
            assert leaf or item.tag != "math" or len(item)


# ---- notebooks -----------------------------------------------------------------------------------


def well_formed(html: str) -> ElementTree.Element:
    return ElementTree.fromstring(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))


def test_notebooks_show_equations_with_types() -> None:
    *_, gradient = softmax_regression()
    shown = "".join(well_formed(gradient._repr_html_()).itertext())
    assert "float32(4, 3)" in shown and "float32(batch, 3)" in shown and "where" in shown
    assert gradient._repr_latex_() == rf"$\displaystyle {gradient.latex()}$"


def test_notebooks_show_compiled_functions() -> None:
    x = sg.placeholder("x", ("n",))
    w = sg.parameter(np.ones((), "float32"), name="w")
    loss = sg.sum(sg.square(w * x - 1.0))
    f = sg.compile(x, loss, updates={w: w - 0.1 * sg.grad(loss, w)}, name="f")
    html = f._repr_html_()
    tree = well_formed(html)
    shown = "".join(tree.itertext())
    assert "f(x: float32(n,)) -> loss: float32()" in shown
    assert "parameter, updated" in shown and shown.count("def f(") == 1
    (details,) = tree.iter("details")
    code = "".join(next(details.iter("code")).itertext())
    assert code == f.source.rstrip("\n")
    step = sg.train_step(x, loss, sg.optim.SGD([w], lr=0.1))
    assert "def " in "".join(well_formed(step._repr_html_()).itertext())


def test_eager_tensors_show_their_values() -> None:
    tensor = eager.tensor([1.0, 2.0])
    assert tensor._repr_html_() is None and tensor._repr_latex_() is None
    with pytest.raises(
        TypeError, match=r"latex\(\) of tensor\(\[1\., 2\.\]\).*eager tensor is a value"
    ):
        tensor.latex()


def test_latex_is_read_by_another_reader() -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    call, greeks = black_scholes()
    for equation in mathml.equations([call, *greeks]):
        parser.parse(f"${equation.latex}$")


def burgers() -> tuple[sg.Node, ...]:
    x, t, nu = sg.placeholder("x", ("n",)), sg.placeholder("t", ("n",)), sg.placeholder("nu", ())
    u = sg.sin(x) * sg.cos(t)
    u_x, u_t = sg.grad(sg.sum(u), [x, t])
    u_xx = sg.grad(sg.sum(u_x), x)
    residual = u_t + u * u_x - nu * u_xx
    return x, t, nu, residual


def test_gradients_in_variables_are_terms_of_their_own() -> None:
    """As it was written, not with signs and factors moved from one to the other."""
    x, t, nu, residual = burgers()
    assert str(sg.mean(residual**2)) == text("""
        mean(residual**2)
          where
            u_t      = -sin(x) * sin(t)
            u        = sin(x) * cos(t)
            u_x      = cos(t) * cos(x)
            u_xx     = -cos(t) * sin(x)
            residual = u_t + u * u_x - nu * u_xx
    """)
    assert str(sg.grad(sg.mean(residual**2), nu)).splitlines()[0] == (
        "sum(-2 * residual * u_xx / n)"
    )
    # each line is true: computed one after the other in NumPy they give the value
    lines = str(residual).splitlines()
    rng = np.random.default_rng(0)
    names = {"x": rng.normal(size=5), "t": rng.normal(size=5), "nu": 0.3, "sin": np.sin, "cos": np.cos}
    for line in lines[2:]:
        name, _, formula = line.strip().partition(" = ")
        names[name.strip()] = eval(formula, {}, names)
    values = {node: np.float32(names[node.name]) for node in (x, t, nu)}
    expected = sg.evaluate(residual, values)
    np.testing.assert_allclose(eval(lines[0], {}, names), expected, rtol=1e-5)
    table = sg.show(residual, io.StringIO())
    assert re.search(r"\n  u_t +float32\(n,\) +-sin_x_sin_t", table)


def test_gradients_that_are_numbers_are_told_where_they_are_used() -> None:
    x, t = sg.placeholder("x", ("n",)), sg.placeholder("t", ("n",))
    v = 3.0 * x
    v_x, v_t = sg.grad(v + 0.0 * t, [x, t], seed=1.0)
    assert str(v_t + v * v_x).splitlines()[0] == "3 * v"
