"""The command line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

import staticgrad as sg
from staticgrad import demo
from staticgrad.cli import main, terminal
from staticgrad.cli.models import load, sizes_for

ROOT = Path(__file__).parent.parent

MODELS = '''
"""Models of all kinds that the command takes, and some that it does not."""
import numpy as np
import staticgrad as sg
from helpers import RATE


def regression():
    x = sg.placeholder("x", ("batch", 3))
    y = sg.placeholder("y", ("batch",))
    w = sg.parameter(np.zeros(3, "float32"), name="w")
    loss = sg.mse_loss(x @ w, y)
    return [x, y], loss


def trained():
    inputs, loss = regression()
    return inputs, loss, sg.optim.SGD([loss.inputs[0].inputs[0].inputs[0].inputs[1]], lr=RATE)


def step():
    print("a word of the user's")
    return sg.train_step(*trained())


def function():
    x = sg.placeholder("x", (3,), "float64")
    return sg.compile(x, 2.0 * x, name="double")


def of_inputs_alone():
    x = sg.placeholder("x", (3,), "float64")
    return x, sg.sum(sg.exp(x))


def fails():
    return regression(undefined)


def misshapen():
    x = sg.placeholder("x", (3, 4))
    return x, sg.sum(x @ x)


def vector():
    x = sg.placeholder("x", (3,))
    return x, x * 2.0


def nothing():
    pass


def needs(argument, other=1):
    return argument


ready = regression()
'''


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file of models that imports another one beside it."""
    (tmp_path / "helpers.py").write_text("RATE = 0.5\n")
    (tmp_path / "cli_models.py").write_text(MODELS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "helpers", raising=False)
    monkeypatch.delitem(sys.modules, "cli_models", raising=False)
    return str(tmp_path / "cli_models.py")


# ---- models ---------------------------------------------------------------------------------------


def test_inputs_and_loss_give_all_gradients(models: str) -> None:
    model = load(f"{models}:regression")
    x, y = np.ones((2, 3), "float32"), np.ones(2, "float32")
    loss, gradient = model.step(x, y)
    assert loss == 1
    np.testing.assert_allclose(gradient, [-2, -2, -2])
    assert model.step.name == "regression" and model.dimensions == ["batch"]


def test_an_optimizer_gives_a_training_step(models: str) -> None:
    for name in ("trained", "step"):
        step = load(f"{models}:{name}").step
        assert isinstance(step, sg.TrainStep)
        x, y = np.ones((2, 3), "float32"), np.ones(2, "float32")
        assert step(x, y) == 1
        assert step(x, y) == 4, "w is (1, 1, 1) after a step of 0.5 along 2"


def test_a_compiled_function_is_taken_as_it_is(models: str) -> None:
    model = load(f"{models}:function")
    np.testing.assert_array_equal(model.step(np.ones(3)), [2, 2, 2])
    assert model.loss is None


def test_without_parameters_gradients_are_by_the_inputs(models: str) -> None:
    value, gradient = load(f"{models}:of_inputs_alone").step(np.zeros(3))
    assert value == 3
    np.testing.assert_array_equal(gradient, [1, 1, 1])


def test_dotted_names(models: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(models).parent)
    assert load("cli_models:regression").name == "regression"


