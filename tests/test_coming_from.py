"""The tables for people who come from other libraries: the code in their cells runs, and both sides
compute the same where they are expressions."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import staticgrad as sg

TEXT = (Path(__file__).parent.parent / "examples" / "coming_from.md").read_text()
SECTIONS = {
    part.split("\n", 1)[0]: part for part in re.split(r"^## From ", TEXT, flags=re.MULTILINE)[1:]
}
#: cells on the left that are no code to be run here
WORDS = ("a loop over", "define by run", "one compilation for", "mode=", "profile=", "`x` in float32")
NOT_RUN = ("gradcheck", "profiler", "anomaly", "custom_vjp", "optax", "check_grads", "NanGuardMode",
           "floatX", "autowrap", "pprint", "simplify", "dprint", "jacobian", "latex", "config.update",
           "set_num_threads", "manual_seed", "make_jaxpr", "no_grad")  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells of the tables write files."""
    monkeypatch.chdir(tmp_path)


def rows(section: str) -> list[tuple[str, str]]:
    found = []
    for line in SECTIONS[section].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == 2 and not set(cells[0]) <= {"-", " "}:
            found.append((cells[0], cells[1]))
    return found[1:]


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def setup(section: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", SECTIONS[section], flags=re.DOTALL):
        exec(block, names)
    return names


def run(code: str, names: dict[str, Any]) -> Any:
    """The value of an expression, None for a statement. What is printed is dropped."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            expression = compile(code, "coming_from.md", "eval")
        except SyntaxError:
            exec(compile(code, "coming_from.md", "exec"), names)
            return None
        return eval(expression, names)


def is_code(text: str) -> bool:
    """Whether a span is more than a word that the text mentions."""
    return bool(re.search(r"[(=.\[]", text)) and not text.startswith(("@", "STATICGRAD_"))


def right_sides(section: str) -> list[Any]:
    """Run the right column; for each row the value of its first expression."""
    names = setup(section)
    results = []
    for _, right in rows(section):
        values = [run(code, names) for code in spans(right) if is_code(code)]
        results.append((values[0] if values else None, names.copy()))
    return results


@pytest.mark.parametrize("section", list(SECTIONS))
def test_the_right_column_runs(section: str) -> None:
    threads = sg.get_num_threads()
    assert len(right_sides(section)) >= 15
    sg.set_num_threads(threads)


def agree(
    section: str, names: dict[str, Any], values: dict[str, Any], array: Any,
    without: tuple[str, ...] = (),
) -> int:  # fmt: skip
    """Run both columns, and compare the rows whose cells are an expression each; how many there are.

    ``names`` are those of the left column; ``values`` what the placeholders of the right stand for;
    rows in which a name of ``without`` stands are run and not compared.
    """
    compared = 0
    for (left, _), (ours, ournames) in zip(rows(section), right_sides(section), strict=True):
        if left.startswith(WORDS) or any(word in left for word in NOT_RUN):
            continue
        theirs = [run(code, names) for code in spans(left)]
        comparable = not any(re.search(rf"\b{name}\b", left) for name in without)
        comparable = comparable and isinstance(ours, sg.Node) and not ours.is_eager
        if comparable and theirs and theirs[0] is not None:
            given = {ournames[name]: v for name, v in values.items() if name in ournames}
            wanted = array(theirs[0])
            np.testing.assert_allclose(sg.evaluate(ours, given), wanted, rtol=1e-5, atol=1e-6)
            compared += 1
    return compared


def test_sympy() -> None:
    import sympy

    names: dict[str, Any] = {"sympy": sympy}

    def array(expression: Any) -> Any:
        return float(expression.subs(names["x"], 0.75).evalf())

    assert agree("SymPy", names, {"x": np.asarray(0.75)}, array) == 8


@pytest.mark.peers
def test_pytorch() -> None:
    torch = pytest.importorskip("torch")
    ours = setup("PyTorch")
    X, Y = ours["X"], ours["Y"]
    names = {"torch": torch, "nn": torch.nn, "F": torch.nn.functional, "X": X, "Y": Y}

    def array(tensor: Any) -> np.ndarray:
        found: np.ndarray = tensor.detach().numpy()
        return found

    # weights start anew on each side
    assert agree("PyTorch", names, {"x": X, "y": Y}, array, without=("net", "W")) == 9


@pytest.mark.peers
def test_jax() -> None:
    jax = pytest.importorskip("jax")
    ours = setup("JAX")
    values = {"x": ours["X"], "W": ours["W0"], "v": ours["V"]}
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        names = {name: jax.numpy.asarray(value) for name, value in values.items()}
        names |= {"jax": jax, "jnp": jax.numpy}
        assert agree("JAX", names, values, np.asarray) == 11
    finally:
        jax.config.update("jax_enable_x64", before)


@pytest.mark.peers
def test_pytensor() -> None:
    pytensor = pytest.importorskip("pytensor")
    ours = setup("PyTensor")
    names = {"pytensor": pytensor, "pt": pytensor.tensor, "X": ours["X"], "W0": ours["W0"]}

    def array(variable: Any) -> np.ndarray:
        if isinstance(variable, np.ndarray):
            return variable
        inputs = [names["x"]] if names["x"] in pytensor.graph.traversal.ancestors([variable]) else []
        return np.asarray(variable.eval(dict.fromkeys(inputs, ours["X"])))

    with pytensor.config.change_flags(mode="FAST_COMPILE", linker="py"):
        assert agree("PyTensor", names, {"x": ours["X"]}, array) == 7
