"""What is printed: formulas, graphs, names."""

from __future__ import annotations

import io
import re
import types

import numpy as np
import pytest

import staticgrad as sg
from staticgrad.graph.traverse import topological
from staticgrad.show.names import name_results

x = sg.placeholder("x", ("batch", 3), "float64")
W = sg.parameter(np.ones((3, 2)), name="W")


def test_formulas() -> None:
    assert str(x + 1.0) == "x + 1"
    assert str((x + 1.0) * 2.0) == "2 * (x + 1)"
    assert str(-(x ** 2.0)) == "-x**2"
    assert str(x - (x - 1.0)) == "x - (x - 1)"
    assert str(x @ W) == "x @ W"
    assert str(sg.sum(x, axis=0)) == "sum(x, axis=0)"
    assert str(x.T) == "x.T"
    assert str(x[:, 1:]) == "x[:, 1:]"


def test_formulas_can_be_read_back() -> None:
    """What is printed of elementwise arithmetic is the expression itself, in Python."""
    rng = np.random.default_rng(0)
    a, b = sg.placeholder("a", (4,), "float64"), sg.placeholder("b", (4,), "float64")
    values = {"a": rng.uniform(0.5, 2, 4), "b": rng.uniform(0.5, 2, 4)}
    functions = {"exp": np.exp, "sqrt": np.sqrt, "square": np.square, "power": np.power}
    for node in (
        (a + b) * (a - b) / (a * b), a - (b - a) - b, a / (b / a), -(a + b) * 2.0,
        sg.exp(a * b - 1.0) / sg.sqrt(a + b), (a * b + 1.0) ** (b / 2.0), 1.0 / (a + 1.0 / b),
    ):  # fmt: skip
        text = str(node).splitlines()[0]
        expected = sg.evaluate(node, {a: values["a"], b: values["b"]})
        np.testing.assert_allclose(eval(text, functions, values), expected, rtol=1e-14)


def test_names_come_from_assignments() -> None:
    hidden = sg.tanh(x @ W)
    total = sg.sum(hidden * hidden)
    gradient = sg.grad(total, W)
    f = sg.compile(x, [total, gradient])
    assert f.name == "f"
    assert "hidden[" in f.source and "gradient[" in f.source
    assert "hidden" in str(gradient)
    assert "d_W[" in sg.compile(x, [total, sg.grad(total, W)]).source


def outputs_of(*nodes: sg.Node) -> list[str]:
    """What generated code calls the nodes."""
    placeholders = [n for n in topological(nodes) if n.op.name == "placeholder"]
    source = sg.compile(placeholders, list(nodes)).source
    header = source.split('"""')[1]
    rows = [line.split() for line in header.splitlines() if line.endswith("output")]
    return [row[0] for row in rows]


def test_gradients_are_called_after_the_variables_that_take_them() -> None:
    t = sg.placeholder("t", ("batch", 3), "float64")
    u = sg.sum(sg.sin(x) * sg.cos(t))
    u_x = sg.grad(u, x)
    u_xx, u_xt = sg.grad(sg.sum(u_x), [x, t])
    [one, _] = sg.grad(u * u, [x, t])
    value, (d_by_x, d_by_t) = sg.value_and_grad(u * 2.0, [x, t])
    head, *rest = sg.grad(u * 3.0, [x, t])
    names = [u_x, u_xx, u_xt, one, d_by_x, d_by_t, head]
    assert outputs_of(*names) == ["u_x", "u_xx", "u_xt", "one", "d_by_x", "d_by_t", "head"]
    assert outputs_of(_) == outputs_of(*rest) == ["d_t"]
    # a list has no names for what is in it, and a name that was given stays
    listed = sg.grad(u, [x, t])
    assert outputs_of(*listed) == ["d_x", "d_t"]
    slope = sg.grad(u, x).named("chosen")
    assert outputs_of(slope) == ["chosen"]
    # what already is something else keeps its name
    ones = sg.placeholder("ones", ("batch", 3), "float64")
    same = sg.grad(x + t, x, seed=ones)
    assert same is ones and ones.assigned is None and outputs_of(same + t) != ["same"]
    assert value.name is None


