"""``step.explain("out.html")``: source, mathematics, graph and code of a function as one page.

What makes the page is loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from staticgrad.ops.table import method

if TYPE_CHECKING:
    from staticgrad.runtime.function import CompiledFunction
    from staticgrad.training.step import TrainStep


@method("explain")
def write_page(
    step: CompiledFunction | TrainStep, path: str | Path, inputs: Sequence[Any], measure: bool
) -> Path:
    """Write the page of a compiled function or a training step; see ``CompiledFunction.explain``."""
    from staticgrad.explain.page import Page

    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"explain: there is no folder {target.parent} for {target.name}")
    target.write_text(Page(step, inputs).html(measure), encoding="utf-8")
    return target
