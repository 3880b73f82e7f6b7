"""``staticgrad demo``, ``bench`` and ``compare``: what compiling brings."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from staticgrad.cli.models import ModelError, add_model, add_sizes, load, sizes_for
from staticgrad.cli.terminal import Bar, problem
from staticgrad.graph.node import GraphError


def add_commands(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="train a digits classifier and show its generated backward pass",
        description="Train a 64-128-128-10 classifier on scikit-learn's 1,797 images of digits, "
        "show the generated backward pass, and time the compiled step against the same graph "
        "executed op by op in NumPy.",
        epilog="example: staticgrad demo --epochs 10",
    )
    demo.add_argument(
        "--epochs", type=positive, default=40, help="passes over the data (%(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="of weights and shuffling (%(default)s)")
    demo.add_argument("--quiet", action="store_true", help="no progress bar, no source")
    demo.set_defaults(run=run_demo)

    compare = commands.add_parser(
        "compare",
        help="time a model's step compiled, in our eager mode and in PyTorch's",
        description="Measure one step of a model, compiled, in staticgrad's eager mode, and in "
        "PyTorch's where it is installed: time, operations, memory, what compiling takes and after "
        "how many steps it has paid. All have one core and one thread. What the numbers mean: "
        "help(sg.compare).",
        epilog="example: staticgrad compare model.py:classifier --size batch=64",
    )
    add_model(compare)
    add_sizes(compare)
    compare.add_argument(
        "--arrays", type=Path, metavar="FILE",
        help="an .npz file with an array for each input, by name; random ones unless given",
    )  # fmt: skip
    compare.add_argument(
        "--rounds", type=positive, default=11, help="turns that each way gets (%(default)s)"
    )
    compare.set_defaults(run=run_compare)

    commands.add_parser(
        "bench",
        help="run the benchmark suite; staticgrad bench --help shows its options",
        add_help=False,
    )


def positive(text: str) -> int:
    """A number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return number


def run_demo(options: argparse.Namespace) -> int:
    from staticgrad.demo import demo

    try:
        accuracy = demo(options.epochs, options.seed, options.quiet)
    except ModuleNotFoundError as error:
        problem(f"demo needs {error.name}: pip install 'staticgrad[demo]'")
        return 1
    return 0 if accuracy >= 0.96 else 1


def run_compare(options: argparse.Namespace) -> int:
    from staticgrad.measure import machine
    from staticgrad.measure.compare import compare

    if not machine.is_bound():
        # libraries read how many threads they may have when they are imported, as they were here
        machine.bind(1)
        sys.stdout.flush()
        return subprocess.run([sys.executable, *_again()], check=False).returncode
    model = load(options.model)
    sizes = sizes_for(model, options.size)
    arrays = _arrays(options.arrays, [str(node.name) for node in model.inputs])
    # a part for each round, and for compiling, comparing numbers, and memory
    try:
        with Bar(options.rounds + 3) as bar:
            found = compare(
                model, arrays=arrays, rounds=options.rounds, note=bar.stage, **sizes
            )
    except (GraphError, IndexError, TypeError, ValueError) as error:
        raise ModelError(f"{options.model} cannot be compared: {error}", 1) from error
    print(found)
    return 0


def _again() -> list[str]:
    """The arguments with which Python runs this command once more."""
    return ["-m", "staticgrad", *sys.argv[1:]]


def _arrays(path: Path | None, names: Sequence[str]) -> list[Any] | None:
    """The arrays of a file, in the order of the inputs. Raises ModelError where one is missing."""
    if path is None:
        return None
    import numpy as np

    try:
        with np.load(path) as found:
            missing = [name for name in names if name not in found]
            if missing:
                raise ModelError(f"--arrays {path}: no array {', '.join(missing)}", 2)
            return [found[name] for name in names]
    except (OSError, ValueError) as error:
        raise ModelError(f"--arrays {path} cannot be read: {error}", 2) from None


def run_bench(arguments: Sequence[str]) -> int:
    """The suite in a process of its own: it chooses cores and threads before NumPy is imported."""
    environment = dict(os.environ)
    module = "staticgrad_bench"
    if importlib.util.find_spec(module) is None:
        # in a clone it is the folder beside this package
        clone = Path(__file__).resolve().parents[2]
        if not (clone / "bench" / "__main__.py").is_file():
            problem("bench needs the package staticgrad_bench")
            return 1
        module = "bench"
        path = [str(clone), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
    environment["STATICGRAD_BENCH_PROGRAM"] = "staticgrad bench"
    command = [sys.executable, "-P", "-m", module, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode
