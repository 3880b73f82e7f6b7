"""Guesses that go wrong: nothing is done silently, and each message tells what to write instead."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import eager, nn, optim

x = sg.placeholder("x", ("batch", 4))
m = sg.placeholder("m", (3, 2))
s = sg.placeholder("s", ())
W = sg.parameter(np.ones((4, 2), "float32"), name="W")
w = sg.parameter(0.5, name="w")
A = np.linspace(-1.0, 1.0, 6, dtype="float32").reshape(3, 2)
tensor = eager.tensor(A, requires_grad=True)

UFUNCS = {name: item for name, item in vars(np).items() if isinstance(item, np.ufunc)}
OPERATORS = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
    operator.pow, operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne,
]  # fmt: skip


@pytest.mark.parametrize("apply", OPERATORS, ids=lambda item: item.__name__)
@pytest.mark.parametrize("left", [A + 2, np.float32(1.5), np.float64(1.5)], ids=["array", "f4", "f8"])
def test_an_array_on_the_left_of_an_operator(apply: Callable[..., Any], left: Any) -> None:
    value = A + 1.25
    node = apply(left, m)
    assert isinstance(node, sg.Node)
    expected = apply(left, value)
    got = sg.evaluate(node, {m: value})
    assert got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    of_tensor = apply(left, eager.tensor(value))
    assert isinstance(of_tensor, eager.Tensor)
    np.testing.assert_allclose(of_tensor.numpy(), expected, rtol=1e-6)


def test_a_matrix_and_conditions_on_the_left() -> None:
    value = A.T.copy()
    n = sg.placeholder("n", (2, 3))
    np.testing.assert_allclose(sg.evaluate(A @ n, {n: value}), A @ value, rtol=1e-6)
    for apply in (operator.and_, operator.or_, operator.xor):
        node = apply(A > 0, m > 0.5)
        np.testing.assert_array_equal(sg.evaluate(node, {m: A}), apply(A > 0, A > 0.5))
    total: Any = A.copy()
    total += m
    np.testing.assert_allclose(sg.evaluate(total, {m: A}), 2 * A)


@pytest.mark.parametrize("name", UFUNCS)
def test_numpys_functions_of_elements(name: str) -> None:
    """A node where an operator would give one, else an error that names the function: never an array
    of objects."""
    ufunc = UFUNCS[name]
    for argument in (m, m > 0, tensor, W):
        try:
            result = ufunc(*[argument] * ufunc.nin)
        except sg.GraphError:
            pass  # as the operator says: no logical operations on numbers, for one
        except TypeError as error:
            assert f"np.{ufunc.__name__}" in str(error) and "array" in str(error)
        else:
            assert isinstance(result, sg.Node)


NUMPY: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "exp": (lambda: np.exp(x), ["np.exp", "<x: float32(batch, 4)>", "use sg.exp"]),
    "other name": (lambda: np.arctan2(m, m), ["np.arctan2", "use sg.atan2"]),
    "none here": (lambda: np.cbrt(m), ["np.cbrt", "no function of that name"]),
    "with a number": (lambda: np.maximum(x, 0), ["np.maximum", "<x: ", "use sg.maximum"]),
    "reduce": (lambda: np.add.reduce(m), ["np.add.reduce", "use sg.sum"]),
    "out": (lambda: np.multiply(m, 2.0, out=A), ["np.multiply", "use sg.multiply"]),
    "sum": (lambda: np.sum(x), ["np.sum", "<x: ", "use sg.sum"]),
    "dot": (lambda: np.dot(A.T, m), ["np.dot", "<m: ", "use sg.matmul"]),
    "concatenate": (lambda: np.concatenate([A, m]), ["<m: ", "use sg.concat"]),
    "where": (lambda: np.where(A > 0, A, m), ["<m: ", "use sg.where"]),
    "norm": (lambda: np.linalg.norm(m), ["np.linalg.norm", "use sg.norm"]),
    "array": (lambda: np.array(m), ["<m: ", "not an array", "sg.compile", "sg.evaluate"]),
    "arrays": (lambda: np.asarray([m, m]), ["<m: ", "not an array"]),
    "number": (lambda: np.float32(s), ["<s: ", "not an array"]),
    "tensor": (lambda: np.exp(tensor), ["eager tensor", "sg.exp", "detach().numpy()"]),
    "parameter": (lambda: np.exp(W), ["parameter", "sg.exp", "W.value"]),
    "math": (lambda: math.exp(s), ["<s: ", "not a number", "sg.exp"]),
    "float": (lambda: float(s), ["<s: ", "not a number", "sg.compile"]),
    "index": (lambda: range(s), ["<s: ", "not a number"]),
    "parameter as number": (lambda: float(w), ["w", "float(w.value)"]),
    "truth": (lambda: 1 if x else 0, ["<x: ", "sg.where"]),
    "length": (lambda: len(x), ["<x: ", "only at the call"]),
    "length of a scalar": (lambda: len(s), ["<s: ", "no axes"]),
    "iteration": (lambda: list(x), ["<x: ", "iterated", "batch", "sg.sum"]),
    "iteration over a scalar": (lambda: list(s), ["<s: ", "iterated", "no axes"]),
    "unpacking": (lambda: [*x], ["<x: ", "iterated"]),
    "item assignment": (lambda: operator.setitem(m, 0, 1.0), ["<m: ", "do not change", "sg.where"]),
    "item of a parameter": (lambda: operator.setitem(W, 0, 1.0), ["W.value[...]", "updates"]),
    "parameter in place": (lambda: operator.isub(W, 0.1), ["W.value[...]", "updates={W: "]),
}  # fmt: skip


def refused(kind: type[Exception], call: Callable[[], Any], words: Iterable[str]) -> Exception:
    """The error that a call raises, which says these words."""
    with pytest.raises(kind) as raised:
        call()
    for word in words:
        assert word in str(raised.value)
    return raised.value


@pytest.mark.parametrize("name", NUMPY)
def test_nodes_are_no_arrays(name: str) -> None:
    call, words = NUMPY[name]
    refused(TypeError, call, words)


def test_parameters_and_tensors_are_arrays_for_numpys_functions() -> None:
    plain = eager.tensor(A)
    assert np.sum(W) == 8 and type(np.sum(W)) is np.float32
    np.testing.assert_array_equal(np.concatenate([A, plain]), np.concatenate([A, A]))
    np.testing.assert_array_equal(np.copy(plain), A)
    assert np.allclose(W, 1) and np.shape(x) == x.shape and np.ndim(m) == 2 and np.size(m) == 6
    with pytest.raises(RuntimeError, match="detach"):
        np.mean(tensor)


ATTRIBUTES: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "backward": (lambda: (x @ W).backward(), ["sg.grad", "sg.train_step"]),
    "grad": (lambda: x.grad, ["<x: ", "sg.grad"]),
    "item": (lambda: s.item(), ["<s: ", "sg.compile", "sg.evaluate"]),
    "item of a parameter": (lambda: w.item(), ["w.value"]),
    "function": (lambda: x.exp(), ["<x: ", "use sg.exp"]),
    "other name": (lambda: x.unsqueeze(0), ["use sg.expand_dims"]),
    "detach": (lambda: x.detach(), ["use sg.stop_gradient"]),
    "device": (lambda: x.cuda(), ["CPU"]),
    "nothing like it": (lambda: x.qwertz, ["'Node' object has no attribute 'qwertz'"]),
    "of a tensor": (lambda: tensor.cuda(), ["CPU"]),
    "sg": (lambda: sg.sigmiod, ["'staticgrad' has no attribute 'sigmiod'", "mean sigmoid?"]),
    "sg, of numpy": (lambda: sg.concatenate, ["it is called concat"]),
    "sg, of nn": (lambda: sg.Linear, ["it is nn.Linear"]),
    "sg, of optim": (lambda: sg.Adam, ["it is optim.Adam"]),
    "sg, of eager": (lambda: sg.zeros, ["it is eager.zeros"]),
    "sg, of others": (lambda: sg.tensor, ["sg.placeholder", "eager.tensor"]),
    "sg, jit": (lambda: sg.jit, ["sg.compile"]),
    "nn": (lambda: nn.Relu, ["did you mean ReLU?"]),
    "nn, of functional": (lambda: nn.hardtanh, ["it is nn.functional.hardtanh"]),
    "functional": (lambda: nn.functional.sotfmax, ["did you mean softmax?"]),
    "init": (lambda: nn.init.xavier_unifrom_, ["did you mean xavier_uniform_?"]),
    "optim": (lambda: optim.ADAM, ["did you mean Adam?"]),
    "optim, of lr_scheduler": (lambda: optim.StepLR, ["it is optim.lr_scheduler.StepLR"]),
    "lr_scheduler": (lambda: optim.lr_scheduler.CosineLR, ["'CosineLR'"]),
    "eager": (lambda: eager.Tensr, ["did you mean Tensor?"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_names_that_there_are_not(name: str) -> None:
    call, words = ATTRIBUTES[name]
    refused(AttributeError, call, words)


def test_what_is_asked_for_by_machines_gets_a_plain_answer() -> None:
    assert not hasattr(x, "__array_interface__") and not hasattr(sg, "__path_of_nothing__")
    assert not hasattr(x, "_ipython_display_") and not hasattr(x, "exp") and not hasattr(x, "value")
    assert "exp" not in dir(x) and "exp" in dir(tensor) and "value" in dir(W)
    assert "sum" in dir(x) and not hasattr(sg.Node, "backward")


net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1))
optimizer = optim.SGD(net.parameters(), lr=0.1)
loss = sg.mean((x @ W) ** 2)
hidden = sg.tanh(x @ W)
whole = sg.placeholder("whole", (3, 5), "int64")


def fitted(**options: Any) -> Any:
    step = sg.train_step(x, sg.mean(net(x)), optimizer, name="step")
    return step.fit(np.ones((6, 4), "float32"), **options)


MODULES_AND_GRADIENTS: dict[str, tuple[Callable[[], Any], type[Exception], list[str]]] = {
    "grad by optimizer": (
        lambda: sg.grad(loss, optimizer), sg.GraphTypeError,
        ["optimizer SGD", "list(model.parameters())", "sg.train_step", "test_misuse.py"],
    ),
    "grad by module": (
        lambda: sg.grad(loss, net), sg.GraphTypeError,
        ["module Sequential", "list(model.parameters())"],
    ),
    "grad by none": (lambda: sg.grad(loss, None), sg.GraphTypeError, ["NoneType None"]),
    "grad by name": (lambda: sg.grad(loss, "W"), sg.GraphTypeError, ["str 'W'"]),
    "grad of a function": (
        lambda: sg.grad(lambda v: v, W), sg.GraphTypeError, ["call it with placeholders"],
    ),
    "grad of a tensor": (
        lambda: sg.grad(tensor.sum(), tensor), sg.GraphTypeError,
        ["eager tensor of float32()", "loss.backward()", "eager.grad"],
    ),
    "value_and_grad": (
        lambda: sg.value_and_grad(loss, net), sg.GraphTypeError, ["list(model.parameters())"],
    ),
    "module on an array": (
        lambda: net(np.ones((2, 4), "float32")), TypeError,
        ["Sequential", "float32(2, 4)", "sg.placeholder('x', ('batch', 4), 'float32')",
         "sg.eager.tensor", "sg.constant"],
    ),
    "module on a list": (lambda: net([[1.0, 2.0, 3.0, 4.0]]), TypeError, ["[[1.0, 2.0", "sg.eager"]),
    "module on an option": (
        lambda: nn.MSELoss()(prediction=np.ones(3), target=np.ones(3)), TypeError, ["MSELoss", "(3,)"],
    ),
    "update's shape": (
        lambda: sg.compile(x, loss, updates={W: 3}), sg.GraphError,
        ["<W: float32(4, 2)>", "int 3", "shape ()", "sg.broadcast_to(value, (4, 2))"],
    ),
    "update's kind": (
        lambda: sg.compile(x, loss, updates={W: "a"}), sg.GraphTypeError, ["<W: ", "str 'a'"],
    ),
    "update's dtype": (
        lambda: sg.compile(x, loss, updates={W: np.ones((4, 2))}), sg.GraphTypeError,
        ["<W: ", "array of float64(4, 2)", "sg.astype(value, 'float32')"],
    ),
    "output": (lambda: sg.compile(x, {"loss": loss}), sg.GraphTypeError, ["str 'loss'"]),
    "matmul after a cast": (
        lambda: hidden @ whole, sg.GraphError,
        ["matmul(hidden: float32(batch, 2), whole: int64(3, 5))", "2 and 3 differ"],
    ),
    "sum after a cast": (
        lambda: whole + hidden, sg.GraphError, ["add(whole: int64(3, 5), hidden: float32(batch, 2))"],
    ),
    "on the way": (
        lambda: sg.tanh(hidden) @ whole, sg.GraphError,
        ["matmul(float32(batch, 2), whole: int64(3, 5))"],
    ),
    "text": (lambda: sg.exp("a"), sg.GraphTypeError, ["expected a node", "str 'a'"]),
    "nothing": (lambda: x + None, sg.GraphTypeError, ["expected a node", "NoneType None"]),
    "a dot in a name": (
        lambda: nn.Sequential({"a.b": nn.ReLU()}), ValueError, ["no dot", "'a.b'"],
    ),
    "a dot in a ModuleDict": (
        lambda: nn.ModuleDict({"a.b": nn.ReLU()}), ValueError, ["without dots", "'a.b'"],
    ),
    "list in a Sequential": (
        lambda: nn.Sequential([nn.ReLU(), nn.ReLU()]), TypeError, ["list", "Sequential(*modules)"],
    ),
    "class in a Sequential": (lambda: nn.Sequential(nn.ReLU), TypeError, ["ReLU(...)"]),
    "function in a Sequential": (
        lambda: nn.Sequential(nn.Linear(4, 3), sg.relu), TypeError, ["'1'", "activations are modules"],
    ),
    "function in a ModuleDict": (lambda: nn.ModuleDict({"f": sg.relu}), TypeError, ["'f'"]),
    "module as a list": (lambda: nn.ModuleList(nn.ReLU()), TypeError, ["list of modules", "ReLU"]),
    "assigned to a place": (
        lambda: operator.setitem(nn.Sequential(nn.ReLU()), 0, 3), TypeError, ["int 3", "'0'"],
    ),
    "optimizer of a module": (lambda: optim.SGD(net), TypeError, ["Sequential", "model.parameters()"]),
    "optimizer of names": (
        lambda: optim.Adam(net.named_parameters()), TypeError, ["'0.weight'", "without their names"],
    ),
    "optimizer of arrays": (
        lambda: optim.SGD([W.value]), TypeError, ["array of float32(4, 2)", "not its array"],
    ),
    "parameter of a node": (lambda: sg.parameter(x), sg.GraphTypeError, ["<x: ", "array"]),
    "parameter's dtype": (
        lambda: sg.parameter(np.zeros(3), "w", (3,)), sg.GraphTypeError, ["(3,)", "dtype"],
    ),
    "evaluate by name": (
        lambda: sg.evaluate(loss, {"x": A}), sg.GraphTypeError, ["{x: array}", "str 'x'"],
    ),
    "evaluate an array": (lambda: sg.evaluate([A]), sg.GraphTypeError, ["array of float32(3, 2)"]),
    "list of nodes": (lambda: sg.sum([x, x]), sg.GraphTypeError, ["list of nodes", "sg.stack"]),
    "constant of text": (lambda: sg.constant("a"), sg.GraphTypeError, ["array or a number", "str 'a'"]),
    "tensor as output": (lambda: sg.compile([x], tensor), sg.GraphTypeError, ["eager tensor"]),
    "digits of a node": (lambda: f"{loss:.3f}", TypeError, ["<loss: float32()>", "sg.compile"]),
    "axis of a tensor": (lambda: tensor.transpose(0, 5), IndexError, ["axis 5", "2 axes"]),
    "state that is a file": (lambda: net.load_state_dict("a.pt"), TypeError, ["mapping", "str 'a.pt'"]),
    "one beta": (lambda: optim.Adam([W], betas=0.9), ValueError, ["pair", "0.9"]),
    "schedule of a module": (
        lambda: optim.lr_scheduler.StepLR(net, 3), TypeError, ["optimizer", "Sequential"],
    ),
    "validation of one array": (
        lambda: fitted(validation=A), TypeError, ["validation=(x, y)", "float32(3, 2)"],
    ),
    "class of a schedule": (
        lambda: fitted(scheduler=optim.lr_scheduler.StepLR), TypeError, ["StepLR(optimizer, 10)"],
    ),
    "callback": (lambda: fitted(callback=3), TypeError, ["callback", "int 3"]),
    "loss that is a function": (
        lambda: sg.train_step(x, lambda q: q, optimizer), sg.GraphTypeError,
        ["loss must be a node", "function"],
    ),
    "loss first": (
        lambda: sg.train_step(m, [x], optimizer), sg.GraphTypeError,
        ["train_step(inputs, loss, optimizer)"],
    ),
    "updates by a list": (
        lambda: sg.compile([x], m, updates=[W]), sg.GraphTypeError, ["dictionary", "W: W - 0.1 * dW"],
    ),
    "updates by an optimizer": (
        lambda: sg.compile([x], m, updates=optimizer), sg.GraphTypeError, ["sg.train_step"],
    ),
    "a function compiled": (
        lambda: sg.compile(lambda q: q), sg.GraphTypeError, ["inputs must be nodes", "function"],
    ),
    "show": (lambda: sg.show(3), TypeError, ["show", "int 3"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES_AND_GRADIENTS)
def test_what_a_function_cannot_take(name: str) -> None:
    call, kind, words = MODULES_AND_GRADIENTS[name]
    assert type(refused(kind, call, words)) is kind


def test_arrays_beside_nodes_are_constants() -> None:
    assert isinstance(nn.MSELoss()(m, A), sg.Node)
    assert isinstance(nn.MSELoss()(A, m), sg.Node)
    table = nn.ModuleDict([("one", nn.Embedding(5, 2)), ("two", nn.ReLU())])
    assert list(table) == ["one", "two"]
    assert table["one"](sg.constant(np.arange(3))).shape == (3, 2)


def test_attributes_of_modules() -> None:
    with pytest.raises(AttributeError, match=r"Linear .* 'wieght'; did you mean weight\?"):
        nn.Linear(4, 3).wieght  # noqa: B018
    with pytest.raises(AttributeError, match="CPU"):
        net.to("cuda")
    assert not hasattr(net, "_nothing")
