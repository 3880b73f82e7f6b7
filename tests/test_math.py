"""Formulas: every op as text, LaTeX and MathML, from one description of it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from cases import cases
from scipy import special

import staticgrad as sg
from staticgrad.graph.leaves import constant
from staticgrad.graph.node import make_node
from staticgrad.graph.traverse import topological
from staticgrad.ops.indexing import SCATTER_ADD
from staticgrad.ops.random_numbers import uniform_like
from staticgrad.ops.runs import by_runs
from staticgrad.ops.table import OPS
from staticgrad.rewrite.gemm import GEMM
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


def derived(case) -> list[sg.Node]:
    """The value of a sample, its gradients and those of its gradients."""
    inputs = case.placeholders()
    node = case.sample.call(*inputs)
    if not case.sample.differentiable:
        return [node]

    def gradients(value: sg.Node) -> list[sg.Node]:
        # a function in which no power of the value disappears
        return sg.grad(sg.sum(value * sg.exp(value * 0.25)), inputs, unused="zeros")

    first = gradients(node)
    return [node, *first, *(second for item in first for second in gradients(item))]


def others() -> list[sg.Node]:
    """Nodes of ops that no sample has."""
    x = sg.placeholder("x", (4, 6), "float64")
    straight_through = sg.custom_gradient(lambda v: (sg.sign(v), lambda adjoint: adjoint))
    conditions = [x > 0, x < 1]
    a, b = conditions
    state = sg.parameter(np.zeros(2, "int64"), name="state")
    rows, index = sg.placeholder("v", (64,), "float64"), constant(np.zeros(64, "int64"))
    scattered = make_node(SCATTER_ADD, [rows, index], {"shape": (4,)})
    in_runs = by_runs(scattered)
    assert in_runs is not None
    flags = {"transpose_a": True, "transpose_b": False}
    return [
        sg.stop_gradient(x), straight_through(x), a & b, a | b, a ^ b, ~a,
        uniform_like(x, state), make_node(GEMM, [x, x], flags),
        in_runs,
    ]  # fmt: skip


@pytest.mark.parametrize("case", SAMPLES, ids=str)
def test_samples_print_in_all_notations(case) -> None:
    check_all_notations(derived(case))


def test_every_op_prints_in_all_notations() -> None:
    nodes = others()
    check_all_notations(nodes)
    reached = [node for case in SAMPLES for node in derived(case)]
    assert {node.op.name for node in topological([*nodes, *reached])} >= set(OPS)
    texts = [str(node) for node in nodes]
    assert texts[:6] == ["stop_gradient(x)", "sign(x)", "(x > 0) & (x < 1)", "(x > 0) | (x < 1)",
                         "(x > 0) != (x < 1)", "logical_not(x > 0)"]  # fmt: skip
    assert texts[6:8] == ["uniform(state)", "x.T @ x"]
    assert nodes[2].latex() == r"\mathbf{x} > 0 \wedge \mathbf{x} < 1"


def along_axes(function):
    """With the reduced axes kept: formulas leave out where axes of length one come and go."""
    return lambda x, axis=None, **options: function(x, axis=axis, keepdims=True, **options)


def norm(x, axis=None, ord=2):
    values = np.abs(x)
    if np.isinf(ord):
        return values.max(axis=axis, keepdims=True)
    return (values**ord).sum(axis=axis, keepdims=True) ** (1 / ord)


def cross_entropy(logits, labels):
    picked = np.take_along_axis(logits, np.asarray(labels)[..., None], axis=-1)
    return (special.logsumexp(logits, axis=-1, keepdims=True) - picked)[..., 0]


#: NumPy's and SciPy's functions under the names that formulas have
FUNCTIONS = {
    **{name: getattr(np, name) for name in """exp expm1 log log1p log2 sqrt sin cos tan cosh sinh
    tanh hypot where maximum minimum clip sign abs floor isnan logical_not cumsum arange stack
    float32 float64 int64 pi inf logaddexp einsum""".split()},
    **{name: getattr(special, name) for name in "erf erfc polygamma".split()},
    **{name: along_axes(getattr(np, name)) for name in "sum prod max min mean argmax argmin".split()},
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atan2": np.arctan2,
    "digamma": special.psi, "lgamma": special.gammaln, "sigmoid": special.expit,
    "softplus": lambda x: np.logaddexp(x, 0), "log_sigmoid": special.log_expit,
    "relu": lambda x: np.maximum(x, 0), "silu": lambda x: x * special.expit(x),
    "rsqrt": lambda x: 1 / np.sqrt(x), "concat": np.concatenate, "norm": norm,
    "var": lambda x, axis=None, correction=1: np.var(x, axis, ddof=correction, keepdims=True),
    "logsumexp": along_axes(special.logsumexp), "cross_entropy": cross_entropy,
    "softmax": lambda x, axis=-1: special.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: special.log_softmax(x, axis),
    "diagonal": lambda x, offset=0, axis1=-2, axis2=-1: np.diagonal(x, offset, axis1, axis2),
    "one_hot": lambda indices, count: np.eye(count)[np.asarray(indices)],
}  # fmt: skip


def fitted(value, shape):
    """A value in a shape, in which axes of length one come and go."""
    if np.size(value) == 1:
        return np.full(shape, np.asarray(value).item())
    if np.size(value) == np.prod(shape):
        return np.reshape(value, shape)
    return np.broadcast_to(value, shape)


#: what NumPy has nothing for
UNREADABLE = re.compile(
    r" at \[|windows|fold|conv|pool|embed_diagonal|correlation|elu|hardtanh|_term|constant\("
)


# that a value is repeated is not written, so that the rank of what is summed cannot be told
@pytest.mark.parametrize("case", [c for c in SAMPLES if c.sample.name != "broadcast_to"], ids=str)
def test_text_is_the_value_in_numpy(case) -> None:
    """Text, line by line, is Python that NumPy computes the same of: of values and of gradients."""
    inputs = case.placeholders()
    node = case.sample.call(*inputs)
    roots = [node]
    if case.sample.differentiable:
        loss = sg.sum(node * sg.exp(node * 0.25))
        roots += sg.grad(loss, inputs, unused="zeros")
    arrays = dict(zip(inputs, case.arrays(), strict=True))
    values = {**FUNCTIONS, **{n.name: array for n, array in arrays.items()}}
    for root in roots:
        for equation in equations([root]):
            text = equation.text.partition(" = ")[2]
            if UNREADABLE.search(text):
                return
            values[equation.name] = eval(text, {}, values)
        expected = sg.evaluate(root, arrays)
        found = fitted(values[equation.name], expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
