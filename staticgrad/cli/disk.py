"""``staticgrad cache``: the generated code on disk."""

from __future__ import annotations

import argparse
from typing import Any


def add_commands(commands: Any) -> None:
    cache = commands.add_parser(
        "cache",
        help="list, clear or locate the generated code on disk",
        description="Generated modules and their machine code lie in one folder, so that a second "
        "process need not compile. STATICGRAD_CACHE_DIR moves it.",
        epilog="example: staticgrad cache list",
    )
    cache.add_argument(
        "action",
        choices=("list", "clear", "path"),
        help="list: a line for each function, the newest first; clear: delete them all; path: where "
        "the folder is",
    )
    cache.set_defaults(run=run_cache)


def run_cache(options: argparse.Namespace) -> int:
    from staticgrad.runtime import cache

    if options.action == "path":
        print(cache.cache_directory())
    elif options.action == "clear":
        print(f"removed {cache.clear()} functions from {cache.cache_directory()}")
    else:
        found = cache.entries()
        for entry in found:
            print(f"{entry.bytes / 1024:8.1f} KiB  {entry.path}")
        print(f"{len(found)} functions in {cache.cache_directory()}")
    return 0
