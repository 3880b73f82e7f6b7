"""The benchmark suite: staticgrad, compiled and eager, with PyTorch, JAX and PyTensor beside it.

Every workload runs with every library that is installed, in turns on the same cores, after its
numbers have been checked against float64. Prints tables; with --output it also writes RESULTS.md,
RESULTS.json and crossover.svg. Ends with code 1 where a library's numbers are wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Report
    from .worker import Crew

ROUNDS, QUICK_ROUNDS = 11, 3
FRESH_WORKLOAD = "digits"


def parser(program: str) -> argparse.ArgumentParser:
    # names of libraries and workloads are checked later: their modules may not be imported yet
    result = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--workloads", metavar="A,B", type=names,
                        help="only these (--list shows all)")  # fmt: skip
    result.add_argument("--libraries", metavar="X,Y", type=names,
                        help="only these; ratios need staticgrad")  # fmt: skip
    result.add_argument("--threads", type=positive, default=1, metavar="N",
                        help="cores and threads for each library (%(default)s)")  # fmt: skip
    result.add_argument("--rounds", type=positive, metavar="N",
                        help=f"turns per library and workload ({ROUNDS})")  # fmt: skip
    result.add_argument("--output", type=Path, metavar="FOLDER",
                        help="write RESULTS.md, RESULTS.json and crossover.svg there")  # fmt: skip
    result.add_argument("--quick", action="store_true",
                        help=f"{QUICK_ROUNDS} rounds, one start per library, no crossover")  # fmt: skip
    result.add_argument("--no-starts", action="store_true", help="leave out the fresh processes")
    result.add_argument("--no-crossover", action="store_true",
                        help="leave out the sizes of the model")  # fmt: skip
    result.add_argument("--profile", metavar="WORKLOAD",
                        help="show where the time of one step goes, and end")  # fmt: skip
    result.add_argument("--list", action="store_true", help="show workloads and libraries, and end")
    return result


def names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
    return value


class Progress:
    """A bar on standard error where that is a terminal, a line per workload elsewhere."""

    def __init__(self, total: int) -> None:
        self.bar: Any = None
        if sys.stderr.isatty():
            try:
                from tqdm import tqdm
            except ModuleNotFoundError:
                return
            self.bar = tqdm(total=total, file=sys.stderr, bar_format="{n}/{total} {elapsed} {desc}")

    def note(self, text: str) -> None:
        if self.bar is not None:
            self.bar.set_description_str(text)

    def done(self, text: str) -> None:
        if self.bar is not None:
            self.bar.update()
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.set_description_str("")
            self.bar.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; returns the exit code."""
    start = time.perf_counter()
    given = sys.argv[1:] if arguments is None else list(arguments)
    program = os.environ.get("STATICGRAD_BENCH_PROGRAM", "python -m bench")
    options = parser(program)
    chosen = options.parse_args(given)
    from . import machine

    try:
        machine.bind(chosen.threads)
    except ValueError as error:
        options.error(str(error))
    from .libraries import LIBRARIES
    from .workloads import WORKLOADS, all_workloads

    if chosen.list:
        for workload in all_workloads():
            print(f"{workload.name:16} {workload.title}")
        print(f"\nlibraries: {', '.join(LIBRARIES)}")
        return 0
    for what, known in (("workloads", list(WORKLOADS)), ("libraries", list(LIBRARIES))):
        unknown = [name for name in getattr(chosen, what) or [] if name not in known]
        if unknown:
            options.error(f"--{what}: no {', '.join(unknown)}; there are {', '.join(known)}")
    if chosen.profile:
        if chosen.profile not in WORKLOADS:
            options.error(f"--profile: no {chosen.profile}; there are {', '.join(WORKLOADS)}")
        return show_profile(chosen.profile)
    from .report import Report, as_json, markdown, terminal

    command = f"{program} {shlex.join(given)}".strip()
    report = Report(
        command, machine.processor(), chosen.threads, machine.versions(),
        time.strftime("%Y-%m-%d"), chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS),
    )  # fmt: skip
    measure(report, chosen)
    report.seconds = time.perf_counter() - start
    print(terminal(report))
    if chosen.output:
        chosen.output.mkdir(parents=True, exist_ok=True)
        picture = draw(report, chosen.output) if report.crossover else ""
        text = markdown(report, picture)
        (chosen.output / "RESULTS.md").write_text(text, encoding="utf-8")
        figures = json.dumps(as_json(report), indent=1)
        (chosen.output / "RESULTS.json").write_text(figures + "\n", encoding="utf-8")
    return 1 if any(result.wrong for result in report.results) else 0


