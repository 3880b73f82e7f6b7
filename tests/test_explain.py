"""The page of ``step.explain``: what it holds, that nothing in it can run, that nothing is changed."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import staticgrad as sg
from staticgrad import demo, nn, optim
from staticgrad.explain.cards import Cards, gradients_of
from staticgrad.explain.charts import bytes_text, seconds_text, ticks
from staticgrad.explain.layout import Box, Layout
from staticgrad.explain.measure import Race
from staticgrad.explain.panes import Links
from staticgrad.explain.values import Values
from staticgrad.graph.traverse import topological
from staticgrad.ops.table import SAMPLES


@pytest.fixture(autouse=True)
def short_timings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("staticgrad.explain.measure.SECONDS_PER_TIMING", 0.005)


VOID = {"meta", "link", "input", "br"}


class Reader(HTMLParser):
    """Elements with their attributes and text; fails where elements do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts[self.open[-1]] = self.texts.get(self.open[-1], "") + data

    def of_class(self, name: str) -> list[dict[str, str | None]]:
        return [attrs for _, attrs in self.elements if name in (attrs.get("class") or "").split()]


def read(path: Path) -> tuple[str, Reader, dict[str, Any]]:
    text = path.read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    return text, Reader(text), json.loads(data[1])


def numbers(attribute: str | None) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", attribute or "")]


def small_step() -> sg.TrainStep:
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
    for parameter in net.parameters():
        parameter.value = rng.standard_normal(parameter.shape)
    x, y = sg.placeholder("x", ("batch", 5)), sg.placeholder("y", ("batch", 1))
    loss = nn.MSELoss()(net(x), y)
    return sg.train_step([x, y], loss, optim.Adam(net.parameters(), lr=0.1), name="small_step")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Reader, dict[str, Any]]:
    model = demo.declare(0)
    step = sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")
    return read(step.explain(tmp_path_factory.mktemp("explain") / "digits.html"))


# ---- what the page holds -------------------------------------------------------------------------


def test_one_file_that_needs_no_network(digits: Any) -> None:
    text, page, _ = digits
    assert len(text.encode()) < 1_000_000
    for tag, attrs in page.elements:
        assert tag not in ("img", "iframe", "object", "embed", "base")
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attrs.get(name) or "#").startswith(("#", "data:,")), (tag, attrs)
    assert "url(" not in text and "@import" not in text and "fetch(" not in text
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)
    assert "default-src 'none'" in text


def test_panes_and_sections(digits: Any) -> None:
    _, page, data = digits
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    assert {
        "source-pane",
        "math-pane",
        "graph-pane",
        "code-pane",
        "gradients",
        "memory",
        "race",
    } <= ids
    assert len(ids) == sum("id" in attrs for _, attrs in page.elements)
    assert [stage["name"] for stage in data["stages"]] == [
        "declared", "derived", "simplified", "fused", "planned",
    ]  # fmt: skip
    for tag, attrs in page.elements:
        if tag == "button":
            assert attrs.get("aria-label") or attrs.get("title") or tag in page.texts
        for name in ("aria-labelledby", "list"):
            assert attrs.get(name) is None or attrs[name] in ids
        if tag == "a":
            assert (attrs["href"] or "")[1:] in ids


def test_links_lead_to_values(digits: Any) -> None:
    _, page, data = digits
    drawn = {node[0] for stage in data["stages"] for node in stage["nodes"]}
    for _, attrs in page.elements:
        assert set(numbers(attrs.get("data-v"))) <= drawn
        assert "data-k" not in attrs or int(attrs["data-k"]) < len(data["kernels"])
        if "data-select" in attrs:
            assert int(attrs["data-select"]) in drawn
    assert {value for kernel in data["kernels"] for value in kernel} <= drawn


