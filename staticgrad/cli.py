"""The ``staticgrad`` command."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from staticgrad.version import __version__


def parser() -> argparse.ArgumentParser:
    """The command line: what each command does and takes."""
    result = argparse.ArgumentParser(
        prog="staticgrad",
        description="Declare a model graph once; call one compiled function for forward, backward "
        "and update.",
    )
    result.add_argument("--version", action="version", version=f"staticgrad {__version__}")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="train a digits classifier and show its generated backward pass",
        description="Train a 64-128-128-10 classifier on scikit-learn's 1,797 images of digits, "
        "show the generated backward pass, and time the compiled step against the same graph "
        "executed op by op in NumPy.",
    )
    demo.add_argument(
        "--epochs", type=positive, default=40, help="passes over the data (%(default)s)"
    )
    demo.add_argument("--seed", type=int, default=0, help="of weights and shuffling (%(default)s)")
    demo.add_argument("--quiet", action="store_true", help="no progress bar, no source")

    commands.add_parser(
        "bench",
        help="run the benchmark suite; staticgrad bench --help shows its options",
        add_help=False,
    )

    cache = commands.add_parser("cache", help="list, clear or locate the generated code on disk")
    cache.add_argument("action", choices=("list", "clear", "path"))
    return result


def positive(text: str) -> int:
    """A number above zero, for argparse."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 when all went well, 1 when not, 2 for bad usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["bench"]:
        # the suite has a command line of its own
        return run_bench(given[1:])
    options = parser().parse_args(given)
    if options.command == "demo":
        return run_demo(options)
    return run_cache(options.action)


def run_demo(options: argparse.Namespace) -> int:
    from staticgrad.demo import demo

    try:
        accuracy = demo(options.epochs, options.seed, options.quiet)
    except ModuleNotFoundError as error:
        print(
            f"staticgrad demo needs {error.name}: pip install 'staticgrad[demo]'", file=sys.stderr
        )
        return 1
    return 0 if accuracy >= 0.96 else 1


def run_bench(arguments: Sequence[str]) -> int:
    """The suite in a process of its own: it chooses cores and threads before NumPy is imported."""
    environment = dict(os.environ)
    module = "staticgrad_bench"
    if importlib.util.find_spec(module) is None:
        # in a clone it is the folder beside this package
        clone = Path(__file__).resolve().parents[1]
        if not (clone / "bench" / "__main__.py").is_file():
            print("staticgrad bench needs the package staticgrad_bench", file=sys.stderr)
            return 1
        module = "bench"
        path = [str(clone), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(path)
    environment["STATICGRAD_BENCH_PROGRAM"] = "staticgrad bench"
    command = [sys.executable, "-P", "-m", module, *arguments]
    return subprocess.run(command, env=environment, check=False).returncode


def run_cache(action: str) -> int:
    from staticgrad.runtime import cache

    if action == "path":
        print(cache.cache_directory())
    elif action == "clear":
        print(f"removed {cache.clear()} functions from {cache.cache_directory()}")
    else:
        found = cache.entries()
        for entry in found:
            print(f"{entry.bytes / 1024:8.1f} KiB  {entry.path}")
        print(f"{len(found)} functions in {cache.cache_directory()}")
    return 0
