"""Eager mode as a PyTorch user expects it: the tape, its errors, hooks, functions of one's own."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import eager


def test_graph_of_a_scalar() -> None:
    x = eager.tensor(1.0, requires_grad=True)
    y = x * 2
    z = y * y + 1
    z.backward()
    assert x.grad is not None and x.grad.item() == 8.0 and z.item() == 5.0
    multiply = z.grad_fn.next_functions[0][0]
    assert [z.grad_fn.name(), multiply.name()] == ["AddBackward", "MultiplyBackward"]
    end = multiply.next_functions[0][0].next_functions[0][0]
    assert end.name() == "AccumulateGrad" and end.variable is x
    assert x.is_leaf and not z.is_leaf and y.requires_grad


def test_gradients_accumulate() -> None:
    x = eager.tensor([1.0, 2.0], requires_grad=True)
    for _ in range(3):
        (x**2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 12.0])


def test_retained_graph() -> None:
    x = eager.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([1.0, 2.0]), rtol=1e-6)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.backward()


def test_backward_frees_what_was_saved() -> None:
    x = eager.tensor(np.ones(3), requires_grad=True)
    middle = x * 2.0
    loss = (middle * middle).sum()
    reference = weakref.ref(middle)
    del middle
    loss.backward()
    gc.collect()
    assert reference() is None


def test_second_derivative() -> None:
    x = eager.tensor([0.3, -0.7], dtype="float64", requires_grad=True)
    (first,) = eager.grad(sg.sin(x).sum(), x, create_graph=True)
    first.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), -np.sin([0.3, -0.7]), rtol=1e-14)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda x: (x * 2).backward(), "only for scalar outputs"),
        (lambda x: eager.ones(2).sum().backward(), "does not require grad"),
        (lambda x: (x * 2).backward(eager.ones(3)), "doesn't fit"),
        (lambda x: x.add_(1), "leaf tensor that requires grad"),
        (lambda x: x.numpy(), "detach"),
        (lambda x: bool(x), "ambiguous"),
        (lambda x: x.item(), "2 elements"),
        (lambda x: eager.tensor([1, 2], requires_grad=True), "floating point"),
        (lambda x: setattr(x * 2, "requires_grad", False), "leaf"),
        (lambda x: eager.grad(x.sum(), eager.ones(2, requires_grad=True)), "not have been used"),
        (lambda x: eager.grad(x.sum(), eager.ones(2)), "does not require grad"),
        (lambda x: setattr(x, "grad", eager.ones(3)), "assigned"),
    ],
)
def test_errors(action: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        action(eager.tensor([1.0, 2.0], requires_grad=True))


def test_tensor_and_placeholder_do_not_mix() -> None:
    with pytest.raises(sg.GraphTypeError, match="placeholder of a static graph"):
        eager.ones(3) + sg.placeholder("x", (3,))
    with pytest.raises(sg.GraphError, match="matmul"):
        eager.ones(3, 2) @ eager.ones(3, 2)


def test_change_reuse_what_is_needed() -> None:
    x = eager.tensor([1.0, 2.0], requires_grad=True)
    y = x.exp()
    y += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_change_reuse_what_is_not_needed() -> None:
    x = eager.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y += 1
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [3.0, 3.0])
    a = eager.tensor([1.0, 2.0], requires_grad=True)
    b = a * 1
    b[0] = 7.0
    (b * b).sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [0.0, 4.0])


def test_views_share_memory_and_its_history() -> None:
    base = eager.zeros(2, 3)
    base.view(3, 2)[0, 0] = 5.0
    assert base[0, 0].item() == 5.0
    x = eager.tensor([2.0, 3.0], requires_grad=True)
    plain = eager.tensor([1.0, 1.0])
    y = (x * plain).sum()
    plain.view(2, 1)[0, 0] = 9.0
    with pytest.raises(RuntimeError, match="inplace"):
        y.backward()


def test_no_grad() -> None:
    x = eager.tensor([1.0], requires_grad=True)
    with eager.no_grad():
        assert not eager.is_grad_enabled() and not (x * 2).requires_grad
        x -= 0.5
        with eager.enable_grad():
            assert (x * 2).requires_grad
    assert eager.is_grad_enabled() and x.item() == 0.5

    @eager.no_grad()
    def inside() -> eager.Tensor:
        return x * 2

    assert not inside().requires_grad


def test_hooks() -> None:
    x = eager.tensor([1.0, 2.0], requires_grad=True)
    seen: list[Any] = []
    y = x * 2
    y.retain_grad()
    handle = y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: seen.append(g.numpy().copy()))
    (y * y).sum().backward(retain_graph=True)
    np.testing.assert_array_equal(seen[0], [80.0, 160.0])
    handle.remove()
    x.grad = None
    (y * y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [8.0, 16.0])


class Cube(eager.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scale * x * x * x

    @staticmethod
    def backward(ctx: Any, adjoint: Any) -> Any:
        (x,) = ctx.saved_tensors
        return adjoint * ctx.scale * 3 * x * x, None


class Both(eager.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = sg.exp(x)
        ctx.save_for_backward(y)
        return y, y * 2.0

    @staticmethod
    def backward(ctx: Any, first: Any, second: Any) -> Any:
        (y,) = ctx.saved_tensors
        return (first + 2.0 * second) * y


@sg.custom_gradient
def straight_through(x: Any) -> Any:
    return sg.sign(x), lambda adjoint: adjoint * 5.0


CUSTOM: dict[str, tuple[Any, Any]] = {
    "Function": (lambda x: Cube.apply(x, 2.0), lambda a: 6 * a * a),
    "two results": (lambda x: sg.add(*Both.apply(x)), lambda a: 3 * np.exp(a)),
    "custom_gradient": (straight_through, lambda a: np.full_like(a, 5.0)),
}


@pytest.mark.parametrize("name", CUSTOM)
def test_derivative_of_ones_own_in_both_modes(name: str) -> None:
    function, slope = CUSTOM[name]
    array = np.array([0.5, -1.5, 2.0])
    x = eager.tensor(array, requires_grad=True)
    (g,) = eager.grad(function(x).sum(), x, create_graph=True)
    np.testing.assert_allclose(g.detach().numpy(), slope(array), rtol=1e-14)
    p = sg.placeholder("p", (3,), "float64")
    node = sg.grad(function(p).sum(), p)
    np.testing.assert_allclose(sg.compile(p, node)(array), slope(array), rtol=1e-14)
    if name != "custom_gradient":
        (h,) = eager.grad(g.sum(), x)
        second = sg.compile(p, sg.grad(node.sum(), p))(array)
        np.testing.assert_allclose(second, h.numpy(), rtol=1e-14)


def test_custom_gradients_that_do_not_fit() -> None:
    p = sg.placeholder("p", (3,))

    @sg.custom_gradient
    def wrong_shape(x: Any) -> Any:
        return x * 2, lambda adjoint: adjoint[:2]

    @sg.custom_gradient
    def wrong_count(x: Any, y: Any) -> Any:
        return x * y, lambda adjoint: adjoint

    @sg.custom_gradient
    def no_pullback(x: Any) -> Any:
        return x * 2

    with pytest.raises(sg.GraphError, match="wrong_shape gave an adjoint"):
        sg.grad(wrong_shape(p).sum(), p)
    with pytest.raises(sg.GraphError, match="1 adjoints for 2 arguments"):
        sg.grad(wrong_count(p, p).sum(), p)
    with pytest.raises(sg.GraphTypeError, match="its result and its pullback"):
        no_pullback(p)


def test_parameters_are_shared_between_modes() -> None:
    W = sg.parameter(np.arange(3.0), name="W")
    loss = (eager.tensor([1.0, 2.0, 3.0], dtype="float64") * W).sum() + (W * W).sum()
    loss.backward()
    np.testing.assert_array_equal(W.grad.numpy(), [1.0, 4.0, 7.0])
    W.data[0] = 10.0
    assert W.value[0] == 10.0
    x = sg.placeholder("x", (3,), "float64")
    assert sg.compile(x, (W * x).sum())(np.ones(3)) == 13.0


def test_creation() -> None:
    assert repr(eager.zeros(2, 2)) == "tensor([[0., 0.],\n        [0., 0.]])"
    assert repr(eager.tensor([1.5, 2.0], dtype="float64")) == "tensor([1.5000, 2.0000], dtype=float64)"
    assert repr(eager.tensor(1.0, requires_grad=True) * 2) == "tensor(2., grad_fn=<MultiplyBackward>)"
    assert eager.arange(5).dtype == np.int64 and eager.arange(0, 1, 0.25).shape == (4,)
    assert eager.full((2, 3), 7).dtype == np.int64 and eager.eye(3).sum().item() == 3
    assert eager.linspace(-2, 2, 5).tolist() == [-2.0, -1.0, 0.0, 1.0, 2.0]
    array = np.zeros(3, "float32")
    eager.from_numpy(array)[1] = 4.0
    assert array[1] == 4.0
    eager.manual_seed(5)
    first = [eager.rand(2, 3).numpy(), eager.randn((4,)).numpy(), eager.randint(0, 9, (5,)).numpy()]
    eager.manual_seed(5)
    again = [eager.rand(2, 3).numpy(), eager.randn((4,)).numpy(), eager.randint(0, 9, (5,)).numpy()]
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_methods_with_torchs_names() -> None:
    x = eager.arange(6, dtype="float32").view(2, 3)
    assert x.sum(dim=1, keepdim=True).shape == (2, 1) and x.mean(dim=0).tolist() == [1.5, 2.5, 3.5]
    assert x.t().shape == (3, 2) and x.size() == (2, 3) and x.size(0) == 2 and x.numel() == 6
    assert x.pow(2).sum().item() == 55.0 and x.unsqueeze(0).shape == (1, 2, 3)
    assert x.clamp(1, 3).max().item() == 3.0 and x.transpose(0, 1).shape == (3, 2)
    assert x.expand(4, -1, -1).shape == (4, 2, 3) and x.norm().item() == pytest.approx(55**0.5)
    assert float(x[0, 1]) == 1.0 and f"{x[0, 1]:.2f}" == "1.00" and len(x) == 2
    assert (x > 2).any().item() and not (x > 2).all().item()
    y = x.clone()
    y.zero_().fill_(3).copy_(x).mul_(2)
    assert y.tolist() == (x * 2).tolist()
