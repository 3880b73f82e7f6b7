"""The pages of ``step.explain`` in a real browser. Run with ``pytest -m browser``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import staticgrad as sg
from staticgrad import demo, nn, optim

pytestmark = pytest.mark.browser

ARGUMENTS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --window-size=1280,800"
).split()
#: seconds until a page can be used
OPENS_WITHIN = 2.0


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium with a fresh profile and a window of 1280 x 800."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.fail("these tests need Chromium: apt-get install chromium chromium-driver")
    try:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
    except ImportError:
        pytest.fail("these tests need selenium: python -m pip install selenium")
    options = webdriver.ChromeOptions()
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.binary_location = chromium
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    size = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield opened
    opened.quit()


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        return x + self.fc2(sg.relu(self.fc1(x)))


def simple_net() -> Any:
    net = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))
    x, y = sg.placeholder("x", ("batch", 20)), sg.placeholder("y", ("batch", 1))
    return sg.train_step([x, y], nn.MSELoss()(net(x), y), optim.SGD(net.parameters(), lr=0.01))


def digits() -> Any:
    model = demo.declare(0)
    return sg.compile(model.inputs, model.loss, updates=model.updates, name="digits_step")


def cnn() -> Any:
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(8 * 16, 10),
    )  # fmt: skip
    x = sg.placeholder("x", ("batch", 1, 8, 8))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    loss = sg.cross_entropy(net(x), y)
    return sg.train_step([x, y], loss, optim.Adam(net.parameters(), lr=1e-3))


def residual() -> Any:
    net = nn.Sequential(nn.Linear(16, 32), *(Block(32) for _ in range(24)), nn.Linear(32, 4))
    x = sg.placeholder("x", ("batch", 16))
    y = sg.placeholder("y", ("batch",), dtype="int64")
    loss = sg.cross_entropy(net(x), y)
    return sg.train_step([x, y], loss, optim.Adam(net.parameters(), lr=1e-3))


MODELS = {"simple_net": simple_net, "digits": digits, "cnn": cnn, "residual": residual}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    made = {}
    for name, make in MODELS.items():
        made[name] = make().explain(folder / f"{name}.html", measure=name != "residual")
    return made


def open_page(browser: Any, path: Path) -> None:
    browser.get_log("browser")
    browser.get(path.as_uri())
    browser.execute_script("document.documentElement.dataset.theme = 'light'")


def value(browser: Any, name: str) -> int:
    return browser.execute_script("return VALUES.findIndex(v => v.name === arguments[0])", name)


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def classes(browser: Any, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.getAttribute('class'))",
        selector,
    )


# ---- every model ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_whole(browser: Any, pages: dict[str, Path], name: str, theme: str) -> None:
    media = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    browser.get_log("browser")
    start = time.perf_counter()
    browser.get(pages[name].as_uri())
    drawn = browser.execute_script("return document.querySelectorAll('#graph .node').length")
    seconds = time.perf_counter() - start
    assert drawn > 5
    # the file itself is read and laid out; a busy machine is given twice the time
    assert seconds < 2 * OPENS_WITHIN
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    dark = sum(map(int, background[4:-1].split(","))) < 200
    assert dark == (theme == "dark")
    # nothing is wider than the window, no pane is squeezed
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280
    sizes = browser.execute_script(
        "return [...document.querySelectorAll('.pane')].map(e => [e.clientWidth, e.clientHeight])"
    )
    assert len(sizes) == 4 and all(w > 280 and h > 180 for w, h in sizes)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


#: the contrast of each text with what lies behind it (WCAG 2), where it is below a limit
CONTRAST = """
const luminance = rgb => {
  const [r, g, b] = rgb.map(v => v / 255).map(
    v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const colour = text => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
const over = (a, b) => [0, 1, 2].map(i => a[i] * a[3] + b[i] * (1 - a[3]));
const behind = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement)
    layers.push(colour(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((base, layer) => over(layer, base), [255, 255, 255]);
};
const low = [];
for (const element of document.querySelectorAll("body *")) {
  if (element.closest("svg, template") || !element.offsetParent) continue;
  if (![...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
  const back = behind(element), front = over(colour(getComputedStyle(element).color), back);
  const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < arguments[0]) low.push(element.outerHTML.slice(0, 80));
}
return low;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_can_be_read(browser: Any, pages: dict[str, Path], theme: str) -> None:
    open_page(browser, pages["digits"])
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    browser.execute_script("select([arguments[0]])", value(browser, "d_W2"))
    assert browser.execute_script(CONTRAST, 4.4) == []


@pytest.mark.parametrize("name", MODELS)
def test_nodes_do_not_overlap(browser: Any, pages: dict[str, Path], name: str) -> None:
    open_page(browser, pages[name])
    for stage in range(5):
        browser.execute_script("setStage(arguments[0])", stage)
        overlaps = browser.execute_script(
            """
            const drawn = Graph.shown.elements.filter(e => e.element.classList.contains("node"));
            const boxes = drawn.map(e => e.box);
            const apart = (a, b) => a.x + a.w < b.x + 1 || a.y + a.h < b.y + 1;
            return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => !apart(a, b) && !apart(b, a)))
              .length;
            """
        )
        assert overlaps == 0, stage


@pytest.mark.parametrize("name", ["simple_net", "digits"])
def test_texts_fit_their_boxes(browser: Any, pages: dict[str, Path], name: str) -> None:
    open_page(browser, pages[name])
    for stage in range(5):
        browser.execute_script("setStage(arguments[0])", stage)
        wide = browser.execute_script(
            """
            return [...document.querySelectorAll("#graph .node")].filter(node => {
              const box = node.querySelector("rect").getBBox();
              return [...node.querySelectorAll("text")].some(text => {
                const own = text.getBBox();
                return own.x < box.x - 1 || own.x + own.width > box.x + box.width + 1;
              });
            }).map(node => node.textContent);
            """
        )
        assert wide == [], stage


# ---- linking -------------------------------------------------------------------------------------


def test_selecting_lights_kin_everywhere(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["digits"])
    for parameter in ("W1", "b2", "W3"):
        gradient = value(browser, f"d_{parameter}")
        browser.execute_script("select([arguments[0]])", gradient)
        for pane, kind in (("source", "ln"), ("math", "eq"), ("code", "ln")):
            found = classes(browser, f"#{pane}-pane .{kind}.hit1")
            assert found, (parameter, pane)
        assert classes(browser, "#graph .node.hit")
        # the parameter and its new value
        assert len(classes(browser, "#graph .node.near")) >= 2
        lines = browser.execute_script(
            "return [...document.querySelectorAll('#code-pane .hit1')].map(e => e.textContent)"
        )
        assert any(f"d_{parameter}" in line for line in lines)
        shown = browser.execute_script("return document.getElementById('inspector').textContent")
        assert f"d_{parameter}" in shown and "backward" in shown
        assert len(classes(browser, ".card.hit1")) == 1
    browser.execute_script("select([])")
    assert not classes(browser, ".hit, .near, .lit")


def test_pointing_and_clicking(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    open_page(browser, pages["digits"])
    equation = browser.find_elements(By.CSS_SELECTOR, "#math-pane .eq")[1]
    ActionChains(browser).move_to_element(equation).perform()
    assert classes(browser, "#graph .node.hit") and classes(browser, "#code-pane .hit0")
    ActionChains(browser).click(equation).perform()
    title = browser.find_element(By.ID, "code-title")
    ActionChains(browser).move_to_element(title).perform()
    assert classes(browser, "#code-pane .hit0"), "a click keeps it"
    node = browser.find_element(By.CSS_SELECTOR, "#graph .node.k1")
    ActionChains(browser).move_to_element(node).click().perform()
    assert classes(browser, "#math-pane .eq.hit1") or classes(browser, "#source-pane .hit1")
    # a name in the code stands for itself
    name = browser.find_element(By.CSS_SELECTOR, '#code-pane [data-name="hidden_1"]')
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", name)
    ActionChains(browser).move_to_element(name).click().perform()
    shown = browser.execute_script("return document.querySelector('#inspector b').textContent")
    assert shown == "hidden_1"


def test_passes(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["digits"])
    seen = []
    for stage in range(5):
        press(browser, "[") if stage == 0 else press(browser, "]")
        seen.append(
            browser.execute_script(
                "return [document.querySelector('.ticks [aria-current]').textContent, "
                "document.getElementById('stage-text').textContent, "
                "document.querySelectorAll('#graph .node').length]"
            )
        )
    assert [name for name, _, _ in seen] == [
        "declared",
        "derived",
        "simplified",
        "fused",
        "planned",
    ]
    assert len({text for _, text, _ in seen}) == 5
    assert seen[0][2] < seen[1][2]
    # what is selected stays selected, whatever it is turned into
    browser.execute_script("setStage(0); select([arguments[0]])", value(browser, "loss"))
    for stage in range(5):
        browser.execute_script("setStage(arguments[0])", stage)
        assert classes(browser, "#graph .node.hit"), stage


# ---- keyboard ------------------------------------------------------------------------------------


def test_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["digits"])
    focused = "return document.activeElement.closest('.pane')?.id ?? document.activeElement.id"
    reached = set()
    for _ in range(40):
        press(browser, Keys.TAB)
        reached.add(browser.execute_script(focused))
        if browser.execute_script("return document.activeElement.matches('.eq')"):
            break
    assert {"source-pane", "math-pane", "stage", "theme"} <= reached
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.execute_script(outline) == "solid"
    for _ in range(3):
        press(browser, Keys.ARROW_DOWN)
    assert browser.execute_script("return document.activeElement.matches('.eq.hit')")
    press(browser, Keys.ENTER)
    assert (
        browser.execute_script("return document.activeElement.getAttribute('aria-pressed')")
        == "true"
    )
    assert classes(browser, "#graph .node.hit")
    press(browser, Keys.ESCAPE)
    assert browser.execute_script("return pinned.length") == 0
    while browser.execute_script(focused) != "graph-pane" or not browser.execute_script(
        "return document.activeElement.matches('#graph .node')"
    ):
        press(browser, Keys.TAB)
    first = browser.execute_script("return document.activeElement.getAttribute('aria-label')")
    press(browser, Keys.ARROW_DOWN)
    second = browser.execute_script("return document.activeElement.getAttribute('aria-label')")
    assert first != second
    press(browser, "]")
    assert browser.execute_script("return document.activeElement.matches('#graph .node')")
    press(browser, "[")
    press(browser, "m")
    large = "return document.getElementById('graph-pane').getBoundingClientRect().width"
    assert browser.execute_script(large) > 1200
    press(browser, Keys.ESCAPE)
    assert browser.execute_script(large) < 600
    press(browser, "t")
    assert browser.execute_script("return document.documentElement.dataset.theme") == "dark"
    press(browser, "?")
    assert browser.execute_script("return document.getElementById('help').open")
    press(browser, Keys.ESCAPE)


def test_modules_fold(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["residual"])
    count = "return document.querySelectorAll('#graph .node').length"
    folded = browser.execute_script(count)
    assert 50 < folded < 120
    browser.execute_script(
        "Graph.shown.elements.find(e => e.element.getAttribute('aria-label').startsWith('block1,'))"
        ".element.focus()"
    )
    press(browser, "+")
    unfolded = browser.execute_script(count)
    assert unfolded > folded
    assert (
        browser.execute_script("return document.activeElement.getAttribute('aria-expanded')")
        == "true"
    )
    press(browser, "-")
    assert browser.execute_script(count) == folded
    # everything at once is still drawn in time
    seconds = browser.execute_script(
        "const t = performance.now(); Graph.foldAll(false); document.body.offsetHeight; "
        "return (performance.now() - t) / 1000"
    )
    assert browser.execute_script(count) > 1000 and seconds < 3


def test_panes_are_made_wider(browser: Any, pages: dict[str, Path]) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    open_page(browser, pages["digits"])
    width = "return document.getElementById('code-pane').offsetWidth"
    before = browser.execute_script(width)
    handle = browser.find_element(By.CSS_SELECTOR, ".split.right")
    ActionChains(browser).drag_and_drop_by_offset(handle, -150, 0).perform()
    dragged = browser.execute_script(width)
    assert before + 140 <= dragged <= before + 160
    browser.execute_script("arguments[0].focus()", handle)
    press(browser, Keys.ARROW_LEFT)
    assert dragged + 20 <= browser.execute_script(width) <= dragged + 28
    ActionChains(browser).drag_and_drop_by_offset(handle, -500, 0).perform()
    graph = browser.execute_script("return document.getElementById('graph-pane').offsetWidth")
    assert graph >= 195
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280


def test_zoom_and_pan(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["simple_net"])
    transform = "return document.querySelector('#graph > g').getAttribute('transform')"
    start = browser.execute_script(transform)
    browser.execute_script(
        "Graph.svg.dispatchEvent(new WheelEvent('wheel', {deltaY: -300, clientX: 600, clientY: 400}))"
    )
    zoomed = browser.execute_script(transform)
    assert zoomed != start
    press(browser, "-")
    assert browser.execute_script(transform) != zoomed
    press(browser, "0")
    assert browser.execute_script(transform) == start


def test_declarations_and_race(browser: Any, pages: dict[str, Path]) -> None:
    open_page(browser, pages["digits"])
    browser.execute_script("document.querySelector('details[data-rule]').open = true")
    time.sleep(0.1)
    text = browser.execute_script("return document.querySelector('details[data-rule]').textContent")
    assert "def pullback" in text
    browser.execute_script("document.querySelector('#track button').click()")
    time.sleep(0.5)
    steps = browser.execute_script(
        "return [...document.querySelectorAll('.runner output')].map(e => e.textContent)"
    )
    assert steps[0] == "0 steps" and steps[1] != "0 steps", "static is still compiling"


def test_user_text_does_not_run(browser: Any, tmp_path: Path) -> None:
    evil = "</script><script>window.hacked=1</script><img src=x onerror='window.hacked=2'>"
    source = tmp_path / "model.py"
    source.write_text(
        "import staticgrad as sg\n"
        "from staticgrad import nn, optim\n"
        "def make():\n"
        "    net = nn.Sequential({'<img src=x onerror=hacked=3>': nn.Linear(2, 1)})\n"
        "    x = sg.placeholder('x', ('batch', 2))\n"
        f"    loss = net(x).sum()  # {evil}\n"
        "    return sg.train_step([x], loss, optim.SGD(net.parameters(), lr=0.1), name='step')\n"
    )
    names: dict[str, Any] = {}
    exec(compile(source.read_text(), str(source), "exec"), names)
    open_page(browser, names["make"]().explain(tmp_path / "page.html"))
    time.sleep(0.2)
    browser.execute_script("select([0]); setStage(4); Graph.foldAll(false)")
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return document.images.length") == 0
    assert "onerror" in browser.execute_script(
        "return document.getElementById('source-pane').textContent"
    )
