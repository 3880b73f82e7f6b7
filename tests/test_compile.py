"""Compiled functions: updates, sizes, memory, export."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import staticgrad as sg

RNG = np.random.default_rng(0)


def classifier(dtype: str = "float32") -> dict[str, sg.Node]:
    rng = np.random.default_rng(1)
    x = sg.placeholder("x", ("batch", 64), dtype)
    y = sg.placeholder("y", ("batch",), dtype="int64")
    W1 = sg.parameter((rng.standard_normal((64, 32)) / 8).astype(dtype), name="W1")
    b1 = sg.parameter(np.zeros(32, dtype), name="b1")
    W2 = sg.parameter((rng.standard_normal((32, 10)) / 6).astype(dtype), name="W2")
    b2 = sg.parameter(np.zeros(10, dtype), name="b2")
    hidden = sg.relu(x @ W1 + b1)
    loss = sg.cross_entropy(hidden @ W2 + b2, y)
    return {"x": x, "y": y, "W1": W1, "b1": b1, "W2": W2, "b2": b2, "loss": loss}


def batch(size: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    return RNG.random((size, 64)).astype(dtype), RNG.integers(0, 10, size)


def step_of(model: dict[str, sg.Node], name: str = "step") -> sg.CompiledFunction:
    parameters = [model[key] for key in ("W1", "b1", "W2", "b2")]
    gradients = sg.grad(model["loss"], parameters)
    updates = {p: p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)}
    return sg.compile([model["x"], model["y"]], model["loss"], updates=updates, name=name)


def test_the_example_of_the_readme() -> None:
    x = sg.placeholder("x", ("batch", 64))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    W = sg.parameter(np.zeros((64, 10), "float32"), name="W")
    b = sg.parameter(np.zeros(10, "float32"), name="b")
    loss = sg.cross_entropy(x @ W + b, y)
    dW, db = sg.grad(loss, [W, b])
    f = sg.compile([x, y], [loss, dW, db])
    step = sg.compile([x, y], loss, updates={W: W - 0.1 * dW, b: b - 0.1 * db})
    for size in (7, 64, 1):
        xb, yb = batch(size)
        before = W.value.copy()
        value, gradient, _ = f(xb, yb)
        assert value.dtype == np.float32 and gradient.shape == (64, 10)
        assert step(xb, yb) == value
        np.testing.assert_allclose(W.value, before - np.float32(0.1) * gradient, rtol=1e-6)
    assert step.name == "step" and f.name == "f"
    assert "dW" in step.source and "x.T @" in str(dW)


def test_updates_see_old_values() -> None:
    a = sg.parameter(np.array([1.0, 2.0]), name="a")
    b = sg.parameter(np.array([10.0, 20.0]), name="b")
    swap = sg.compile([], [a, b], updates={a: b, b: a})
    first, second = swap()
    np.testing.assert_array_equal(first, [1.0, 2.0])
    np.testing.assert_array_equal(second, [10.0, 20.0])
    np.testing.assert_array_equal(a.value, [10.0, 20.0])
    np.testing.assert_array_equal(b.value, [1.0, 2.0])
    roll = sg.compile([], None, updates={a: sg.flip(a) + b})
    assert roll() is None
    np.testing.assert_array_equal(a.value, [21.0, 12.0])


def test_outputs_are_the_callers_own() -> None:
    x = sg.placeholder("x", (3,), "float64")
    W = sg.parameter(np.ones(3), name="W")
    f = sg.compile(x, [x, W, x + W, sg.reshape(x, (3, 1)), sg.constant(np.arange(3.0))])
    value = np.arange(3.0)
    for result in f(value):
        assert not np.shares_memory(result, value) and not np.shares_memory(result, W.value)
        result += 1
    np.testing.assert_array_equal(W.value, np.ones(3))
    np.testing.assert_array_equal(f(value)[4], np.arange(3.0))


def test_parameter_value_is_one_array() -> None:
    W = sg.parameter(np.ones(3), name="W")
    f = sg.compile([], W * 2.0)
    array = W.value
    np.testing.assert_array_equal(f(), np.full(3, 2.0))
    W.value = np.arange(3.0)
    assert W.value is array
    np.testing.assert_array_equal(f(), [0.0, 2.0, 4.0])
    W.value[0] = 5.0
    assert f()[0] == 10.0


def test_empty_batches_and_growing_ones() -> None:
    model = classifier()
    f = sg.compile([model["x"], model["y"]], [model["loss"], sg.grad(model["loss"], model["W1"])])
    loss, gradient = f(*batch(0))
    # the mean of no elements, as in NumPy; the sums over no rows are zero
    assert np.isnan(loss) and not gradient.any()
    for size in (1, 300, 2, 299):
        x, y = batch(size)
        expected = sg.evaluate(model["loss"], {model["x"]: x, model["y"]: y})
        np.testing.assert_allclose(f(x, y)[0], expected, rtol=1e-5)


def test_the_same_call_gives_the_same_bits() -> None:
    model = classifier()
    f = sg.compile([model["x"], model["y"]], sg.grad(model["loss"], model["W1"]))
    x, y = batch(50)
    first = f(x, y)
    f(*batch(80))
    assert first.tobytes() == f(x, y).tobytes()


def test_a_step_allocates_nothing_that_grows_with_the_data() -> None:
    model = classifier()
    step = step_of(model)
    small, large = batch(8), batch(4096)
    step(*large)
    peaks = []
    for arguments in (small, large):
        step(*arguments)
        tracemalloc.start()
        step(*arguments)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert max(peaks) < 2000


def test_named_dimensions_in_arithmetic() -> None:
    x = sg.placeholder("x", ("n", "m"), "float64")
    mean = x.mean()
    paired = x[1:] - x[:-1]
    f = sg.compile(x, [mean, paired, sg.grad(mean, x)])
    value = RNG.random((5, 3))
    got = f(value)
    np.testing.assert_allclose(got[0], value.mean())
    np.testing.assert_array_equal(got[1], np.diff(value, axis=0))
    np.testing.assert_allclose(got[2], np.full((5, 3), 1 / 15))


def test_scalars_may_be_python_numbers() -> None:
    x = sg.placeholder("x", ())
    n = sg.placeholder("n", (), dtype="int64")
    f = sg.compile([x, n], x * n)
    assert f(2.5, 4) == 10.0 and f(2.5, 4).dtype == (x * n).dtype
    with pytest.raises(TypeError, match="n was declared as int64"):
        f(2.5, 4.5)


def test_second_derivatives() -> None:
    x = sg.placeholder("x", (4,), "float64")
    rosenbrock = sg.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)
    gradient = sg.grad(rosenbrock, x)
    rows = [sg.grad(gradient[k], x) for k in range(4)]
    hessian = sg.compile(x, sg.stack(rows))
    from scipy.optimize import rosen_hess

    point = np.array([0.3, -1.2, 0.7, 1.1])
    np.testing.assert_allclose(hessian(point), rosen_hess(point), rtol=1e-12)


def test_export_runs_without_staticgrad(tmp_path: Path) -> None:
    model = classifier()
    parameters = {key: model[key].value.copy() for key in ("W1", "b1", "W2", "b2")}
    step = step_of(model)
    path = step.export(tmp_path / "step.py")
    x, y = batch(20)
    np.savez(tmp_path / "data.npz", x=x, y=y, **parameters)
    script = (
        "import sys\n"
        "sys.modules['staticgrad'] = None\n"
        "import numpy as np, step\n"
        "data = dict(np.load('data.npz'))\n"
        "x, y = data.pop('x'), data.pop('y')\n"
        "losses = [step.step(x, y, **data) for _ in range(3)]\n"
        "np.savez('result.npz', losses=losses, **data)\n"
        "try:\n"
        "    step.step(x, y + 10, **data)\n"
        "except IndexError as error:\n"
        "    print('IndexError', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "IndexError" in done.stdout and "y" in done.stdout
    losses = [step(x, y) for _ in range(3)]
    result = np.load(tmp_path / "result.npz")
    assert np.array(losses).tobytes() == result["losses"].tobytes()
    for key in parameters:
        assert result[key].tobytes() == model[key].value.tobytes()
    assert path.read_text().startswith('"""step: computes loss and updates')


