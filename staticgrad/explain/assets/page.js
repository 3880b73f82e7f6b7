/* Linking the panes: what is pointed at, focused or selected lights up with its kin everywhere. */
"use strict";
const $ = (selector, inside = document) => inside.querySelector(selector);
const $$ = (selector, inside = document) => [...inside.querySelectorAll(selector)];

/* ---- which values belong together ---- */

const byConcept = new Map();
VALUES.forEach((value, number) => {
  for (const concept of new Set([value.concept, value.target])) {
    if (concept < 0) continue;
    if (!byConcept.has(concept)) byConcept.set(concept, []);
    byConcept.get(concept).push(number);
  }
});

/* An adjoint and its primal, a parameter and its new value. */
function kinOf(values) {
  const kin = new Set();
  for (const number of values) {
    const value = VALUES[number];
    const concept = value.target >= 0 ? value.target : value.concept;
    for (const other of byConcept.get(concept) ?? []) {
      const own = VALUES[other];
      const primal = own.lane === 0 && own.concept === concept;
      const derived = own.target === concept;
      if (other !== number && (value.lane === 0 ? derived : primal || (value.target >= 0 && derived))) kin.add(other);
    }
  }
  for (const number of values) kin.delete(number);
  return kin;
}

/* ---- elements and their values ---- */

const linked = [];
const parse = text => (text ?? "").split(";").map(part => part.split(" ").filter(Boolean).map(Number));
for (const element of $$("[data-v], [data-k]")) {
  const [own, others = []] = parse(element.dataset.v);
  const kernel = element.dataset.k === undefined ? [] : DATA.kernels[element.dataset.k];
  const entry = { element, own, others: new Set([...others, ...kernel]) };
  entry.choice = own.length ? own.slice(0, element.dataset.n ?? own.length) : kernel;
  element.linked = entry;
  linked.push(entry);
}
const byValue = new Map();
const enter = (value, entry, strong) => {
  if (!byValue.has(value)) byValue.set(value, []);
  byValue.get(value).push([entry, strong]);
};
for (const entry of linked) {
  for (const value of entry.own) enter(value, entry, true);
  for (const value of entry.others) if (!entry.own.includes(value)) enter(value, entry, false);
}

let pinned = [], lit = [];
function light(values) {
  for (const [element, name] of lit) element.classList.remove(...name);
  lit = [];
  const mark = (element, ...names) => { element.classList.add(...names); lit.push([element, names]); };
  const kin = kinOf(values), chosen = new Set(values);
  const strength = new Map();
  for (const group of [chosen, kin]) for (const value of group)
    for (const [entry, strong] of byValue.get(value) ?? []) {
      const lane = VALUES[value].lane, known = strength.get(entry);
      if (strong ? !known?.strong : group === chosen && !known) strength.set(entry, { strong, lane });
    }
  for (const [entry, { strong, lane }] of strength)
    mark(entry.element, ...(strong ? ["hit", `hit${lane}`] : [`near${lane}`]));
  for (const value of chosen)
    if (chosen.size < 4 && VALUES[value].name)
      for (const element of $$(`[data-name="${CSS.escape(VALUES[value].name)}"]`)) mark(element, "named");
  lightGraph(chosen, kin, mark);
  return strength;
}

function lightGraph(chosen, kin, mark) {
  const { elements, edges, places } = Graph.shown;
  // what a value is called in this stage: itself, else what its operation is turned into
  const concepts = new Set();
  for (const value of chosen) if (!places.has(value)) concepts.add(`${VALUES[value].concept} ${VALUES[value].lane}`);
  const boxes = new Set();
  let first = null;
  for (const { element, values, box, cluster } of elements) {
    const folded = cluster < 0 || element.classList.contains("folded");
    const here = value => chosen.has(value) || concepts.has(`${VALUES[value].concept} ${VALUES[value].lane}`);
    if (folded && values.some(here)) {
      mark(element, "hit"); boxes.add(box); first ??= box;
    } else if (values.some(value => kin.has(value) || (cluster >= 0 && chosen.has(value)))) {
      mark(element, "near");
    }
  }
  for (const { path, from, to } of edges) if (boxes.has(from) || boxes.has(to)) mark(path, "lit");
  if (boxes.size) mark(Graph.svg, "busy");
  return first;
}

function select(values) {
  const same = values.length === pinned.length && values.every((value, i) => value === pinned[i]);
  pinned = same ? [] : values;
  const strength = light(pinned);
  for (const entry of linked) if (entry.element.hasAttribute("aria-pressed"))
    entry.element.setAttribute("aria-pressed", pinned.length > 0 && strength.get(entry)?.strong === true);
  inspect(pinned);
  if (!pinned.length) return;
  for (const pane of $$("#source-pane, #math-pane, #code-pane")) bringIntoView(pane, strength);
  const hit = Graph.shown.elements.find(({ element }) => element.classList.contains("hit"));
  if (hit) Graph.reveal(hit.box);
}

