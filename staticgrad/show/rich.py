"""What notebooks show of nodes and of compiled functions.

The printers are imported when something is shown: most programs never do.
"""

from __future__ import annotations

from staticgrad.graph.node import Node
from staticgrad.ops.table import method


@method("format_latex")
def format_latex(node: Node) -> str:
    """A node in LaTeX. Raises TypeError for an eager tensor, which is a value and no formula."""
    if node.is_eager:
        raise TypeError(
            f"latex() of {node!r}: an eager tensor is a value; declare the graph with "
            "sg.placeholder, or print grad_fn"
        )
    from staticgrad.show.latex import latex_of

    return latex_of(node)