@pytest.mark.parametrize("name", ["W1", "b1", "W2", "b2", "W3", "b3"])
def test_a_gradient_can_be_followed(digits: Any, name: str) -> None:
    text, page, data = digits
    names = [value[0] for value in data["values"]]
    gradient = names.index(f"d_{name}")
    assert data["values"][gradient][1] == 1
    for stage in data["stages"][1:]:
        assert gradient in [node[0] for node in stage["nodes"]]
    assert gradient not in [node[0] for node in data["stages"][0]["nodes"]]
    for kind in ("eq", "ln", "card"):
        assert any(gradient in numbers(attrs.get("data-v")) for attrs in page.of_class(kind))
    # the line of the model, and the lines of the loop
    lines = re.findall(r'<div class="ln"([^>]*)><i>\d+</i><code>(.*?)</code></div>', text)
    plain = [
        re.sub(r"<[^>]*>", "", code) for attrs, code in lines
        if gradient in numbers(attrs.partition("data-n")[0].partition("data-k")[0])
    ]  # fmt: skip
    assert any(re.search(rf"[@+] {name}\b", code) for code in plain)
    assert any(f"d_{name}" in code and "#" not in code.split(f"d_{name}")[0] for code in plain)
    assert len(page.of_class("pass")) == 6


def test_source_and_code_are_whole(digits: Any) -> None:
    text, _, _ = digits
    code = text[text.index('id="code-pane"') : text.index('id="inspector"')]
    plain = re.findall(r"<i>\d+</i><code>(.*?)</code>", code)
    model = demo.declare(0)
    step = sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")
    shown = [re.sub(r"<[^>]*>", "", line) for line in plain]
    expected = step.source.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert "\n".join(line.rstrip() for line in shown) == expected.replace('"', "&quot;").replace(
        "'", "&#x27;"
    ).rstrip("\n")


def test_costs_fall(digits: Any) -> None:
    _, _, data = digits
    kernels = [int(re.search(r"(\d+) kernels", s["summary"])[1]) for s in data["stages"]]  # type: ignore
    assert kernels[0] < kernels[1] and kernels[2] >= kernels[3] >= kernels[4] - 1
    assert all("FLOP" in stage["summary"] for stage in data["stages"])


def test_nothing_measured(tmp_path: Path) -> None:
    text, page, _ = read(small_step().explain(tmp_path / "step.html", measure=False))
    assert not page.of_class("pass") and not page.of_class("fail")
    assert "measure=False" in text and "break-even: step" not in text
    assert len(page.of_class("card")) == 4


@pytest.mark.parametrize("kind", ["function", "hessian", "nothing", "update", "scalars"])
def test_functions_of_all_kinds(tmp_path: Path, kind: str) -> None:
    x = sg.placeholder("x", (3,), "float64")
    n = sg.placeholder("n", (), "float64")
    W = sg.parameter(np.ones((3, 3)), name="W")
    if kind == "function":
        step = sg.compile(x, sg.tanh(x).sum(), name="f")
    elif kind == "hessian":
        f = (sg.exp(x) * x[0]).sum()
        step = sg.compile(x, [f, sg.grad(f, x), sg.grad(sg.grad(f, x).sum(), x)], name="f")
    elif kind == "nothing":
        step = sg.compile(x, x, name="f")
    elif kind == "update":
        step = sg.compile([], updates={W: W * 0.5}, name="f")
    else:
        loss = (W @ x * n).sum()
        step = sg.compile([x, n], sg.grad(loss, [W, n]), name="f")
    _, page, data = read(step.explain(tmp_path / "page.html"))
    assert not page.of_class("fail")
    expected = {"hessian": 1, "scalars": 2}.get(kind, 0)
    assert len(page.of_class("card")) == expected
    assert len(data["stages"]) == 5


def test_what_is_not_used(tmp_path: Path) -> None:
    x, unused = sg.placeholder("x", ("batch", 3)), sg.placeholder("unused", ("batch",))
    W, idle = sg.parameter(np.ones((3, 2)), name="W"), sg.parameter(np.ones(4), name="idle")
    loss = sg.relu(x @ W.astype("float32")).sum()
    outputs = [loss, *sg.grad(loss, [W, idle, unused], unused="zeros")]
    step = sg.compile([x, unused], outputs, name="f")
    _, page, _ = read(step.explain(tmp_path / "page.html"))
    assert len(page.of_class("pass")) == 1 and not page.of_class("fail")


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_every_op_has_a_card(name: str) -> None:
    for sample in SAMPLES[name]:
        if not sample.differentiable:
            continue
        low, high = sample.interval(0)
        leaves = [
            sg.parameter(np.full(shape, (low + high) / 2 + 0.01), name=f"leaf_{k}", dtype="float64")
            for k, shape in enumerate(sample.shapes)
        ]
        loss = sg.sum(sample.call(*leaves))
        slopes = sg.grad(loss, leaves, unused="zeros")
        nodes = topological([loss, *slopes])
        values = Values({})
        values.enter(nodes, set(), {})
        cards = Cards(nodes, Links(values, set(range(len(values.all)))), {}, {})
        for number, gradient in enumerate(gradients_of(nodes)):
            page = Reader(cards.card(number, gradient, None, False))
            assert page.of_class("card") and "Pullback" in page.texts["dt"]
            assert "math" in [tag for tag, _ in page.elements]
        Reader(cards.templates())