/* The chosen lines first, those that name the value before others; else those of its kin. */
function bringIntoView(pane, strength) {
  const body = $(".body", pane), hits = $$(".hit", body);
  if (!hits.length) return;
  const chosen = hits.filter(element => element.linked.own.some(value => pinned.includes(value)));
  const wanted = chosen.find(element => $(".named", element)) ?? chosen[0] ?? hits[0];
  const top = wanted.getBoundingClientRect().top - body.getBoundingClientRect().top;
  const seen = hits.some(element => {
    const at = element.getBoundingClientRect().top - body.getBoundingClientRect().top;
    return element === wanted && at >= 0 && at < body.clientHeight - 24;
  });
  if (!seen) body.scrollTo({ top: body.scrollTop + top - body.clientHeight / 3 });
}

/* ---- the line below the panes ---- */

const inspector = $("#inspector");
const laneNames = ["forward", "backward", "update"];
function chip(number) {
  const value = VALUES[number], button = document.createElement("button");
  button.className = `chip lane${value.lane}`;
  button.textContent = value.name || value.op;
  button.addEventListener("click", () => select([number]));
  return button;
}
function inspect(values) {
  inspector.replaceChildren();
  const add = (tag, text, name = "") => {
    const element = document.createElement(tag);
    element.textContent = text; element.className = name;
    inspector.append(element);
    return element;
  };
  if (!values.length) {
    add("span", "Point at a line, an equation, a node or a loop: what belongs to it lights up everywhere. Click or press Enter to keep it.", "hint");
    return;
  }
  const value = VALUES[values[0]];
  if (values.length > 1) for (const number of values.slice(0, 6)) inspector.append(chip(number));
  else {
    add("b", value.name || value.op);
    add("span", `${value.type} · ${laneNames[value.lane]}${value.at ? " · " + value.at : ""}`, "hint");
    const equation = (byValue.get(values[0]) ?? []).find(([entry, strong]) => strong && entry.element.classList.contains("eq"));
    if (equation) add("span", "", "formula").append($("math", equation[0].element).cloneNode(true));
    const kin = [...kinOf(values)].filter(number => VALUES[number].name).slice(0, 3);
    if (kin.length) add("span", "kin:", "hint");
    for (const number of kin) inspector.append(chip(number));
  }
  const cards = $$(".card").filter(card => values.some(number => card.linked.own.includes(number)) || [...kinOf(values)].some(number => card.linked.own.includes(number)));
  if (cards.length === 1) {
    const link = add("a", "gradient card ↓", "end");
    link.href = `#${cards[0].id}`;
  }
}

/* ---- pointing, clicking, keys ---- */

const panes = $$(".pane");
for (const entry of linked) {
  const { element } = entry;
  if (element.classList.contains("card")) continue;
  if (element instanceof HTMLElement) {
    element.setAttribute("role", "button");
    element.setAttribute("aria-pressed", "false");
    element.tabIndex = -1;
  }
}
for (const pane of panes) { const first = $("[data-v]", pane); if (first) first.tabIndex = 0; }

const byName = new Map();
VALUES.forEach(({ name }, number) => { if (name) byName.set(name, number); });
const entryAt = target => {
  // a name in a formula or in the code stands for itself
  const named = byName.get(target.closest?.("[data-name]")?.dataset.name);
  if (named !== undefined && target.closest(".ln, .eq")) return [named];
  const element = target.closest?.("[data-v], [data-k]");
  if (element) return element.linked.choice;
  const node = target.closest?.("#graph .node, #graph .box");
  return node ? Graph.shown.elements.find(item => item.element === node)?.values : undefined;
};
document.addEventListener("pointerover", event => {
  const values = entryAt(event.target);
  light(values && !event.target.closest(".card") ? values : pinned);
});
document.addEventListener("focusin", event => {
  if (!event.target.matches(":focus-visible")) return;
  const values = entryAt(event.target);
  if (values && !event.target.closest(".card")) light(values);
});
document.addEventListener("click", event => {
  if (Graph.svg.classList.contains("drag") || event.target.closest("a, button, summary")) return;
  const values = entryAt(event.target);
  if (values && !event.target.closest(".card")) {
    rove(event.target.closest("[tabindex]"));
    select([...values]);
  } else if (event.target.closest("#graph")) select([]);
});
Graph.svg.addEventListener("dblclick", event => {
  const node = event.target.closest(".folded, .box");
  const item = node && Graph.shown.elements.find(one => one.element === node);
  if (item) Graph.fold(item.cluster, !Graph.isFolded(item.cluster));
});

