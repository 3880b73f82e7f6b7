"""Exported files in an environment without staticgrad.

``exports.py make FOLDER`` exports every model of the gallery, with inputs and what two calls gave;
``exports.py run FOLDER`` calls the exported files and compares all bits. The second needs NumPy, Numba
and SciPy alone.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

SIZES = {"batch": 12, "n": 9}
CALLS = 2


def make(folder: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "gallery"))
    from models import MODELS, compiled

    for model in MODELS:
        step = compiled(model)
        function = getattr(step, "function", step)
        name = model.__name__
        step.export(folder / f"{name}.py")
        rng = np.random.default_rng(0)
        data = {}
        for number, node in enumerate(function._graph.inputs):
            shape = tuple(SIZES.get(str(dim), dim) for dim in node.shape)
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
        np.savez(folder / f"{name}.npz", **data)


def run(folder: Path) -> None:
    for module in ("staticgrad", "sympy"):
        assert importlib.util.find_spec(module) is None, f"{module} is installed here"
    sys.path.insert(0, str(folder))
    for path in sorted(folder.glob("*.npz")):
        name, data = path.stem, dict(np.load(path))
        function = getattr(__import__(name), name)
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