def show_profile(name: str) -> int:
    from . import libraries
    from .workloads import named

    workload = named(name)
    if workload.epoch:
        print(f"{name} is many steps; profile one of them", file=sys.stderr)
        return 1
    step = libraries.compiled(workload)
    arrays = list(workload.inputs.values())
    if not workload.optimizer:
        arrays = [*workload.parameters.values(), *arrays]
    print(step.profile(*arrays))
    return 0


def measure(report: Report, chosen: argparse.Namespace) -> None:
    """Fill in the report. Machine code that a user's cache may hold is left alone, and not used."""
    from . import fresh
    from .libraries import LIBRARIES
    from .worker import Crew
    from .workloads import WIDTHS, WORKLOADS

    libraries = chosen.libraries or list(LIBRARIES)
    workloads = chosen.workloads or list(WORKLOADS)
    widths = () if chosen.quick or chosen.no_crossover else WIDTHS
    starts = [] if chosen.no_starts or FRESH_WORKLOAD not in workloads else libraries
    progress = Progress(len(workloads) + len(starts) + len(widths))
    before = dict(os.environ)
    try:
        with tempfile.TemporaryDirectory() as folder, Crew() as crew:
            os.environ.update(fresh.cache_variables(folder))
            start(report, starts, 1 if chosen.quick else fresh.PROCESSES, progress)
            run(report, workloads, libraries, progress, crew)
            grow(report, widths, libraries, progress, crew)
    finally:
        progress.close()
        os.environ.clear()
        os.environ.update(before)


def start(report: Report, libraries: Sequence[str], processes: int, progress: Progress) -> None:
    """Starting times, in processes of their own."""
    import importlib.util

    from . import fresh
    from .libraries import LIBRARIES

    for name in libraries:
        if importlib.util.find_spec(LIBRARIES[name][0]) is None:
            continue
        progress.note(f"starting: {name}")
        report.fresh_workload = FRESH_WORKLOAD
        try:
            report.fresh[name] = fresh.measure(name, FRESH_WORKLOAD, processes)
        except RuntimeError as error:
            report.fresh_failures[name] = str(error)
        progress.done(f"started {name}")


def run(report: Report, workloads: Sequence[str], libraries: Sequence[str], progress: Progress,
        crew: Crew) -> None:  # fmt: skip
    from . import suite
    from .worker import Failure
    from .workloads import named

    if suite.OURS in libraries and report.rounds > QUICK_ROUNDS:
        progress.note("memory bandwidth")
        try:
            report.bandwidth = crew.worker("limit").ask("bandwidth")
        except Failure as failure:
            print(f"memory bandwidth: {failure}", file=sys.stderr)
    for name in workloads:
        result = suite.run(named(name), libraries, report.rounds, progress.note, crew)
        report.results.append(result)
        ours = result.median(suite.OURS)
        progress.done(f"{name}: {ours * 1e6:,.1f} µs" if ours else name)


def grow(report: Report, widths: Sequence[int], libraries: Sequence[str], progress: Progress,
         crew: Crew) -> None:  # fmt: skip
    """The crossover, size by size."""
    from . import crossover

    for width in widths:
        report.crossover += crossover.measure(
            [width], libraries, min(report.rounds, 7), progress.note, crew
        )
        progress.done(f"width {width}")


def draw(report: Report, folder: Path) -> str:
    """The picture's name; nothing where matplotlib is missing."""
    from . import crossover
    from .report import environment

    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
        return ""
    subtitle = environment(report).split(";")[0]
    crossover.plot(report.crossover, folder / "crossover.svg", subtitle)
    return "crossover.svg"


if __name__ == "__main__":
    sys.exit(main())