# ---- nothing in it can run -----------------------------------------------------------------------


def test_user_text_is_escaped(tmp_path: Path) -> None:
    evil = "<script>hacked=1</script>"
    source = tmp_path / "model.py"
    source.write_text(
        "import staticgrad as sg\n"
        "from staticgrad import nn, optim\n"
        "def make(evil):\n"
        "    net = nn.Sequential({evil: nn.Linear(2, 2), 'b\"onload=\"x': nn.Linear(2, 1)})\n"
        "    x = sg.placeholder('x', ('batch', 2))\n"
        "    loss = net(x).sum()  # </script><script>hacked=1</script> </code>{{data}}\n"
        "    return sg.train_step([x], loss, optim.SGD(net.parameters(), lr=0.1), name='step')\n"
    )
    names: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)
    text, page, data = read(names["make"](evil).explain(tmp_path / "page.html"))
    assert evil not in text and "hacked" in text
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not any("onload" in attrs for _, attrs in page.elements)
    titles = {cluster[0] for stage in data["stages"] for cluster in stage["clusters"]}
    assert evil in titles


# ---- nothing is changed --------------------------------------------------------------------------


def test_parameters_and_state_stay(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((7, 5)).astype("float32"), rng.random((7, 1), "float32")
    explained, other = small_step(), small_step()
    for step in (explained, other):
        step(x, y)
    before = {p: p.value.copy() for p, _ in explained.function.graph.updates}
    explained.explain(tmp_path / "page.html")
    explained.explain(tmp_path / "page.html", x, y)
    for parameter, value in before.items():
        assert parameter.value.tobytes() == value.tobytes(), parameter
    assert [p.grad for p in explained.optimizer.param_groups[0]["params"]] == [None] * 4
    for _ in range(3):
        assert explained(x, y) == other(x, y)
    for (ours, _), (theirs, _) in zip(
        explained.function.graph.updates, other.function.graph.updates, strict=True
    ):
        assert ours.value.tobytes() == theirs.value.tobytes()


def test_inputs_that_do_not_fit(tmp_path: Path) -> None:
    step, path = small_step(), tmp_path / "page.html"
    with pytest.raises(ValueError, match="x was declared as"):
        step.explain(path, np.zeros((4, 6), "float32"), np.zeros((4, 1), "float32"))
    with pytest.raises(TypeError, match="takes 2 arguments"):
        step.explain(path, np.zeros((4, 5), "float32"))
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        step.explain(tmp_path / "missing" / "page.html")
    assert not path.exists()


def test_eager_mode_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> Any:
        raise RuntimeError("a pullback of <mine>")

    step = small_step()
    before = [parameter.value.tobytes() for parameter in step.optimizer.param_groups[0]["params"]]
    monkeypatch.setattr("staticgrad.explain.measure.eager_step", fails)
    text, _, _ = read(step.explain(tmp_path / "page.html"))
    assert "Not measured: eager mode raised RuntimeError: a pullback of &lt;mine&gt;." in text
    assert [p.value.tobytes() for p in step.optimizer.param_groups[0]["params"]] == before


# ---- checks --------------------------------------------------------------------------------------


def test_a_wrong_gradient_is_told(tmp_path: Path) -> None:
    class Wrong(sg.eager.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return sg.sin(x)

        @staticmethod
        def backward(ctx: Any, adjoint: Any) -> Any:
            (x,) = ctx.saved_tensors
            return adjoint * sg.sin(x)

    W = sg.parameter(np.array([0.3, 0.7]), name="W")
    right = sg.parameter(np.array([0.3, 0.7]), name="right")
    loss = Wrong.apply(W).sum() + sg.sin(right).sum()
    step = sg.compile([], sg.grad(loss, [W, right]), name="f")
    _, page, _ = read(step.explain(tmp_path / "page.html"))
    assert len(page.of_class("fail")) == 1 and len(page.of_class("pass")) == 1


def test_kinks_are_told(tmp_path: Path) -> None:
    x = sg.placeholder("x", (4, 3), "float64")
    W = sg.parameter(np.zeros((3, 2)), name="W")
    step = sg.compile(x, sg.grad(sg.relu(x @ W).sum(), W), name="f")
    text, page, _ = read(step.explain(tmp_path / "page.html"))
    assert not page.of_class("fail") and not page.of_class("pass") and "at a kink" in text


def test_break_even() -> None:
    assert Race(static=1e-4, eager=1e-3, start=0.9, from_cache=False).break_even == pytest.approx(
        1000
    )
    assert Race(static=1e-3, eager=1e-3, start=0.9, from_cache=False).break_even is None


def test_texts_of_amounts() -> None:
    assert [bytes_text(b) for b in (12, 1500, 2_500_000)] == ["12 B", "1.5 kB", "2.5 MB"]
    assert [seconds_text(s) for s in (2.5, 0.0123, 4e-6, 3e-9)] == [
        "2.5 s",
        "12.3 ms",
        "4 µs",
        "3 ns",
    ]
    assert ticks(10, 5) == [0, 2, 4, 6, 8, 10] and ticks(0) == [0.0]
    assert ticks(0.43, 4) == pytest.approx([0, 0.2, 0.4])


# ---- layers --------------------------------------------------------------------------------------


@st.composite
def drawings(draw: st.DrawFn) -> list[Box]:
    """Boxes in nested clusters and three lanes, with edges from earlier to later ones."""
    boxes: list[Box] = []
    for number in range(draw(st.integers(1, 25))):
        path = tuple(draw(st.lists(st.sampled_from("abc"), max_size=3)))
        box = Box(number, path, draw(st.integers(0, 2)))
        if boxes:
            box.inputs = draw(st.lists(st.sampled_from(boxes), max_size=3))
            box.beside = draw(st.lists(st.sampled_from(boxes), max_size=1))
        boxes.append(box)
    return boxes


@settings(deadline=None, max_examples=60)
@given(drawings())
def test_every_box_has_its_place(boxes: list[Box]) -> None:
    layout = Layout(boxes, 3)
    seen: list[int] = []
    for cluster in layout.clusters:
        for run in cluster.runs:
            assert len(run) == 3
            for lane, layers in enumerate(run):
                for item in (item for layer in layers for item in layer):
                    if 0 <= item < len(boxes):
                        assert boxes[item].lane == lane and boxes[item].path == cluster.path
                        seen.append(item)
                    elif item < 0:
                        assert layout.clusters[-1 - item].parent is cluster
    assert sorted(seen) == list(range(len(boxes)))
    bends = [bend for _, _, *path in layout.edges for bend in path]
    assert all(len(boxes) <= bend < layout.bends for bend in bends)
    assert {(a, b) for a, b, *_ in layout.edges} == {
        (source.number, box.number) for box in boxes for source in box.inputs
    }


@settings(deadline=None, max_examples=60)
@given(drawings())
def test_edges_of_one_lane_go_down(boxes: list[Box]) -> None:
    for box in boxes:
        box.path, box.lane = (), 0
    layout = Layout(boxes, 3)
    layer = {
        item: number
        for number, items in enumerate(layers for run in layout.root.runs for layers in run[0])
        for item in items
    }
    for first, last, *bends in layout.edges:
        way = [layer[item] for item in (first, *bends, last)]
        assert way == sorted(set(way)) and way == list(range(way[0], way[-1] + 1))


def test_a_call_computes_its_own_values() -> None:
    model = demo.declare(0)
    step = sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")
    lines = step.source.splitlines()
    _, *values = step.generated.history.lowered.roots
    names = {v: p.name for (p, _), v in zip(step.graph.updates, values, strict=True)}
    calls = [
        (lines[span.first - 1], {names[node] for node in span.nodes if node in names})
        for span in step.generated.spans
        if span.kind == "line" and lines[span.first - 1].lstrip().startswith("update(")
    ]
    assert len(calls) == len(names) == 6
    for line, updated in calls:
        assert len(updated) == 1 and updated.pop() in line
