"""Python source as HTML."""

from __future__ import annotations

import html
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from staticgrad.show import highlight

SOURCE = '''\
def step(x, parameters):
    """Two
    lines < of text."""
    # d_W = x.T @ d_logits  [a < b & c]
    for i in range(10):
        d_W[i] = f"{x[i]!r} & {1e-3}"  # odd's
'''


def text_of(line: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", line))


@pytest.mark.parametrize("source", [SOURCE, Path(__file__).read_text(), "x = (1,\n\n  2)\n", ""])
def test_nothing_is_lost_and_lines_are_whole(source: str) -> None:
    lines = highlight.highlighted_lines(source, names=["d_W", "x", "Path"])
    assert [text_of(line) for line in lines] == source.splitlines()
    for line in lines:
        ElementTree.fromstring(f"<p>{line}</p>")


def test_tokens_have_classes() -> None:
    lines = highlight.highlighted_lines(SOURCE)
    assert '<span class="k">def</span> <span class="f">step</span>' in lines[0]
    assert lines[1].count('class="s"') == 1 and lines[2].count('class="s"') == 1
    assert lines[3].strip().startswith('<span class="c">#')
    assert '<span class="m">10</span>' in lines[4]


def test_names_are_linked_in_code_and_comments() -> None:
    lines = highlight.highlighted_lines(SOURCE, names={"d_W", "d_logits"})
    assert lines[3].count("data-name=") == 2
    assert '<span data-name="d_W">d_W</span>' in lines[5]
    assert "data-name" not in "".join(highlight.highlighted_lines(SOURCE))


def test_source_that_is_no_python_is_escaped() -> None:
    assert highlight.highlighted_lines("x = (<b>") == ["x = (&lt;b&gt;"]
    assert "<b>" not in highlight.highlight("<b>'''")


def test_colours_for_light_and_dark() -> None:
    page = highlight.highlight(SOURCE)
    assert page.startswith('<pre class="sg-code">') and page.endswith("</pre>")
    for name in set(re.findall(r"var\((--[\w-]+)\)", highlight.STYLE)):
        # both themes, each by the page's own choice and by the system's
        assert highlight.STYLE.count(f"{name}:") == 4
