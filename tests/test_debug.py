"""Functions compiled with ``debug``: what they report, and that they compute the same."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st

import staticgrad as sg
from staticgrad import nn, optim
from staticgrad.runtime.declared import debug_level

INF, NAN = np.inf, np.nan
X = np.random.default_rng(1).standard_normal((24, 6)).astype("float32")
LABELS = np.random.default_rng(2).integers(0, 3, 24)


def matrix(rows: int = 4, columns: int = 3, value: float = 2.0) -> np.ndarray:
    return np.full((rows, columns), value, "float32")


def placed(value: float, *position: int, **shape: Any) -> np.ndarray:
    array = matrix(**shape)
    array[position] = value
    return array


def failure(function: Any, *arrays: np.ndarray) -> sg.NonFiniteError:
    with pytest.raises(sg.NonFiniteError) as caught:
        function(*arrays)
    return caught.value


def x() -> sg.Node:
    return sg.placeholder("x", ("batch", 3))


# ---- what is reported ----------------------------------------------------------------------------


def test_the_op_the_line_and_the_numbers() -> None:
    source = x()
    with sg.name_scope("head"):
        log_p = sg.log(source)  # the line
    loss = sg.mean(log_p)
    error = failure(sg.compile(source, loss, name="f", debug=True), placed(-0.5, 3, 1))
    assert isinstance(error, FloatingPointError)
    assert (error.name, error.formula, error.position) == ("log_p", "log(x)", (3, 1))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert np.isnan(error.value) and error.operands == {"x[3, 1]": np.float32(-0.5)}
    assert error.origin is not None and error.origin.text.endswith("# the line")
    assert str(error) == (
        "f: log_p = log(x) makes nan\n"
        "  log_p[3, 1] = nan  (1 of 12 elements are not finite)\n"
        "    x[3, 1] = -0.5\n"
        "  in head\n"
        f"  {error.origin.file}:{error.origin.line}\n"
        "    log_p = sg.log(source)  # the line\n"
        "  it reaches output loss"
    )


def test_an_adjoint_and_the_infinity_that_it_is_made_of() -> None:
    source = x()
    root = sg.sqrt(sg.sum(source * source, axis=1))
    slope = sg.grad(sg.mean(root), source)
    error = failure(sg.compile(source, slope, debug=True), np.where(np.arange(4) == 2, 0, matrix().T).T)
    text = str(error)
    assert error.position == (2, 0) and error.operands["x[2, 0]"] == 0
    assert "part of the pullback of source * source" in text or "pullback of x * x" in text
    assert "the infinity comes from" in text and "2 * root" in text
    assert "the adjoint of sum(" in text


def test_the_update_that_goes_wrong_leaves_everything_as_it_was() -> None:
    source, weight = x(), sg.parameter(np.ones(3, "float32"), "W")
    loss = sg.mean(sg.sqrt(source * weight))
    optimizer = optim.Adam([weight], lr=0.1)
    step = sg.train_step(source, loss, optimizer, debug=True)
    step(matrix())
    before = [weight.value.copy(), *(np.array(v) for v in optimizer.state_dict()["state"][0].values())]
    error = failure(step, placed(0.0, 1, 2))
    # the loss is finite: only its gradient is not
    assert "new value of" in str(error) and "d_" in error.name
    after = [weight.value, *optimizer.state_dict()["state"][0].values()]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.isfinite(step(matrix()))


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_what_was_given(bad: float) -> None:
    source, weight = x(), sg.parameter(matrix(3, 2), "W")
    product = sg.compile(source, source @ weight, debug=True)
    text = str(failure(product, placed(bad, 1, 2)))
    kind = "nan" if np.isnan(bad) else "inf"
    assert f"product: input x holds {kind}\n  x[1, 2] = {bad}  (1 of 12" in text
    array = placed(bad, 1, 2)
    array[2:] = bad
    text = str(failure(product, array))
    assert "\n    not finite either: x[2, 0], x[2, 1], x[2, 2], x[3, 0] and 2 more\n" in text
    weight.value[2, 1] = bad
    assert f"parameter W holds {kind}\n  W[2, 1] = {bad}" in str(failure(product, matrix()))


def test_the_cause_is_found_among_what_is_harmless() -> None:
    # row 0 of log(x) is masked, row 2 is not: element by element, the second is to blame
    source = sg.placeholder("x", (4, 3))
    logarithm = sg.log(source)
    chosen = sg.where(np.array([[True], [False], [False], [False]]), 0.0, logarithm)
    array = matrix()
    array[0], array[2, 1] = -1.0, -3.0
    error = failure(sg.compile(source, sg.sum(chosen), debug=True), array)
    assert error.name == "logarithm" and error.position == (2, 1)
    assert error.operands == {"x[2, 1]": -3.0}
    array[2, 1] = 1.0
    assert np.isfinite(sg.compile(source, sg.sum(chosen), debug=True)(array))


def test_overflow_in_a_reduction_and_in_a_product() -> None:
    source, big = x(), sg.parameter(matrix(3, 2, 3e38), "W")
    error = failure(sg.compile(source, source @ big, debug=True), matrix())
    assert list(error.operands) == ["x[0, :]", "W[:, 0]"] and "makes inf" in str(error)
    error = failure(sg.compile(source, sg.sum(source, axis=1), debug=True), matrix(4, 3, 3e38))
    assert list(error.operands) == ["x[0, :]"]


def test_indices_out_of_range_are_told_as_compiled_code_tells_them() -> None:
    logits, labels = x(), sg.placeholder("labels", ("batch",), "int64")
    loss = sg.cross_entropy(logits, labels)
    picked = sg.take(logits, labels, axis=0)
    for output, wrong in ((loss, [0, 1, 3, 0]), (picked, [0, -5, 3, 0]), (picked, [0, 1, 2, 4])):
        messages = []
        for debug in (True, False):
            function = sg.compile([logits, labels], output, name="f", debug=debug)
            with pytest.raises(IndexError) as caught:
                function(matrix(), np.array(wrong))
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert messages[0].startswith("f: labels[")


def test_shapes_and_dtypes_are_told_as_compiled_code_tells_them() -> None:
    source, weight = x(), sg.parameter(matrix(3, 2), "W")
    for array in (matrix(4, 2), matrix()[0], matrix().astype("float64"), [[1.0, 2.0, 3.0]]):
        messages = []
        for debug in (True, False):
            with pytest.raises((TypeError, ValueError)) as caught:
                sg.compile(source, source @ weight, name="f", debug=debug)(array)
            messages.append((type(caught.value), str(caught.value)))
        assert messages[0] == messages[1]


def test_sizes_that_do_not_fit_name_the_node() -> None:
    series = sg.placeholder("series", ("time",))
    change = series[2:] - series[:-2]
    function = sg.compile(series, change, debug=True)
    with pytest.raises(ValueError, match=r"time = 1.*negative size(.|\n)*change = series"):
        function(np.ones(1, "float32"))


# ---- infinities that are meant -------------------------------------------------------------------


def test_masks_of_minus_infinity_are_no_news() -> None:
    source = x()
    scores = sg.where(source > 0, source, -INF)
    outputs = [sg.softmax(scores, axis=1), sg.log_softmax(scores, axis=1), sg.logsumexp(scores, axis=1)]
    slope = sg.grad(sg.sum(outputs[2]), source)
    function = sg.compile(source, [*outputs, slope], debug=True)
    reference = sg.compile(source, [*outputs, slope])
    array = placed(-1.0, 1, 1)
    for ours, theirs in zip(function(array), reference(array), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert np.isinf(function(array)[1]).sum() == 1
    # a row in which nothing is left is another matter
    error = failure(function, np.where(np.arange(4) == 3, -1, matrix().T).T)
    assert error.position[0] == 3 and "makes nan" in str(error)
    assert "the infinity is given, by the constant -inf" in str(error)


def test_an_overflow_beside_a_mask_is_reported() -> None:
    source = x()
    scores = sg.where(source > 0, sg.exp(source), -INF)
    error = failure(sg.compile(source, scores, debug=True), np.array([[-1, 200, 1]], "float32"))
    assert error.position == (0, 1) and error.formula == "exp(x)"


def test_levels() -> None:
    source = x()
    masked = sg.mean(sg.where(source > 0, sg.log(source), 0.0))
    array = placed(0.0, 2, 0)
    for level in (True, "nan"):
        assert np.isfinite(sg.compile(source, masked, debug=level)(array))
    error = failure(sg.compile(source, masked, debug="all"), array)
    assert error.formula == "log(x)" and error.value == -INF and "reaches" not in str(error)
    logarithm = sg.log(source)
    assert np.isinf(sg.compile(source, logarithm, debug="nan")(array)[2, 0])
    assert failure(sg.compile(source, logarithm, debug=True), array).value == -INF
    error = failure(sg.compile(source, masked, debug="all"), placed(INF, 0, 0))
    assert "input x holds inf" in str(error)
    difference = sg.compile(source, sg.exp(source) - sg.exp(2.0 * source), debug="nan")
    assert "the infinity comes from" in str(failure(difference, placed(200.0, 0, 1)))


def test_what_compiled_code_does_not_compute_is_not_reported() -> None:
    source = x()
    loss = sg.mean(sg.log(1.0 + sg.exp(source)))
    slope = sg.grad(loss, source)
    array = matrix(value=1000.0)
    loss_value, slope_value = sg.compile(source, [loss, slope], debug="all")(array)
    assert loss_value == 1000 and np.allclose(slope_value, 1 / 12)


# ---- the same function ---------------------------------------------------------------------------


def model(debug: bool, **options: Any) -> tuple[nn.Module, Any, sg.TrainStep]:
    sg.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    )
    inputs = [sg.placeholder("x", ("batch", 6)), sg.placeholder("y", ("batch",), "int64")]
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()(net(inputs[0]), inputs[1])
    return net, optimizer, sg.train_step(inputs, loss, optimizer, debug=debug, **options)


@pytest.mark.parametrize("options", [{}, {"clip_grad_norm": 0.5, "accumulation_steps": 2}])
def test_training_is_the_same_to_rounding(options: dict[str, Any]) -> None:
    runs = []
    for debug in (True, False):
        net, optimizer, step = model(debug, **options)
        losses = [step(X, LABELS), *step.run(2, X, LABELS)]
        losses += step.fit(X, LABELS, epochs=2, batch_size=10, seed=3).batch_loss
        state = optimizer.state_dict()["state"]
        arrays = [*net.state_dict().values(), *(v for s in state.values() for v in s.values())]
        arrays += [buffer.value for buffer in net.buffers()]
        runs.append((losses, [np.array(array) for array in arrays]))
    np.testing.assert_allclose(*[losses for losses, _ in runs], rtol=1e-4)
    for ours, theirs in zip(runs[0][1], runs[1][1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_all_ops_and_their_pullbacks_are_the_same_after_rewriting(dtype: str) -> None:
    for case in cases():
        if case.dtype != dtype:
            continue
        inputs, arrays = case.placeholders(), case.arrays()
        outputs = [case.sample.call(*inputs)]
        if case.sample.differentiable:
            outputs += sg.grad(sg.sum(outputs[0] * 1.0), inputs, unused="zeros")
        found = sg.compile(inputs, outputs, debug=True)(*arrays)
        expected = sg.evaluate(outputs, dict(zip(inputs, arrays, strict=True)))
        precise = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-6}
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, err_msg=str(case), **precise)


def test_an_error_in_fit_names_the_samples() -> None:
    _, _, step = model(True)
    labels = LABELS.copy()
    labels[17] = 3
    with pytest.raises(IndexError) as caught:
        step.fit(X, labels, batch_size=8, shuffle=False)
    assert caught.value.__notes__ == [
        "in step 2 of 3 of the epoch, on samples [16, 17, 18, 19, 20, 21, 22, 23]"
    ]


def test_out_scalars_and_several_outputs() -> None:
    a, b = sg.placeholder("a"), sg.placeholder("b", 3)
    function = sg.compile([a, b], [a * b, sg.sum(b)], debug=True)
    given = [np.empty(3, "float32"), np.empty((), "float32")]
    result = function(2.0, np.arange(3, dtype="float32"), out=given)
    assert result[0] is given[0] and given[0].tolist() == [0, 2, 4] and given[1] == 3
    with pytest.raises(ValueError, match="out for"):
        function(2.0, np.ones(3, "float32"), out=[np.empty(2, "float32"), given[1]])
    assert sg.compile([a, b], None, debug=True)(1.0, np.ones(3, "float32")) is None


def test_updates_are_computed_from_old_values() -> None:
    p, q = sg.parameter(1.0, "p"), sg.parameter(2.0, "q")
    swap = sg.compile([], [p, q], updates={p: q, q: p}, debug=True)
    assert swap() == [1, 2] and (p.value, q.value) == (2, 1)


def test_it_says_what_it_is() -> None:
    source = x()
    function = sg.compile(source, sg.tanh(source), name="squash", debug=True)
    assert isinstance(function, sg.DebugFunction)
    assert repr(function) == (
        "<debug executor of squash(x: float32(batch, 3)): runs op by op, not compiled; "
        "reports nan and inf in results>"
    )
    assert "def squash(" in function.source
    assert function.compiled(matrix()).shape == (4, 3)
    with pytest.raises(AttributeError):
        _ = function._nothing
    assert "debug executor" in repr(model(True)[2])


def test_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    source = x()
    for text, kind in (("1", sg.DebugFunction), ("nan", sg.DebugFunction), ("0", sg.CompiledFunction)):
        monkeypatch.setenv("STATICGRAD_DEBUG", text)
        assert isinstance(sg.compile(source, sg.tanh(source)), kind)
    monkeypatch.setenv("STATICGRAD_DEBUG", "1")
    assert isinstance(sg.compile(source, sg.tanh(source), debug=False), sg.CompiledFunction)
    assert isinstance(model(None)[2].function, sg.DebugFunction)  # type: ignore[arg-type]
    assert isinstance(model(False)[2].function, sg.CompiledFunction)
    monkeypatch.setenv("STATICGRAD_DEBUG", "yes")
    with pytest.raises(ValueError, match="STATICGRAD_DEBUG='yes': expected 1"):
        debug_level(None)
    with pytest.raises(ValueError, match=r"debug='infs'.*results.*nan.*all"):
        sg.compile(source, source, debug="infs")  # type: ignore[call-overload]


NUMBERS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 30.0, 100.0, 1e30, INF, -INF, NAN])
OPS = [
    sg.log, sg.sqrt, sg.exp, sg.square, sg.tanh, lambda v: 1.0 / v, lambda v: v - v[:, ::-1],
    lambda v: sg.softmax(v, axis=1), lambda v: v @ v.T, lambda v: sg.where(v > 0, v, 0.0),
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(NUMBERS, min_size=6, max_size=6), st.lists(st.integers(0, 9), min_size=1, max_size=4)
)
def test_reports_are_right_about_any_graph(
    given_numbers: list[float], chosen: list[int]
) -> None:
    """What is not finite is not missed, and no input of the cause is to blame."""
    source = sg.placeholder("x", ("n", "n"), "float64")
    value = source
    for number in chosen:
        value = OPS[number](value)
    array = np.array([*given_numbers, 1.0, 2.0, 0.5]).reshape(3, 3)
    try:
        result = sg.compile(source, value, debug=True)(array)
    except sg.NonFiniteError as caught:
        error = caught
    else:
        assert np.isfinite(result).all()
        return
    # the op-by-op reference knows no stable forms: it is not finite either
    assert not np.isfinite(sg.evaluate(value, {source: array})).all()
    assert not np.isfinite(error.value)
    if not error.formula:
        np.testing.assert_equal(array[error.position], error.value)
        return
    if np.isnan(error.value):
        # a NaN among them may be there, if infinities alone would do
        numbers = error.operands.values()
        infinite = any(np.isinf(number).any() for number in numbers)
        assert infinite or not any(np.isnan(number).any() for number in numbers)
    else:
        assert all(np.isfinite(number).all() for number in error.operands.values())