def test_tuples_name_what_they_hold() -> None:
    a, b = sg.exp(x), sg.tanh(x) + 1.0
    left, right = sg.split(W, 2, axis=1)
    (c, d), e = (a * b, a - b), sg.sin(
        b * 2.0
    )
    assert outputs_of(a, b, e, left, right) == ["a", "b", "e", "left", "right"]
    assert str(c + d).splitlines()[0] == "a * b + (a - b)"


class Scores(sg.nn.Module):
    """Two results, one of a submodule and one under a name of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = sg.nn.Linear(3, 4), sg.nn.Linear(4, 2)

    def forward(self, x):
        hidden = sg.tanh(self.first(x))
        chosen, other = sg.split(self.second(hidden), 2, axis=1)
        return self.second(hidden), chosen.named("given"), other


def test_results_of_modules_are_called_after_the_variables_that_take_them() -> None:
    net = sg.nn.Sequential(sg.nn.Linear(3, 4), sg.nn.Tanh(), sg.nn.Linear(4, 1))
    inputs = sg.placeholder("inputs", ("batch", 3))
    u = net(inputs)
    assert str(u * 2.0).splitlines()[0] == "2 * u" and "tanh1   =" in str(u * 2.0)
    assert "linear2[" not in sg.compile(inputs, u).source
    # where no variable takes it, the module names it; nor is it called as its own argument
    assert str(sg.mean(net(inputs))).startswith("mean(linear2)")
    before = inputs
    inputs = net(before)
    assert str(inputs + 1.0).startswith("linear2 + 1")
    scores, first, second = Scores()(before)
    assert [scores.name, first.name, second.name] == ["scores", "given", "second"]
    same = sg.nn.Identity()(before)
    assert same is before and before.name == "inputs"


def test_arrays_are_called_after_the_variables_that_hold_them() -> None:
    effects = np.linspace(0.0, 1.0, 3)
    weights = sg.constant(np.linspace(1.0, 2.0, 3))
    scale = np.float64(0.25)
    assert str((x - effects) / weights * scale) == "(x - effects) / (4 * weights)"
    assert "effects = array_at(" in sg.compile(x, x - effects, name="f").source
    # where no variable holds it, few numbers are told, of many the shape
    assert str(x * np.array([1.0, 2.0, 4.0])) == "x * [1, 2, 4]"
    assert str(x @ np.ones((3, 40))) == "x @ constant(3, 40)"


def test_inputs_keep_their_names() -> None:
    y, W = np.linspace(0.0, 1.0, 3), np.ones(3)
    target = sg.placeholder("y", ("batch", 3), "float64")
    weight = sg.parameter(np.ones(3), name="W")
    difference = (x - y) * W
    source = sg.compile([x, target], sg.sum(difference * target * weight)).source
    rows = [line.split() for line in source.split('"""')[1].splitlines() if "(" in line]
    kinds = {row[0]: row[-1] for row in rows if row[-1] in ("input", "parameter", "constant")}
    assert kinds == {
        "x": "input", "y": "input", "W": "parameter", "y_2": "constant", "W_2": "constant"
    }  # fmt: skip


def test_names_are_not_those_of_other_peoples_results() -> None:
    """A function of staticgrad's own, which takes gradients inside, names none of them."""
    source = "def differences(f, xs):\n    a, b = sg.grad(f, xs)\n    return b, a\n"
    inner: dict[str, object] = {"sg": sg}
    exec(compile(source, sg.__file__, "exec"), inner)
    t = sg.placeholder("t", ("batch", 3), "float64")
    first, second = inner["differences"](sg.sum(x * t * t), [x, t])  # type: ignore[operator]
    assert outputs_of(first, second) == ["d_t", "d_x"]


def test_names_are_given_by_the_user_first() -> None:
    node = (x * 2.0).named("doubled")
    assert node.name == "doubled"
    assert "doubled" in str(node + 1.0)


def test_show() -> None:
    hidden = sg.tanh(x @ W)
    text = sg.show(hidden)
    lines = text.splitlines()
    assert lines[0] == "inputs" and lines[1].split()[:2] == ["x", "float64(batch,"]
    assert "tanh(" in text and "test_text.py" in text


@pytest.mark.parametrize("wrong", [1.5, [x, "W"], sg.eager.tensor([1.0])], ids=repr)
def test_show_of_what_is_no_node(wrong) -> None:
    with pytest.raises(TypeError, match="show: expected nodes of a graph, got"):
        sg.show(wrong if isinstance(wrong, list | sg.eager.Tensor) else [wrong], io.StringIO())


