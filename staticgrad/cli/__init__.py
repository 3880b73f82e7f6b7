"""The ``staticgrad`` command: a file for each family of commands."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from staticgrad.cli import disk, measuring, reading
from staticgrad.cli.models import ModelError
from staticgrad.cli.terminal import end_quietly, problem
from staticgrad.version import __version__

#: what shells report of a command whose reader has gone, and of one that was interrupted
READER_GONE, INTERRUPTED = 141, 130


def parser() -> argparse.ArgumentParser:
    """The command line: what each command does and takes."""
    result = argparse.ArgumentParser(
        prog="staticgrad",
        description="Declare a model graph once; call one compiled function for forward, backward "
        "and update.",
        epilog="MODEL is module.py:function, a function without arguments that declares a model and "
        "returns inputs and loss; staticgrad show --help says more.",
    )
    result.add_argument("--version", action="version", version=f"staticgrad {__version__}")
    commands = result.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for family in (reading, measuring, disk):
        family.add_commands(commands)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 when all went well, 1 when not, 2 for bad usage."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["bench"]:
            # the suite has a command line of its own
            return measuring.run_bench(given[1:])
        options = parser().parse_args(given)
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except ModelError as error:
        problem(str(error))
        return error.code
    except BrokenPipeError:
        end_quietly()
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED


__all__ = ["main", "parser"]