def test_names_of_the_gallery() -> None:
    assert load("simple_net").name == "simple_net"


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("missing", 2, "no function missing; functions without required arguments: regression"),
        ("needs", 2, "requires arguments (argument)"),
        ("ready", 2, "is no function, but ([<x: float32(batch, 3)>, <y: float32(batch,)>], <"),
        ("nothing", 1, "returned no model: got None; expected (inputs, loss), (inputs, loss, opt"),
        ("vector", 1, "cannot be compiled: grad: <"),
    ],
)
def test_models_that_cannot_be_had(
    models: str, name: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{models}:{name}"]) == code
    shown = capsys.readouterr()
    assert message in shown.err and not shown.out
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such/file.py:f", "there is no file no/such/file.py"),
        ("no_such_module:f", "there is no module no_such_module"),
        ("no_such_package.module:f", "there is no module no_such_package.module"),
        ("no_such_model", "no_such_model; functions without required arguments: linear_regression"),
        ("no such model", "'no such model' names no model: expected module.py:function"),
        ("file.py:", "names no model"),
        (":f", "names no model"),
    ],
)
def test_models_that_cannot_be_found(
    text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", text]) == 2
    assert message in capsys.readouterr().err


def test_errors_of_the_user_come_with_the_users_frames_alone(
    models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{models}:fails"]) == 1
    shown = capsys.readouterr().err
    assert shown.count('File "') == 1 and "cli_models.py" in shown
    assert "NameError: name 'undefined' is not defined" in shown
    assert main(["show", f"{models}:misshapen"]) == 1
    shown = capsys.readouterr().err
    assert shown.count('File "') == 1 and "return x, sg.sum(x @ x)" in shown


def test_errors_of_a_module(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n")
    assert main(["show", f"{path}:f"]) == 1
    assert "SyntaxError" in capsys.readouterr().err


def test_sizes(models: str) -> None:
    model = load(f"{models}:regression")
    assert sizes_for(model, []) == {"batch": 64}
    assert sizes_for(model, [("batch", 7)]) == {"batch": 7}


# ---- show and export ------------------------------------------------------------------------------


def test_show(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", f"{models}:step"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "a word of the user's\n"
    assert "def train_step(" in shown.out and "\x1b" not in shown.out
    compile(shown.out, "step.py", "exec")
    assert main(["show", f"{models}:regression", "--math"]) == 0
    shown = capsys.readouterr()
    assert "d_w" in shown.out and "= mean((x @ w - y)**2)" in shown.out
    assert main(["show", f"{models}:regression", "--graph"]) == 0
    assert "float32(batch, 3)" in capsys.readouterr().out
    assert main(["show", f"{models}:regression", "--passes", "--size", "batch=10"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "counts of one call with batch = 10"
    assert lines[2].split()[:3] == ["pass", "what", "fired"] and lines[4].startswith("declared ")


def test_explain(models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "page.html"
    assert main(["explain", f"{models}:trained", "-o", str(target), "--size", "batch=4"]) == 0
    shown = capsys.readouterr()
    assert not shown.out and "page.html: " in shown.err
    text = target.read_text()
    assert text.startswith("<!") and "mse_loss" in text


def test_what_a_command_makes_comes_from_no_line(
    models: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", f"{models}:trained"]) == 0
    source = capsys.readouterr().out
    assert "[cli_models.py:" in source
    assert "[]" not in source and "functools" not in source and "test_cli" not in source


def test_export(models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "exported.py"
    assert main(["export", f"{models}:regression", "-o", str(target)]) == 0
    shown = capsys.readouterr()
    assert not shown.out and "lines" in shown.err
    assert "def regression(" in target.read_text()


@pytest.mark.parametrize(
    ("output", "message"),
    [("missing/step.py", "there is no folder"), ("two words.py", "can be imported"), (".", "a folder")],
)
def test_export_to_nowhere(
    output: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["export", "simple_net", "-o", output]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# ---- compare --------------------------------------------------------------------------------------


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs in this process, as in one that has a single core."""
    monkeypatch.setattr("staticgrad.measure.machine.is_bound", lambda: True)
    # PyTorch takes seconds to import
    monkeypatch.setattr("staticgrad.measure.compare.find_spec", lambda name: None)


@pytest.mark.usefixtures("bound")
def test_compare(models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((5, 3), "float32"), y=np.ones(5, "float32"))
    arguments = ["compare", f"{models}:trained", "--rounds", "1"]
    assert main([*arguments, "--size", "batch=4"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith("trained, batch = 4") and not shown.err
    assert main([*arguments, "--arrays", str(tmp_path / "data.npz")]) == 0
    assert capsys.readouterr().out.startswith("trained, batch = 5")


@pytest.mark.usefixtures("bound")
def test_compare_says_what_is_wrong(
    models: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["compare", f"{models}:trained", "--rounds", "1"]
    assert main([*arguments, "--size", "bach=4"]) == 2
    assert "no dimension bach; it has batch" in capsys.readouterr().err
    np.savez(tmp_path / "data.npz", x=np.ones((5, 3), "float32"))
    assert main([*arguments, "--arrays", str(tmp_path / "data.npz")]) == 2
    assert "no array y" in capsys.readouterr().err
    assert main([*arguments, "--arrays", str(tmp_path / "none.npz")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    np.savez(tmp_path / "data.npz", x=np.ones((5, 2), "float32"), y=np.ones(5, "float32"))
    assert main([*arguments, "--arrays", str(tmp_path / "data.npz")]) == 1
    assert "x was declared as float32(batch, 3)" in capsys.readouterr().err


def test_compare_in_a_process_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "staticgrad", "compare", "linear_regression", "--rounds", "1"],
        capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines[0].startswith("linear_regression, batch = 64") and not done.stderr
    assert len(lines) < 24 and all(len(line) <= 100 for line in lines)


# ---- where output goes ----------------------------------------------------------------------------


def in_terminal(*arguments: str, **variables: str) -> str:
    """What the command prints on a terminal."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **variables}
    process = subprocess.Popen(
        [sys.executable, "-m", "staticgrad", *arguments], stdout=follower, stderr=follower,
        stdin=subprocess.DEVNULL, env=environment, cwd=ROOT,
    )  # fmt: skip
    os.close(follower)
    parts = []
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(leader)
    return b"".join(parts).decode()


def test_colours_are_for_terminals_that_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = in_terminal("show", "linear_regression")
    assert "\x1b[35mfrom\x1b[0m" in coloured
    plain = in_terminal("show", "linear_regression", NO_COLOR="1")
    assert "\x1b[3" not in plain and "from numba import njit" in plain


def test_a_reader_that_goes_is_no_error() -> None:
    command = f"{sys.executable} -m staticgrad show simple_net | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, cwd=ROOT, check=True
    )
    first, code = done.stdout.splitlines()
    assert first.startswith('"""simple_net') and code in ("0", "141") and not done.stderr


def test_bars_are_for_terminals(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal.Bar(2) as bar:
        bar.stage("first")
        bar.stage("second")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with terminal.Bar(2) as bar:
        bar.stage("without tqdm there is none")
    assert capsys.readouterr() == ("", "")


# ---- cache, demo, usage ---------------------------------------------------------------------------


def test_cache_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATICGRAD_CACHE_DIR", str(tmp_path))
    x = sg.placeholder("x", (3,), "float64")
    f = sg.compile(x, x * 1.61803, name="golden")
    assert main(["cache", "path"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path)
    assert main(["cache", "list"]) == 0
    assert str(f.path) in capsys.readouterr().out
    assert main(["cache", "clear"]) == 0
    assert "removed 1 functions" in capsys.readouterr().out
    assert not f.path.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["unknown"], ["cache"], ["demo", "--epochs", "0"], ["show"], ["export", "simple_net"],
        ["show", "simple_net", "--math", "--code"], ["compare", "simple_net", "--size", "batch"],
        ["compare", "simple_net", "--rounds", "0"], ["explain", "simple_net"],
    ],
)  # fmt: skip
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: staticgrad" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "show", "explain", "export", "compare", "cache"])
def test_help_has_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([command, "--help"])
    assert raised.value.code == 0
    shown = capsys.readouterr().out
    assert f"example: staticgrad {command}" in " ".join(shown.split())


def test_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "staticgrad", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"staticgrad {sg.__version__}\n"


def test_demo_without_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert main(["demo"]) == 1
    assert "pip install 'staticgrad[demo]'" in capsys.readouterr().err


def test_the_demo_shows_the_backward_part() -> None:
    model = demo.declare(0)
    step = sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")
    shown = demo.backward_part(step.source)
    for name in ("d_b1", "d_b2", "d_b3", "d_logits"):
        assert f"# {name} = " in shown
    for name in ("d_W1", "d_W2", "d_W3"):
        assert f", {name})" in shown
    assert "# ---- update" not in shown and "def " not in shown