def test_one_model_gives_the_same_code_every_time() -> None:
    def declare() -> str:
        v = sg.placeholder("v", ("n",), "float64")
        w = sg.parameter(np.ones(()), name="w")
        loss = sg.mean(sg.softplus(v * w))
        return sg.compile(v, [loss, sg.grad(loss, w)], name="same").source

    assert declare() == declare()


def gradients_of_a_net() -> list[sg.Node]:
    net = sg.nn.Sequential(sg.nn.Linear(3, 4), sg.nn.ReLU(), sg.nn.Linear(4, 2))
    inputs = sg.placeholder("inputs", ("batch", 3))
    targets = sg.placeholder("targets", ("batch", 2))
    loss = sg.mse_loss(net(inputs), targets)
    return [loss, *sg.grad(loss, list(net.parameters()))]


def test_show_has_sections_in_columns() -> None:
    text = sg.show(gradients_of_a_net(), file=io.StringIO())
    lines = text.splitlines()
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles == ["inputs", "forward", "backward"]
    rows = {line.split()[0]: line for line in lines if line not in titles}
    assert "d_linear0.T @ inputs" in rows["d_linear0_weight"]
    assert re.search(r"linear2\s+test_text\.py:\d+$", rows["linear2"])
    # types stand in one column, and no line ends in blanks
    assert len({line.index("float32(") for line in rows.values() if "float32(" in line}) == 1
    assert all(line == line.rstrip() for line in lines)


def test_show_keeps_to_a_width_and_loses_nothing() -> None:
    nodes = gradients_of_a_net()
    wide, narrow = sg.show(nodes, file=io.StringIO()), sg.show(nodes, io.StringIO(), width=95)
    assert max(map(len, narrow.splitlines())) <= 95 < max(map(len, wide.splitlines()))
    for row in wide.splitlines():
        for word in re.split(r"  +", row)[3:4]:
            assert word.split()[0] in narrow


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_show_is_plain_when_piped_and_fits_a_terminal(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal, pipe = Terminal(), io.StringIO()
    text = sg.show(gradients_of_a_net(), terminal)
    assert "\x1b[1mforward\x1b[0m" in terminal.getvalue() and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    sg.show(gradients_of_a_net(), pipe)
    assert "\x1b" not in pipe.getvalue()
    written: list[str] = []
    sg.show(gradients_of_a_net(), types.SimpleNamespace(write=written.append))
    assert "".join(written) == pipe.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    sg.show(gradients_of_a_net(), plain)
    assert "\x1b" not in plain.getvalue()


def test_printing_changes_nothing_of_the_code() -> None:
    def declare(look: bool) -> str:
        net = sg.nn.Sequential(sg.nn.Linear(3, 4), sg.nn.Tanh(), sg.nn.Linear(4, 2))
        inputs = sg.placeholder("inputs", ("batch", 3))
        labels = sg.placeholder("labels", ("batch",), "int64")
        scores = net(inputs)
        loss = sg.cross_entropy(scores, labels)
        gradients = sg.grad(loss, list(net.parameters()))
        if look:
            for node in (scores, *gradients, loss):
                assert str(node) and node.latex() and node._repr_html_()
            sg.show([loss, *gradients], io.StringIO())
        return sg.compile([inputs, labels], [loss, *gradients], name="looked_at").source

    assert declare(look=True) == declare(look=False)


def test_names_go_to_what_a_variable_takes() -> None:
    """Not to what a call within the statement takes, nor to what a generator on its line makes."""
    v = sg.placeholder("v", ("n",), "float64")
    slope = sg.grad((v**3).sum(), v)
    hessian = sg.grad(sg.sum(sg.grad(sg.sum(v**3), v)), v)
    assert "slope" not in slope.latex() and "hessian" not in hessian.latex()
    parts = [v * 2.0, v * 3.0]
    loss = sg.sum(v) + 0.1 * sum(sg.sum(p * p) for p in parts)
    name_results([loss])
    assert loss.name == "loss"
    assert [n.name for n in topological([loss]) if n is not loss and n.name] == ["v"]


def test_memory_timeline_prints_as_a_table() -> None:
    text = str(sg.compile([x], sg.sum(sg.tanh(x @ W) @ W.T)).memory_timeline(batch=64))
    assert text.startswith("workspace: ") and "a tape, of" in text and "forward" in text
