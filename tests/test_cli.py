"""The command line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import staticgrad as sg
from staticgrad import demo
from staticgrad.cli import main


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


@pytest.mark.parametrize("arguments", [[], ["unknown"], ["cache"], ["demo", "--epochs", "0"]])
def test_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main(arguments)
    assert raised.value.code == 2
    assert "usage: staticgrad" in capsys.readouterr().err


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
    for name in ("d_W1", "d_W2", "d_W3", "d_b1", "d_b2", "d_b3", "d_hidden_1", "d_logits"):
        assert f"# {name} = " in shown
    assert "# ---- update" not in shown and "def " not in shown
