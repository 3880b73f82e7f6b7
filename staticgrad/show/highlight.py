"""Python source as HTML, its tokens marked for colours and for links; and for terminals.

Each line is HTML of its own, with no element left open, so that a page can number lines or set them
apart. Whatever the source says is escaped.
"""

from __future__ import annotations

import html
import io
import keyword
import re
import tokenize
from collections.abc import Collection, Iterator

#: colours for light and dark pages; ``pre.sg-code`` holds the code
STYLE = """\
.sg-code {
  --sg-text: #24292f; --sg-keyword: #8250df; --sg-function: #0550ae; --sg-number: #0a6e4f;
  --sg-string: #0a3069; --sg-comment: #57606a; --sg-operator: #57606a;
  color: var(--sg-text); tab-size: 4; font-family: ui-monospace, Menlo, Consolas, monospace;
  text-align: left; white-space: pre; overflow-x: auto;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) .sg-code {
    --sg-text: #e6edf3; --sg-keyword: #d2a8ff; --sg-function: #79c0ff; --sg-number: #7ee2b8;
    --sg-string: #a5d6ff; --sg-comment: #9198a1; --sg-operator: #9198a1;
  }
}
[data-theme="dark"] .sg-code, [data-jp-theme-light="false"] .sg-code, .vscode-dark .sg-code {
  --sg-text: #e6edf3; --sg-keyword: #d2a8ff; --sg-function: #79c0ff; --sg-number: #7ee2b8;
  --sg-string: #a5d6ff; --sg-comment: #9198a1; --sg-operator: #9198a1;
}
[data-theme="light"] .sg-code, [data-jp-theme-light="true"] .sg-code, .vscode-light .sg-code {
  --sg-text: #24292f; --sg-keyword: #8250df; --sg-function: #0550ae; --sg-number: #0a6e4f;
  --sg-string: #0a3069; --sg-comment: #57606a; --sg-operator: #57606a;
}
.sg-code .k { color: var(--sg-keyword); }
.sg-code .f { color: var(--sg-function); }
.sg-code .m { color: var(--sg-number); }
.sg-code .s { color: var(--sg-string); }
.sg-code .c { color: var(--sg-comment); font-style: italic; }
.sg-code .o { color: var(--sg-operator); }
"""

WORD = re.compile(r"[^\W\d]\w*")


#: the same kinds on terminals: SGR codes that are readable on light and on dark ground
ANSI = {"k": "35", "f": "34", "m": "36", "s": "32", "c": "90", "o": ""}


def pieces(source: str) -> list[list[tuple[str, str]]] | None:
    """Each line of Python source as (kind, text), which together are the line; None for source that is
    no Python.

    Kinds: "k" keyword, "f" a name that is called or defined, "n" another name, "m" number, "s" string,
    "c" comment, "o" operator, "" what lies between.
    """
    lines = source.splitlines()
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return None
    result: list[list[tuple[str, str]]] = [[] for _ in lines]
    done = [0] * len(lines)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        (first, start), (last, stop) = token.start, token.end
        if token.type in (tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT) or first > len(
            lines
        ):
            continue
        kind = _kind(token, following)
        for number in range(first - 1, min(last, len(lines))):
            line = lines[number]
            begin = start if number == first - 1 else 0
            end = stop if number == last - 1 else len(line)
            result[number] += [("", line[done[number] : begin]), (kind, line[begin:end])]
            done[number] = max(end, done[number])
    for line, parts, at in zip(lines, result, done, strict=True):
        parts.append(("", line[at:]))
    return result


def highlighted_lines(source: str, names: Collection[str] = ()) -> list[str]:
    """The lines of Python source as HTML.

    Classes are the kinds of ``pieces``, but for names and what lies between. Each occurrence of one of
    ``names``, in comments too, carries the attribute ``data-name``. Source that is no Python comes out
    escaped, without colours.
    """
    found = pieces(source)
    if found is None:
        return [html.escape(line) for line in source.splitlines()]
    return ["".join(_marked(text, kind, names) for kind, text in line) for line in found]


def coloured(source: str) -> str:
    """Python source with the colours of a terminal."""
    found = pieces(source)
    if found is None:
        return source

    def painted(kind: str, text: str) -> str:
        code = ANSI.get(kind)
        return f"\x1b[{code}m{text}\x1b[0m" if code and text else text

    return "\n".join("".join(painted(kind, text) for kind, text in line) for line in found)


def highlight(source: str, names: Collection[str] = ()) -> str:
    """Python source as a ``<pre>`` element, coloured by ``STYLE``; see ``highlighted_lines``."""
    return (
        f'<pre class="sg-code"><code>{chr(10).join(highlighted_lines(source, names))}</code></pre>'
    )


def _kind(token: tokenize.TokenInfo, following: tokenize.TokenInfo | None) -> str:
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type == tokenize.NUMBER:
        return "m"
    if token.type == tokenize.OP:
        return "o"
    if token.type == tokenize.NAME:
        if keyword.iskeyword(token.string):
            return "k"
        called = following is not None and following.string == "("
        return "f" if called and following.start == token.end else "n"  # type: ignore[union-attr]
    # f-strings have token types of their own from Python 3.12 on
    name = tokenize.tok_name[token.type]
    return "s" if name == "STRING" or name.startswith("FSTRING") else ""


def _marked(text: str, kind: str, names: Collection[str]) -> str:
    if not text or not kind:
        return html.escape(text)
    if kind in ("n", "f"):
        link = f' data-name="{html.escape(text)}"' if text in names else ""
        if kind == "n":
            return f"<span{link}>{html.escape(text)}</span>" if link else html.escape(text)
        return f'<span class="{kind}"{link}>{html.escape(text)}</span>'
    inner = "".join(_words(text, names)) if kind == "c" else html.escape(text)
    return f'<span class="{kind}">{inner}</span>'


def _words(text: str, names: Collection[str]) -> Iterator[str]:
    """A comment's text, in which the names carry ``data-name``."""
    at = 0
    for match in WORD.finditer(text):
        if match.group() in names:
            yield html.escape(text[at : match.start()])
            yield f'<span data-name="{html.escape(match.group())}">{html.escape(match.group())}</span>'
            at = match.end()
    yield html.escape(text[at:])
