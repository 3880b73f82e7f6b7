"""What commands print, and where: colours and bars on terminals alone, plain text everywhere else."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import Any


def print_source(source: str) -> None:
    """Python source on standard output, coloured where that is a terminal."""
    from staticgrad.show.colour import has_colours

    if has_colours(sys.stdout):
        from staticgrad.show.highlight import coloured

        source = coloured(source)
    print(source.rstrip("\n"))


def problem(text: str) -> None:
    """Say on standard error what is wrong."""
    sys.stdout.flush()
    print(f"staticgrad: {text}", file=sys.stderr)


def end_quietly() -> None:
    """Let Python end without a word about standard output, whose reader has gone."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  open until the process ends


class Bar:
    """A progress bar on standard error, where that is a terminal and tqdm is installed; nothing
    elsewhere. ``total`` is the number of stages."""

    def __init__(self, total: int) -> None:
        self._bar: Any = None
        self._started = 0
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ModuleNotFoundError:
                return
            form = "{bar:20} {n_fmt}/{total_fmt} {elapsed} {desc}"
            self._bar = tqdm(total=total, file=sys.stderr, bar_format=form, leave=False)

    def stage(self, text: str) -> None:
        """Say what comes now; what came before is done."""
        if self._bar is not None:
            self._bar.update(self._started)
            self._bar.set_description_str(text)
        self._started = 1

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
