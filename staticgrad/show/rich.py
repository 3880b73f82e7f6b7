"""What notebooks show of nodes and of compiled functions.

The printers are imported when something is shown: most programs never do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from staticgrad.graph.node import Node
from staticgrad.ops.table import method

#: for what notebooks show; colours are the page's own, so that they fit light and dark ones
STYLE = """\
.sg-view { font-size: 0.95em; }
.sg-view table { border-collapse: collapse; margin: 0.3em 0; }
.sg-view td, .sg-view th {
  text-align: left; padding: 0.15em 0.9em 0.15em 0; border: 0; background: none;
  vertical-align: middle;
}
.sg-view th { font-weight: 600; opacity: 0.7; }
.sg-view .sg-type { opacity: 0.65; font-family: ui-monospace, Menlo, Consolas, monospace;
  font-size: 0.85em; white-space: nowrap; }
.sg-view .sg-left { text-align: right; padding-right: 0.4em; }
.sg-view details > summary { cursor: pointer; opacity: 0.8; }
"""


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


@method("format_html")
def format_html(node: Node) -> str:
    """A node's equations in MathML with their types: its own first, then what it is made of."""
    from staticgrad.show.mathml import equations

    *parts, last = equations([node])
    rows = []
    for equation in [last, *parts]:
        left, right = equation.sides
        told = equation.is_named and left != right
        name = left if equation is not last or told else ""
        rows.append(
            f'<tr><td class="sg-left">{_math(name) if name else ""}</td>'
            f"<td>{_math(f'<mo>=</mo>{right}' if name else right)}</td>"
            f'<td class="sg-type">{escape(str(equation.node.type))}</td></tr>'
        )
        if equation is last and parts:
            rows.append('<tr><th class="sg-left">where</th><td></td><td></td></tr>')
    return f'<div class="sg-view"><style>{STYLE}</style><table>{"".join(rows)}</table></div>'


def compiled_html(
    signature: str,
    arrays: Iterable[Sequence[str]],
    source: str,
    path: str,
) -> str:
    """A compiled function: its signature, its arrays as rows of name, dtype, shape and kind, and the
    generated code to unfold."""
    from staticgrad.show import highlight

    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(item)}</td>' for item in row)}</tr>" for row in arrays
    )
    head = "".join(f"<th>{title}</th>" for title in ("array", "dtype", "shape", "kind"))
    count = len(source.splitlines())
    return (
        f'<div class="sg-view"><style>{STYLE}{highlight.STYLE}</style>'
        f"<code>{escape(signature)}</code>"
        f"<table><tr>{head}</tr>{rows}</table>"
        f"<details><summary>generated code: {count} lines, {escape(path)}</summary>"
        f"{highlight.highlight(source)}</details></div>"
    )


def _math(inner: str) -> str:
    return f'<math displaystyle="true"><mrow>{inner}</mrow></math>'
