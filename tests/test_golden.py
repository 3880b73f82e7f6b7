"""Generated code, as it was when somebody last read it: byte for byte.

``pytest tests/test_golden.py --update-golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from golden_models import MODELS

import staticgrad as sg

FOLDER = Path(__file__).parent / "golden"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_generated_code(model, pytestconfig: pytest.Config) -> None:
    sg.manual_seed(0)
    source = model().source
    path = FOLDER / f"{model.__name__}.py"
    if pytestconfig.getoption("--update-golden"):
        path.write_text(source, encoding="utf-8")
    assert source == path.read_text(encoding="utf-8")


def test_generated_code_is_kept_for_all_models() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {model.__name__ for model in MODELS}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_lines_that_compute_are_mapped_to_nodes(model) -> None:
    """Each line below the views belongs to a kernel."""
    sg.manual_seed(0)
    step = model()
    generated = step._generated if isinstance(step, sg.CompiledFunction) else step.function._generated
    lines = generated.source.splitlines()
    kernels = [span for span in generated.spans if span.kind == "kernel"]
    covered = {line for span in kernels for line in range(span.first, span.last + 1)}
    for span in generated.spans:
        assert 1 <= span.first <= span.last <= len(lines)
        assert span.nodes and span.section in ("check", "forward", "backward", "update")
        if span.kind == "comment":
            # the formula is of something that the kernel below computes
            name = re.match(r" *# (\w+) = ", lines[span.first - 1])[1]
            kernel = next(s for s in kernels if s.first <= span.first <= s.last)
            assert set(span.nodes) <= set(kernel.nodes)
            assert re.search(rf"\b{name}\b", "\n".join(lines[span.last :])), name
    headings = [n for n, line in enumerate(lines, 1) if re.match(r" {4}# ---- (?!inputs)", line)]
    end = next(n for n in range(len(lines), 0, -1) if lines[n - 1] == "    return 0")
    plain = [
        n for n in range(headings[0], end)
        if lines[n - 1].strip() and "----" not in lines[n - 1] and n not in covered
    ]  # fmt: skip
    # what is left are loops over layers and over blocks, and the views of their turns
    views = re.compile(r" +(for (layer|first) in |rows = |\w+ = (part|layer_at|rows_of)\()")
    assert all(views.match(lines[n - 1]) for n in plain), [lines[n - 1] for n in plain]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_name_says_something(model) -> None:
    """No variable of generated code is a letter with a number."""
    sg.manual_seed(0)
    tree = ast.parse(model().source)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not [name for name in names if re.fullmatch(r"(t|v|tmp|temp|var|x)\d+", name)]
