"""Where static pays: time per step, and the steps after which its compilation has paid, against the
size of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import workloads
from .suite import EAGER, OURS, Result, run
from .worker import Crew

LIBRARIES = (OURS, *EAGER, "JAX jit")
COLOURS = {OURS: "#0072b2", "staticgrad eager": "#56b4e9", "PyTorch eager": "#d55e00",
           "JAX jit": "#009e73"}  # fmt: skip


@dataclass
class Point:
    """A size of the model, and what was measured there."""

    width: int
    parameters: int
    result: Result


def measure(widths: Sequence[int], chosen: Sequence[str], rounds: int, note: Callable[[str], None],
            crew: Crew) -> list[Point]:  # fmt: skip
    libraries = [name for name in LIBRARIES if name in chosen]
    points = []
    for width in widths:
        workload = workloads.named(f"width_{width}")
        result = run(workload, libraries, rounds, note, crew, extras=False)
        count = sum(array.size for array in workload.parameters.values())
        points.append(Point(width, count, result))
    return points


def plot(points: Sequence[Point], path: Path, subtitle: str) -> None:
    """Two panels; the file's ending says whether it is SVG or PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # text stays text, and the same numbers give the same file
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": "staticgrad", "font.size": 10}):
        figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
        for name, colour in COLOURS.items():
            drawn = [
                (p.parameters, p.result.timings[name]) for p in points if name in p.result.timings
            ]
            if drawn:
                sizes, timings = zip(*drawn, strict=True)
                left.plot(sizes, [t.median * 1e6 for t in timings], "o-", color=colour, label=name)
                left.fill_between(sizes, [t.low * 1e6 for t in timings],
                                  [t.high * 1e6 for t in timings], color=colour, alpha=0.2)  # fmt: skip
        for name in EAGER:
            steps = [(p.parameters, p.result.break_even(name)) for p in points]
            found = [(size, step) for size, step in steps if step is not None and step < 1e9]
            if found:
                label, colour = f"against {name}", COLOURS[name]
                right.plot(*zip(*found, strict=True), "o-", color=colour, label=label)
        left.set(xscale="log", yscale="log", xlabel="parameters", ylabel="µs per step",
                 title="Time per step")  # fmt: skip
        right.set(xscale="log", yscale="log", xlabel="parameters", ylabel="steps",
                  title="Steps until compiling has paid")  # fmt: skip
        for axes in (left, right):
            axes.grid(alpha=0.3)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(frameon=False)
        figure.suptitle(f"MLP 64-n-n-10, batch 64, Adam, float32\n{subtitle}", fontsize=9)
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, metadata=metadata, dpi=150)
        pyplot.close(figure)
