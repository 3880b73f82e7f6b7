"""Generated code, as it was when somebody last read it: byte for byte.

``pytest tests/test_golden.py --update-golden`` writes the files anew; read the difference.
"""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import numpy as np
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
    headings = [n for n, line in enumerate(lines, 1) if re.match(r" {4}# ---- (?!inputs|sums)", line)]
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


def test_every_gradient_can_be_read_in_the_exported_file(tmp_path: Path) -> None:
    """SimpleNet's step: below 90 lines, two functions, and a formula for each gradient which, read as
    Python, gives that gradient."""
    sg.manual_seed(0)
    gallery = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "gallery" / "models.py"))
    inputs, loss, optimizer = gallery["simple_net"]()
    step = sg.train_step(inputs, loss, optimizer)
    text = step.export(tmp_path / "step.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 90
    defined = [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert defined == ["update", "step"]
    # formulas above loops, and beside products, whose last argument they are of
    found = dict(re.findall(r"^ *# (\w+) = (.*?)  \[", text, flags=re.MULTILINE))
    found |= {
        call.split(", ")[-1]: formula
        for call, formula in re.findall(r"^ *matmul\w*\((.*?)\)  # (.*?)  \[", text, flags=re.MULTILINE)
    }
    parameters = {p.name.replace(".", "_"): p for p in optimizer.param_groups[0]["params"]}
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(node.shape).astype("float32") for node in inputs)
    values = {"x": x, "y": y, **{name: p.value.copy() for name, p in parameters.items()}}

    class Rows(dict):
        """Numbers by name; a value along rows beside one along columns stands as NumPy wants it."""

        def __missing__(self, name: str):
            self[name] = eval(translated(found[name]), functions, self)
            return self[name]

    def translated(formula: str) -> str:
        # what a row has one of stands as a column
        return re.sub(r"\b(d_fc2|fc2|fc2_minus_y)\b", r"\1.reshape(10, 1)", formula)

    functions = {"maximum": np.maximum, "where": np.where, "sum": np.sum}
    names = Rows(values)
    names["fc2"] = eval(found["fc2"].replace("axis=1", "axis=1, keepdims=True"), functions, names)
    gradients = sg.compile(inputs, sg.grad(loss, list(parameters.values())))(x, y)
    for name, expected in zip(parameters, gradients, strict=True):
        derived = np.asarray(names[f"d_{name}"]).reshape(expected.shape)
        np.testing.assert_allclose(derived, expected, rtol=1e-4, atol=1e-6)
