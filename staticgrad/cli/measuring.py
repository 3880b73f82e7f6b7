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

from staticgrad.cli.terminal import problem


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
