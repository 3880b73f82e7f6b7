"""``staticgrad show``, ``explain`` and ``export``: what was made of a model, to be read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staticgrad.cli.models import ModelError, add_model, add_sizes, load, sizes_for
from staticgrad.cli.terminal import Bar, print_source
from staticgrad.graph.node import GraphError

if TYPE_CHECKING:
    from staticgrad.measure.model import Model


def add_commands(commands: Any) -> None:
    show = commands.add_parser(
        "show",
        help="print the code generated for a model, its mathematics, its graph, or its passes",
        description="Print what was made of a model. Without an optimizer the step computes the "
        "loss and the gradients of all parameters. Colours are for terminals; NO_COLOR is honoured.",
        epilog="example: staticgrad show model.py:classifier --math",
    )
    add_model(show)
    what = show.add_mutually_exclusive_group()
    for name, text in (
        ("code", "the generated Python of the whole step (what is shown unless told)"),
        ("math", "the loss and its gradients as formulas"),
        ("graph", "the declared graph: a line for each node, with type and line"),
        ("passes", "what each pass of the compiler did, and what the step costs after it"),
    ):
        what.add_argument(
            f"--{name}", action="store_const", const=name, dest="what", default="code", help=text
        )
    add_sizes(show, "for --passes, 64 unless told")
    show.set_defaults(run=run_show)

    explain = commands.add_parser(
        "explain",
        help="write a page with source, mathematics, graph and code of a model side by side",
        description="Write one HTML file that needs no network: the model's source, its "
        "mathematics, its graph and the generated code, linked with each other.",
        epilog="example: staticgrad explain model.py:classifier -o classifier.html --size batch=64",
    )
    add_model(explain)
    explain.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the page to write"
    )
    add_sizes(explain)
    explain.set_defaults(run=run_explain)

    export = commands.add_parser(
        "export",
        help="write Python files that compute a model's step without staticgrad",
        description="Write the generated step as a Python file, and beside it a package of what it "
        "calls. Both need NumPy, Numba and SciPy alone.",
        epilog="example: staticgrad export model.py:classifier -o step.py",
    )
    add_model(export)
    export.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the file to write: a "
        "name that can be imported, such as step.py",
    )  # fmt: skip
    export.set_defaults(run=run_export)


def compiled(model: Model) -> Any:
    """The model's step; what is wrong with the model is told without our own traceback."""
    try:
        with Bar(1) as bar:
            bar.stage(f"compiling {model.name}")
            return model.step
    except (GraphError, ValueError, TypeError) as error:
        raise ModelError(f"the model cannot be compiled: {error}", 1) from error


def run_show(options: argparse.Namespace) -> int:
    model = load(options.model)
    if options.what == "code":
        print_source(compiled(model).source)
    elif options.what == "math":
        print(mathematics(model))
    elif options.what == "graph":
        from staticgrad.show.text import show

        show([model.loss, *model.gradients] if model.loss is not None else model.graph.roots)
    else:
        print(passes(model, options.size))
    return 0


def passes(model: Model, given: list[tuple[str, int]]) -> str:
    """The table of passes, in numbers."""
    sizes = sizes_for(model, given)
    told = ", ".join(f"{name} = {size}" for name, size in sizes.items())
    table = compiled(model).passes.at(**sizes)
    return f"counts of one call with {told}\n\n{table}" if told else str(table)


def mathematics(model: Model) -> str:
    """The loss and its gradients as formulas, a line for each and for what they share."""
    from staticgrad.measure.model import name_loss
    from staticgrad.show.plain import plain
    from staticgrad.show.trees import lines_of

    try:
        if model.loss is None:
            roots = [*model.graph.roots]
        else:
            roots = [name_loss(model.loss), *model.gradients]
    except GraphError as error:
        raise ModelError(f"the model cannot be differentiated: {error}", 1) from error
    lines = lines_of(roots)
    width = max(len(line.left.name) for line in lines)
    return "\n".join(f"{line.left.name:<{width}} = {plain(line.right)}" for line in lines)


def run_explain(options: argparse.Namespace) -> int:
    model = load(options.model)
    sizes = sizes_for(model, options.size)
    step = compiled(model)
    target = _writable(options.output)
    from staticgrad.measure.samples import sample_arrays

    inputs = sample_arrays(model.inputs, model.graph.roots, sizes)
    try:
        with Bar(1) as bar:
            bar.stage("checking gradients, taking times, writing the page")
            step.explain(target, *inputs)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}", 1) from None
    print(f"{target}: {target.stat().st_size / 1024:.0f} KiB", file=sys.stderr)
    return 0


def run_export(options: argparse.Namespace) -> int:
    target = _writable(options.output)
    if target.suffix != ".py" or not target.stem.isidentifier():
        raise ModelError(
            f"-o {options.output}: expected the name of a module that can be imported, such as "
            "step.py", 2,
        )  # fmt: skip
    step = compiled(load(options.model))
    try:
        step.export(target)
    except OSError as error:
        raise ModelError(f"{target} cannot be written: {error.strerror}", 1) from None
    lines = len(target.read_text(encoding="utf-8").splitlines())
    print(f"{target}: {lines} lines, and {target.stem}_kernels beside it", file=sys.stderr)
    return 0


def _writable(path: Path) -> Path:
    """The path, if its folder exists: that is found out before anything is compiled."""
    if not path.parent.is_dir():
        raise ModelError(f"-o {path}: there is no folder {path.parent}", 2)
    if path.is_dir():
        raise ModelError(f"-o {path} is a folder: name a file", 2)
    return path