/* One element of each pane is in the order of Tab; the arrows go from there. */
function rove(element) {
  const pane = element?.closest(".pane");
  if (!pane) return;
  for (const other of $$('[tabindex="0"]', pane)) if (other !== element) other.tabIndex = -1;
  element.tabIndex = 0;
}
function go(element) {
  if (!element) return;
  rove(element);
  element.focus({ preventScroll: element instanceof SVGElement });
}
function neighbour(element, key) {
  if (element.closest("#graph")) {
    const { elements } = Graph.shown, own = elements.find(item => item.element === element)?.box;
    if (!own) return null;
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
    let best = null, least = Infinity;
    for (const { element: other, box } of elements) {
      const x = box.x + box.w / 2 - own.x - own.w / 2, y = other.classList.contains("box") ? box.y + 8 - own.y - own.h / 2 : box.y + box.h / 2 - own.y - own.h / 2;
      const ahead = x * dx + y * dy, aside = Math.abs(x * dy) + Math.abs(y * dx);
      if (other !== element && ahead > 2 && ahead + 2.5 * aside < least) [best, least] = [other, ahead + 2.5 * aside];
    }
    const item = elements.find(one => one.element === best);
    if (item) Graph.reveal(item.box);
    return best;
  }
  const all = $$('[aria-pressed]', element.closest(".pane")), at = all.indexOf(element);
  return all[at + (key === "ArrowDown" || key === "ArrowRight" ? 1 : -1)];
}
document.addEventListener("keydown", event => {
  if (event.altKey || event.ctrlKey || event.metaKey || $("#help").open) return;
  const { target, key } = event;
  const inside = target.closest?.("[aria-pressed], #graph .node, #graph .box");
  if (target.matches?.("input") && key.startsWith("Arrow")) return;
  if (inside && key.startsWith("Arrow")) go(neighbour(inside, key));
  else if (inside && (key === "Enter" || key === " ")) {
    const values = entryAt(inside);
    if (values) select([...values]);
  } else if (key === "Escape") { select([]); enlarge(null); }
  else if (key === "[" || key === "]") setStage(Number(slider.value) + (key === "]" ? 1 : -1));
  else if (key === "+" || key === "-" || key === "=") foldOrZoom(inside, key !== "-");
  else if (key === "0") Graph.fit();
  else if (key === "t") toggleTheme();
  else if (key === "?") $("#help").showModal();
  else if (key === "m") enlarge(target.closest?.(".pane"));
  else return;
  event.preventDefault();
});
function foldOrZoom(element, larger) {
  const item = element && Graph.shown.elements.find(one => one.element === element && one.cluster >= 0);
  if (!item) { Graph.zoom(larger ? 1.25 : .8); return; }
  const { cluster, lane } = item;
  Graph.fold(cluster, !larger);
  go(Graph.shown.elements.find(one => one.cluster === cluster && one.lane === lane)?.element);
}

/* ---- passes, tools, theme ---- */

