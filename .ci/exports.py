"""Exported files in an environment without staticgrad.

``exports.py make FOLDER`` exports every model of the gallery and every function that the examples
compile, with inputs and what two calls gave;
``exports.py run FOLDER`` calls the exported files and compares all bits. The second needs NumPy, Numba
and SciPy alone.
"""

import contextlib
import gc
import importlib.util
import io
import runpy
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SIZES = {"batch": 12, "n": 9}
CALLS = 2


def functions_of_examples():
    """What the examples compile, by name."""
    from staticgrad.runtime.function import CompiledFunction

    gc.collect()
    known = [f for f in gc.get_objects() if isinstance(f, CompiledFunction)]
    for path in sorted((ROOT / "examples").glob("*.py")):
        if path.name in ("picture.py", "look_inside.py"):  # drawings of other steps
            continue
        sys.argv = [str(path)]
        with contextlib.redirect_stdout(io.StringIO()):
            kept = runpy.run_path(str(path), run_name="__main__")
        everything = gc.get_objects()
        found = [f for f in everything if isinstance(f, CompiledFunction) and f not in known]
        known += found
        for number, function in enumerate(found):
            yield f"example_{path.stem}_{number}", function
        del kept, everything


def make(folder: Path) -> None:
    sys.path.insert(0, str(ROOT / "examples" / "gallery"))
    from models import MODELS, compiled

    steps = [(model.__name__, compiled(model)) for model in MODELS]
    steps += functions_of_examples()
    for name, step in steps:
        function = getattr(step, "function", step)
        function.export(folder / f"{name}.py")
        rng = np.random.default_rng(0)
        data = {}
        for number, node in enumerate(function._graph.inputs):
            shape = tuple(d if isinstance(d, int) else SIZES.get(str(d), 12) for d in node.shape)
            if node.dtype.kind == "i":
                data[f"input{number}"] = rng.integers(0, 10, shape)
            else:
                data[f"input{number}"] = rng.uniform(0.5, 1.5, shape).astype(node.dtype)
        program = function._generated.program
        for buffer in program.parameters:
            data[f"parameter_{buffer.name}"] = buffer.node.value.copy()
        inputs = [data[f"input{k}"] for k in range(len(function._graph.inputs))]
        for call in range(CALLS):
            results = function(*inputs)
            results = results if isinstance(results, list) else [results]
            data |= {f"result{call}_{k}": np.array(r) for k, r in enumerate(results)}
        for buffer in program.parameters:
            data[f"after_{buffer.name}"] = buffer.node.value.copy()
        np.savez(folder / f"{name}.npz", function=function.name, **data)


def run(folder: Path) -> None:
    for module in ("staticgrad", "sympy"):
        assert importlib.util.find_spec(module) is None, f"{module} is installed here"
    sys.path.insert(0, str(folder))
    for path in sorted(folder.glob("*.npz")):
        name, data = path.stem, dict(np.load(path))
        function = getattr(__import__(name), str(data.pop("function")))
        inputs = [data[f"input{k}"] for k in range(sum(key.startswith("input") for key in data))]
        parameters = {
            key.removeprefix("parameter_"): value
            for key, value in data.items() if key.startswith("parameter_")
        }  # fmt: skip
        for call in range(CALLS):
            results = function(*inputs, **parameters)
            results = results if isinstance(results, tuple) else (results,)
            for k, result in enumerate(results):
                assert np.array(result).tobytes() == data[f"result{call}_{k}"].tobytes(), (name, k)
        for key, value in parameters.items():
            assert value.tobytes() == data[f"after_{key}"].tobytes(), (name, key)
        print(f"{name}: the same bits")


if __name__ == "__main__":
    {"make": make, "run": run}[sys.argv[1]](Path(sys.argv[2]))