def test_export_with_constants_and_special_functions(tmp_path: Path) -> None:
    x = sg.placeholder("x", (3,), "float64")
    node = sg.sum(sg.lgamma(x) * np.array([1.0, 2.0, 3.0]) + sg.gelu(x) + sg.logaddexp(x, 0.5))
    f = sg.compile(x, sg.grad(node, x), name="f")
    f.export(tmp_path / "f.py")
    script = "import numpy as np, f; print(f.f(np.array([1.5, 2.5, 3.5])).tobytes().hex())"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f(np.array([1.5, 2.5, 3.5])).tobytes().hex()


def test_outputs_that_share_memory_are_refused() -> None:
    x = sg.placeholder("x", (3,), "float64")
    f = sg.compile(x, [x * 2.0, x * 3.0], name="f")
    array = np.zeros(3)
    with pytest.raises(ValueError, match=r"out for \w+ shares memory with out for \w+"):
        f(np.ones(3), out=[array, array])


@pytest.mark.parametrize("name", ["my-step.py", "step", "a b.py"])
def test_exported_files_can_be_imported(tmp_path: Path, name: str) -> None:
    x = sg.placeholder("x", (3,), "float64")
    with pytest.raises(ValueError, match="cannot be imported"):
        sg.compile(x, x * 2.0).export(tmp_path / name)