const slider = $("#stage");
function setStage(index) {
  index = Math.min(DATA.stages.length - 1, Math.max(0, index));
  slider.value = index;
  const stage = DATA.stages[index];
  slider.setAttribute("aria-valuetext", `${stage.name}: ${stage.text}`);
  $$(".ticks button").forEach((button, i) => i === index ? button.setAttribute("aria-current", "step") : button.removeAttribute("aria-current"));
  $("#stage-text").textContent = stage.summary;
  $("#graph-title").title = `${stage.name}: ${stage.text}`;
  const focused = document.activeElement.closest?.("#graph .node, #graph .box");
  const values = focused && entryAt(focused);
  Graph.draw(index);
  // who reads the graph by keys stays there
  if (focused) go((Graph.shown.elements.find(one => one.values[0] === values?.[0]) ?? Graph.shown.elements.at(-1))?.element);
}
document.addEventListener("drawn", () => {
  const first = Graph.shown.elements.find(({ cluster }) => cluster < 0) ?? Graph.shown.elements[0];
  if (first) first.element.setAttribute("tabindex", 0);
  light(pinned);
});
slider.addEventListener("input", () => setStage(Number(slider.value)));
$$(".ticks button").forEach((button, index) => button.addEventListener("click", () => setStage(index)));
const tools = { in: () => Graph.zoom(1.25), out: () => Graph.zoom(.8), fit: Graph.fit, fold: () => Graph.foldAll(true), unfold: () => Graph.foldAll(false) };
for (const button of $$(".tools button")) {
  button.setAttribute("aria-label", button.title);
  button.addEventListener("click", tools[button.dataset.do]);
}
function enlarge(pane) {
  const same = pane?.classList.contains("big");
  for (const other of panes) other.classList.remove("big");
  document.body.classList.toggle("one", Boolean(pane) && !same);
  if (pane && !same) pane.classList.add("big");
  requestAnimationFrame(Graph.fit);
}
for (const pane of panes) {
  const button = document.createElement("button");
  button.type = "button"; button.className = "large"; button.title = "Large (m)";
  button.setAttribute("aria-label", `Make large: ${$("h2", pane).firstChild.textContent}`);
  button.addEventListener("click", () => enlarge(pane));
  $("h2", pane).after(button);
}
/* The panes' widths: the handles between them are dragged, or moved by arrows. */
const columns = ["source-pane", "graph-pane", "code-pane"].map(id => document.getElementById(id));
function widen(first, change) {
  const widths = columns.map(column => column.offsetWidth), least = 200;
  if (!change) return tellWidths(widths);
  change = Math.max(least - widths[first], Math.min(widths[first + 1] - least, change));
  widths[first] += change; widths[first + 1] -= change;
  ["--left", "--middle", "--right"].forEach((name, i) => $("#workspace").style.setProperty(name, `${widths[i]}fr`));
  tellWidths(widths);
}
function tellWidths(widths) {
  const whole = widths[0] + widths[1] + widths[2];
  $$(".split").forEach((handle, i) => handle.setAttribute("aria-valuenow", Math.round(100 * (widths[0] + (i ? widths[1] : 0)) / whole)));
}
$$(".split").forEach((handle, first) => {
  handle.addEventListener("pointerdown", event => {
    handle.setPointerCapture(event.pointerId);
    let from = event.clientX;
    const move = now => { widen(first, now.clientX - from); from = now.clientX; };
    handle.addEventListener("pointermove", move);
    handle.addEventListener("pointerup", () => handle.removeEventListener("pointermove", move), { once: true });
  });
  handle.addEventListener("keydown", event => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") widen(first, event.key === "ArrowLeft" ? -24 : 24);
  });
});
function toggleTheme() {
  const html = document.documentElement;
  const dark = html.dataset.theme ? html.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  html.dataset.theme = dark ? "light" : "dark";
}
$("#theme").addEventListener("click", toggleTheme);
$("#help-button").addEventListener("click", () => $("#help").showModal());
for (const button of $$("button.chip[data-select]")) button.addEventListener("click", () => select([Number(button.dataset.select)]));
/* Declarations are on the page once, and come into a card when it is opened. */
for (const details of $$("details[data-rule]")) details.addEventListener("toggle", () => {
  const rule = document.getElementById(`rule-${details.dataset.rule}`);
  if (details.open && details.children.length < 2 && rule) details.append(rule.content.cloneNode(true));
});
for (const rect of $$(".chart [data-v]")) rect.setAttribute("tabindex", -1);

/* ---- the race ---- */

const track = $("#track");
if (track) {
  const [step, eager, start] = track.dataset.race.split(" ").map(Number);
  const even = eager > step ? start / (eager - step) : 1000;
  const goal = Math.ceil(2.2 * even), whole = start + goal * step, last = Math.max(whole, goal * eager);
  const runners = [[$(".static", track), t => (t - start) / step], [$(".eager", track), t => t / eager]];
  const show = time => {
    for (const [runner, done] of runners) {
      const steps = Math.max(0, Math.min(goal, Math.floor(done(time))));
      $(".bar div", runner).style.transform = `scaleX(${steps / goal})`;
      $("output", runner).textContent = `${steps.toLocaleString("en")} steps`;
    }
    runners[0][0].classList.toggle("wait", time < start);
    $(".start output", track).textContent = `${(time * 1000).toLocaleString("en", { maximumFractionDigits: time < .1 ? 1 : 0 })} ms${time < start ? ", compiling" : ""}`;
  };
  let running = 0;
  $(".start button", track).addEventListener("click", () => {
    const turn = ++running, begin = performance.now(), seconds = 7;
    const frame = now => {
      const part = Math.min(1, (now - begin) / 1000 / seconds);
      if (turn === running) { show(part * last); if (part < 1) requestAnimationFrame(frame); }
    };
    requestAnimationFrame(frame);
  });
  show(0);
}

/* The reading begins at the user's first operation, not at the imports. */
const beginning = $$("#source-pane .ln[data-v]").find(({ linked: { own } }) =>
  own.some(number => VALUES[number].lane === 0 && !["placeholder", "parameter"].includes(VALUES[number].op)));
if (beginning) $("#source-pane .body").scrollTop = Math.max(0, beginning.offsetTop - $("#source-pane .body").offsetTop - 60);
widen(0, 0);
setStage(Math.min(1, DATA.stages.length - 1));
inspect([]);
new ResizeObserver(() => Graph.fit()).observe(Graph.svg);
