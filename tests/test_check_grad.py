"""``check_grad``: right gradients pass, wrong ones are found, and it says which."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from cases import Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st

import staticgrad as sg
from staticgrad import eager, nn, optim
from staticgrad.checking.differences import derivative

EXACT = [case for case in cases(differentiable=True) if case.dtype == "float64"]


def declared(case: Case) -> tuple[sg.Node, dict[sg.Node, np.ndarray]]:
    inputs = case.placeholders()
    return case.sample.call(*inputs), dict(zip(inputs, case.arrays(), strict=True))


def spoiled(error: np.ndarray) -> Any:
    """The identity, with a derivative that is wrong by a relative error for each element."""

    @sg.custom_gradient
    def identity(v: Any) -> Any:
        return v, lambda adjoint: adjoint * (1 + error)

    return identity


def found(*arguments: Any, **options: Any) -> sg.GradientError:
    with pytest.raises(sg.GradientError) as caught:
        sg.check_grad(*arguments, **options)
    return caught.value


# ---- right and wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize("case", EXACT, ids=str)
def test_the_gradients_of_all_ops_pass(case: Case) -> None:
    output, values = declared(case)
    for order in (1, 2):
        report = sg.check_grad(output, values, order=order, entries=16)
        assert report and report.order == order
        assert max(variable.worst for variable in report.variables) < 1e-8
        assert not any(variable.undecided for variable in report.variables)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_small_error_in_one_element_is_found(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(EXACT))
    number = data.draw(st.integers(0, len(case.sample.shapes) - 1))
    size = data.draw(st.sampled_from([1e-4, -1e-4, 0.5, 1e-3]))
    arrays, inputs = case.arrays(), case.placeholders()
    position = tuple(data.draw(st.integers(0, dim - 1)) for dim in arrays[number].shape)
    error = np.zeros(arrays[number].shape)
    error[position] = size
    passed = [spoiled(error)(x) if k == number else x for k, x in enumerate(inputs)]
    values = dict(zip(inputs, arrays, strict=True))
    report = sg.check_grad(
        case.sample.call(*passed), values, raise_exception=False, entries=10_000
    )
    output = sg.sum(case.sample.call(*inputs) * 1.0)
    slope = sg.evaluate(sg.grad(output, inputs[number], unused="zeros"), values)
    if abs(slope[position]) > 1e-2 * np.abs(slope).max() + 1e-6:
        # the weights of a sum may cancel what others leave, if rarely
        wrong = [item for item in report.wrong if item.variable == inputs[number].name]
        assert [item.position for item in wrong] == [position]
        assert wrong[0].relative == pytest.approx(abs(size) / max(1, 1 + size), rel=1e-2)
    else:
        assert all(item.position == position for item in report.wrong)


def test_the_message() -> None:
    x = sg.placeholder("x", (3, 2), "float64")
    loss = sg.sum(spoiled(np.array([[0, 0], [0, 1e-3], [0, 0]]))(x) ** 2)
    error = found(loss, {"x": np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])})
    assert isinstance(error, AssertionError) and not error.report
    (wrong,) = error.report.wrong
    assert (wrong.variable, wrong.position, wrong.label) == ("x", (1, 1), "x[1, 1]")
    assert wrong.numeric == pytest.approx(8) and wrong.analytic == pytest.approx(8.008)
    head, first, second, third, variable = str(error).splitlines()
    assert head == "loss: the gradient with respect to x[1, 1] is wrong"
    assert first == "  gradient          8.008" and second.startswith("  finite difference 8")
    assert third == "  difference        0.001 of it; allowed are 1e-06"
    assert variable == "  x (3, 2): all 6 elements, 1 wrong, largest difference 0.001"
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) and again.report == error.report
    assert not sg.check_grad(loss, {"x": np.ones((3, 2))}, raise_exception=False)
    assert sg.check_grad(loss, {"x": np.ones((3, 2))}, rtol=1e-2)


def test_a_wrong_second_derivative() -> None:
    @sg.custom_gradient
    def cube(v: Any) -> Any:
        # the derivative is right, its own is not
        return v**3, lambda adjoint: adjoint * 3 * sg.stop_gradient(v) ** 2

    x = np.array([1.0, 2.0])
    assert sg.check_grad(cube, x)
    held = sg.check_grad(cube, x, order=2, raise_exception=False)
    assert held  # what is held constant is so for the differences too

    @sg.custom_gradient
    def square(v: Any) -> Any:
        return v**2, lambda adjoint: adjoint * 2 * spoiled(np.array([0.0, 1e-3]))(v)

    assert sg.check_grad(square, x)
    error = found(square, x, order=2)
    assert str(error).startswith("square: the second derivative with respect to v[1] is wrong")


def test_elements_at_random_and_the_slope_along_a_direction() -> None:
    x = sg.placeholder("x", (50, 40), "float64")
    report = sg.check_grad(sg.sum(sg.tanh(x)), entries=8)
    assert report.variables[0].checked == 8 and "8 of 2000 elements" in str(report)
    error = found(sg.sum(spoiled(np.full((50, 40), 0.01))(x)), entries=4)
    assert {item.position is None for item in error.report.wrong} == {True, False}
    assert "x along a random direction" in {item.label for item in error.report.wrong}


# ---- kinks, integers, constants ------------------------------------------------------------------


def test_kinks_are_told() -> None:
    x = np.array([0.0, 1.0, -2.0])
    for function, left, right, slope in ((sg.relu, 0, 1, 0), (sg.abs, -1, 1, 0)):
        report = sg.check_grad(lambda v, f=function: sg.sum(f(v)), x)
        (kink,) = report.variables[0].kinks
        assert kink.position == (0,) and kink.analytic == slope
        assert (kink.left, kink.right) == (pytest.approx(left), pytest.approx(right))
    assert "slope -1 on the left, 1 on the right, its gradient is 0" in str(report)
    error = found(lambda v: sg.sum(sg.relu(v)), x, allow_kinks=False)
    assert "this is a kink: slope 0 on the left, 1 on the right" in str(error)

    @sg.custom_gradient
    def steep(v: Any) -> Any:
        return sg.relu(v), lambda adjoint: adjoint * sg.where(v >= 0, sg.where(v > 0, 1.0, 1.5), 0.0)

    (wrong,) = found(steep, x).report.wrong
    assert wrong.position == (0,) and wrong.analytic == pytest.approx(1.5, rel=0.6)
    (jump,) = sg.check_grad(lambda v: sg.sum(sg.floor(v)), x[:1] + 0.5).variables
    assert not jump.kinks
    (jump,) = sg.check_grad(lambda v: sg.sum(sg.floor(v)), x[:1]).variables
    assert jump.kinks[0].right == np.inf


def test_a_kink_close_by_is_not_taken_for_one() -> None:
    x = np.array([1e-5, -3e-7, 2e-4])
    (report,) = sg.check_grad(lambda v: sg.sum(sg.abs(v) + sg.maximum(v, 2 * v)), x).variables
    assert not report.kinks and report.worst < 1e-6


def test_many_kinks_close_by() -> None:
    # one within each power of ten of the point: whatever the step, some lie inside of it
    places = np.concatenate([10.0 ** -np.arange(1, 12), -(10.0 ** -np.arange(1, 12)) / 3])

    def bent(v: Any) -> Any:
        return sg.sum(sg.relu(v - places)) + 5.0 * v

    (report,) = sg.check_grad(bent, np.array(1e-13)).variables
    assert report.checked == 1
    for place in places:
        one = np.array([place])
        report = sg.check_grad(lambda v, p=one: 5.0 * v + sg.relu(v - p), np.array([0.0]))
        # what is closer than the nearest look at both sides cannot be told from a kink at the point
        assert len(report.variables[0].kinks) == (abs(place) < 1e-6)


@pytest.mark.parametrize("function", [sg.log, sg.sqrt, lambda v: 1 / v, lambda v: v**1.5])
def test_the_end_of_the_domain(function: Any) -> None:
    numbers = np.array([1e-6, 3e-4, 0.1, 5.0, 1e6])
    for number in numbers:
        x = np.array([number])
        assert not sg.check_grad(function, x).variables[0].undecided
        assert found(lambda v: function(spoiled(np.full(1, 1e-4))(v)), x)
    # beside others that are a billion times larger, what cannot be told is not told
    report = sg.check_grad(lambda v: sg.sum(function(v)), numbers)
    assert report.variables[0].checked == 5


def test_named_dimensions_integers_and_values() -> None:
    x, y = sg.placeholder("x", ("batch", 2 * 3)), sg.placeholder("y", ("batch",), "int64")
    loss = sg.cross_entropy(x[:, :4], y)
    report = sg.check_grad(loss)
    assert [variable.name for variable in report.variables] == ["x"]
    assert sg.check_grad(loss, {x: np.ones((2, 6)), "y": np.array([3, 0])})
    with pytest.raises(IndexError, match="out of range"):
        sg.check_grad(loss, {"y": np.array([4, 0])})
    with pytest.raises(ValueError, match=r"x was declared as float32\(batch, 6\)"):
        sg.check_grad(loss, {"x": np.ones((2, 5))})
    with pytest.raises(sg.GraphError, match="'z' is none of the inputs of this graph: x, y"):
        sg.check_grad(loss, {"z": 1.0})


def test_what_is_held_constant_and_what_is_not_reached() -> None:
    x = np.array([0.5, 2.0])
    assert sg.check_grad(lambda v: sg.sum(v * sg.stop_gradient(v)), x)
    assert sg.check_grad(lambda a, b: sg.sum(a * a), (x, x)).variables[1].worst == 0

    @sg.custom_gradient
    def straight_through(v: Any) -> Any:
        return sg.tanh(v), lambda adjoint: adjoint

    assert "straight_through" in str(found(straight_through, x))


def test_random_inputs_within_the_domain() -> None:
    x = sg.placeholder("x", (4,))
    assert sg.check_grad(sg.sum(sg.log(x)))
    with pytest.raises(sg.GraphError, match=r"is nan at the inputs.*inputs="):
        sg.check_grad(sg.sum(sg.log(-1.0 - sg.abs(x))))


# ---- modules, tensors, compiled functions --------------------------------------------------------


def classifier() -> tuple[nn.Module, sg.Node, sg.Node, sg.Node]:
    sg.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Dropout(0.3), nn.Linear(4, 2))
    x, y = sg.placeholder("x", ("batch", 3)), sg.placeholder("y", ("batch",), "int64")
    return net, x, y, sg.cross_entropy(net(x), y)


def test_a_model_with_float32_parameters_and_random_numbers() -> None:
    net, x, _, loss = classifier()
    before = [parameter.value.copy() for parameter in net.parameters()]
    for order in (1, 2):
        report = sg.check_grad(loss, order=order)
        assert len(report.variables) == 1 + len(before)
    assert len(sg.check_grad(loss, wrt=x).variables) == 1
    for parameter, value in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_functions_of_tensors() -> None:
    a = eager.tensor(np.random.default_rng(0).standard_normal((3, 4)))
    b = eager.tensor(np.random.default_rng(1).standard_normal((4, 2)), requires_grad=True)

    def both(first: Any, second: Any) -> Any:
        product = first @ second
        # a choice that only a tensor allows
        return (sg.tanh(product), second * 2) if product.sum().item() < 1e9 else product

    for order in (1, 2):
        report = sg.check_grad(both, (a, b), order=order)
        assert [variable.name for variable in report.variables] == ["second"]

    class Exponential(eager.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return sg.exp(x)

        @staticmethod
        def backward(ctx: Any, adjoint: Any) -> Any:
            (x,) = ctx.saved_tensors
            return adjoint * sg.exp(x) * 1.0002

    assert "Exponential: the gradient with respect to input_0[" in str(
        found(Exponential.apply, eager.tensor([1.0, 2.0]))
    )
    assert found(Exponential.apply, np.array([1.0, 2.0]))
    with pytest.raises(sg.GraphError, match="another value when it is called again"):
        sg.check_grad(nn.Dropout(0.5), eager.tensor(np.ones(50)))
    with pytest.raises(sg.GraphTypeError, match="must give tensors of float64"):
        sg.check_grad(lambda t: t.astype("float32"), eager.tensor([1.0]))
    with pytest.raises(sg.GraphTypeError, match="no tensor of floats"):
        sg.check_grad(lambda t: t * 1.0, eager.tensor([1, 2]))


def test_compiled_functions_by_what_their_code_computes() -> None:
    net, x, y, loss = classifier()
    parameters = list(net.parameters())
    slopes = sg.grad(loss, parameters)
    X = np.random.default_rng(0).standard_normal((5, 3)).astype("float32")
    Y = np.arange(5) % 2
    function = sg.compile([x, y], [loss, *slopes], name="loss_and_slopes")
    before = [parameter.value.copy() for parameter in parameters]
    report = sg.check_grad(function, (X, Y))
    assert report.tolerance == 1e-3 and len(report.variables) == len(parameters)
    assert 0 < max(variable.worst for variable in report.variables) < 1e-4
    wrong = sg.compile([x, y], [loss, slopes[0], slopes[1] * 1.01], name="wrong")
    error = found(wrong, (X, Y), wrt=parameters[:2])
    assert str(error).startswith("wrong: the gradient with respect to linear0_bias[")
    for parameter, value in zip(parameters, before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)
    with pytest.raises(sg.GraphError, match="2 outputs after the first, wrt names 1"):
        sg.check_grad(wrong, (X, Y), wrt=parameters[:1])
    with pytest.raises(sg.GraphError, match=r"output 1 of wrong is .* no gradient with respect to"):
        sg.check_grad(wrong, (X, Y), wrt=parameters[1::-1])


def test_training_steps() -> None:
    net, x, y, loss = classifier()
    step = sg.train_step([x, y], loss, optim.Adam(net.parameters()))
    before = [parameter.value.copy() for parameter in net.parameters()]
    report = sg.check_grad(step, (np.ones((4, 3), "float32"), np.arange(4) % 2))
    assert len(report.variables) == len(before)
    for parameter, value in zip(net.parameters(), before, strict=True):
        np.testing.assert_array_equal(parameter.value, value)


def test_what_cannot_be_checked() -> None:
    x = sg.placeholder("x", (3,))
    for arguments, message in (
        ((3,), "expected nodes, a function of them"),
        ((x > 0,), "expected nodes of floats"),
        ((sg.placeholder("k", (), "int64") * 2.0,), "no placeholder or parameter of floats"),
        ((x, [np.ones(3)]), "a mapping"),
        ((sg.tanh, {"x": 1}), "a sequence, in order"),
    ):
        with pytest.raises(sg.GraphTypeError, match=message):
            sg.check_grad(*arguments)
    with pytest.raises(sg.GraphTypeError, match="wrt are placeholders and parameters"):
        sg.check_grad(sg.sum(x), wrt=sg.tanh(x))
    with pytest.raises(ValueError, match="order is 1 or 2"):
        sg.check_grad(x, order=3)


@pytest.mark.parametrize("here", [1e-3, 0.3, 2.0, 50.0])
def test_differences(here: float) -> None:
    for function, slope in (
        (np.sin, np.cos), (np.log, lambda v: 1 / v), (lambda v: v**7, lambda v: 7 * v**6),
        (lambda v: np.exp(-v * v), lambda v: -2 * v * np.exp(-v * v)),
    ):  # fmt: skip
        with np.errstate(all="ignore"):
            found = derivative(
                lambda t, f=function: float(f(here + t)), float(function(here)), max(here, 1.0), 1e-8
            )
        true = slope(here)
        assert found.kind == "smooth"
        assert abs(found.value - true) <= 1e-8 * abs(true) + 10 * found.error
