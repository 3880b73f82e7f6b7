"""The README's example runs, and what it shows is what is generated."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from pathlib import Path

import pytest

import staticgrad as sg

EXAMPLES = Path(__file__).parent.parent / "examples"
README = (Path(__file__).parent.parent / "README.md").read_text()


def block(first: str) -> str:
    blocks = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)
    return next(text for text in blocks if text.startswith(first))


def test_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = block("import numpy")
    script = tmp_path / "example.py"
    script.write_text(source)
    names: dict[str, object] = {}
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(source, str(script), "exec"), names)
    step = names["step"]
    assert isinstance(step, sg.CompiledFunction)
    assert block("x.T @") in output.getvalue()
    gradient = names["dW"]
    assert isinstance(gradient, sg.Node)
    assert block("\\begin{aligned}") == f"{gradient.latex()}\n"
    assert (tmp_path / "step.py").exists()

    def without_origins(text: str) -> str:
        return re.sub(r"  \[[^\]]*\]$", "", text, flags=re.MULTILINE)

    assert without_origins(block("    matmul(x, W")) in without_origins(step.source)
    losses = [float(line) for line in output.getvalue().splitlines() if re.match(r"\d\.\d+$", line)]
    assert len(losses) == 3 and losses[0] > losses[1] > losses[2]


def test_example_with_modules() -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(next(text for text in blocks if "optim.Adam" in text), names)
    history = names["history"]
    assert isinstance(history, sg.training.History) and history.loss[-1] < history.loss[0]


def test_debugging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```\w*\n(.*?)```", README, flags=re.DOTALL)
    script = tmp_path / "model.py"
    script.write_text(next(text for text in blocks if "debug=True)" in text))
    with pytest.raises(sg.NonFiniteError) as caught:
        runpy.run_path(str(script))
    message = str(caught.value).replace(str(script), "model.py")
    assert f"NonFiniteError: {message}\n" == block("NonFiniteError")


def test_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["picture.py", str(tmp_path / "picture.svg")])
    runpy.run_path(str(EXAMPLES / "picture.py"))
    assert (tmp_path / "picture.svg").read_text() == (EXAMPLES / "picture.svg").read_text()
