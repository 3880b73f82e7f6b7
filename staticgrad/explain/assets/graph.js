/* The graph: layers and their order come with the page; sizes and coordinates depend on what is
   folded, and are found here. Items are numbers: a node, -1 - k for cluster k, or a bend of an edge. */
"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);
const VALUES = DATA.values.map(([name, lane, concept, target, type, op, at]) =>
  ({ name, lane, concept, target, type, op, at }));

const Graph = (() => {
  const svg = document.getElementById("graph");
  const NS = "http://www.w3.org/2000/svg";
  const GAP_X = 14, GAP_Y = 20, PAD = 9, TITLE = 20, LANE_GAP = 28, LANES = 3, MANY = 90;
  const folds = new Map();
  const prepared = [];
  let shown = null, view = { x: 0, y: 0, scale: 1 }, size = { w: 1, h: 1 };

  const make = (tag, attributes, parent, text) => {
    const element = document.createElementNS(NS, tag);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (text !== undefined) element.textContent = text;
    if (parent) parent.append(element);
    return element;
  };
  const root = make("g", {}, svg);
  const short = (text, most = 19) =>
    text.length <= most ? text : text.slice(0, most - 8) + "…" + text.slice(-7);

  /* ---- what does not depend on folding ---- */

  function prepare(index) {
    if (prepared[index]) return prepared[index];
    const stage = DATA.stages[index];
    const nodes = stage.nodes.map(([value, sign, kind, note]) =>
      ({ value, sign, kind, note, lane: VALUES[value].lane }));
    const clusters = stage.clusters.map(([title, parent, runs]) =>
      ({ title, parent, runs, lanes: new Set(), inside: [], links: [], key: "" }));
    const home = new Map();
    clusters.forEach((cluster, k) => {
      cluster.key = k ? clusters[cluster.parent].key + "/" + cluster.title : "";
      for (const run of cluster.runs) for (const lane of run) for (const layer of lane)
        for (const item of layer) if (item >= 0 && item < nodes.length) home.set(item, k);
    });
    const chain = n => {
      const found = [n];
      for (let k = home.get(n); k >= 0; k = clusters[k].parent) found.push(-1 - k);
      return found.reverse();
    };
    const chains = nodes.map((_, n) => chain(n));
    nodes.forEach((node, n) => {
      for (const item of chains[n]) if (item < 0) {
        clusters[-1 - item].lanes.add(node.lane);
        clusters[-1 - item].inside.push(n);
      }
    });
    const edges = stage.edges.map(([from, to, ...bends]) => {
      let depth = 0;
      const a = chains[from], b = chains[to];
      while (depth < Math.min(a.length, b.length) - 1 && a[depth + 1] === b[depth + 1]) depth++;
      const apart = a[a.length - 2] !== b[b.length - 2];
      const edge = { from, to, bends, cross: nodes[from].lane !== nodes[to].lane };
      edge.faint = edge.cross || (apart && clusters[home.get(from)].title === "all updates");
      if (!edge.faint) clusters[-1 - a[depth]].links.push([a[depth + 1], ...bends, b[depth + 1]]);
      return edge;
    });
    const updates = nodes.filter((_, n) => chains[n].some(item => item < 0 && isUpdate(clusters[-1 - item].title)));
    const many = nodes.length - updates.length > MANY;
    return prepared[index] = { nodes, clusters, edges, chains, many };
  }

  function isUpdate(title) { return title.startsWith("update ") || title === "all updates"; }
  function isFolded(stage, k) {
    const cluster = stage.clusters[k];
    if (folds.has(cluster.key)) return folds.get(cluster.key);
    if (!k) return false;
    return stage.many || isUpdate(cluster.title);
  }

  /* ---- sizes and coordinates ---- */

  function nodeSize(node) {
    const name = short(VALUES[node.value].name), sign = node.sign;
    const width = name ? name.length * 7.25 + (node.kind < 3 ? sign.length * 6.6 + 10 : 0) : sign.length * 7.4;
    return [Math.max(34, width + 18, node.note.length * 5.9 + 10), node.note ? 34 : 25];
  }

  function arrange(stage, k) {
    const cluster = stage.clusters[k], lanes = [], inner = new Map(), rows = [];
    for (let lane = 0; lane < LANES; lane++) lanes.push({ layers: [], width: 0 });
    let y = 0;
    for (const run of cluster.runs) {
      const made = run.map((layers, lane) => layers.map(layer => {
        const items = layer.map(item => {
          if (item >= stage.nodes.length) return { item, w: 6, h: 0 };
          if (item >= 0) { const [w, h] = nodeSize(stage.nodes[item]); return { item, w, h }; }
          const c = -1 - item, inside = stage.clusters[c];
          if (isFolded(stage, c)) return { item, w: short(inside.title, 30).length * 7 + 52, h: 30 };
          if (!inner.has(c)) inner.set(c, arrange(stage, c));
          const sub = inner.get(c);
          const title = inside.title.length * 6.6 + 48;
          return { item, w: Math.max(sub.lanes[lane].width + 2 * PAD, title), h: sub.h + TITLE + PAD, sub };
        });
        return { items, h: Math.max(0, ...items.map(i => i.h)) };
      }));
      const joint = run.some(lane => lane.some(layer => layer.some(item =>
        item < 0 && inner.has(-1 - item) && stage.clusters[-1 - item].lanes.size > 1)));
      const heights = made.map(layers => layers.reduce((sum, l) => sum + l.h, 0) + GAP_Y * Math.max(0, layers.length - 1));
      const height = Math.max(...heights);
      const main = made.findIndex(layers => layers.length);
      made.forEach((layers, lane) => {
        const free = height - heights[lane], spread = lane === main && !joint && layers.length > 1;
        const extra = spread ? free / (layers.length - 1) : 0;
        let top = y + (joint || spread ? 0 : lane === main ? free / 2 : free);
        for (const layer of layers) {
          for (const item of layer.items) item.y = joint ? top : top + (layer.h - item.h) / 2;
          top += layer.h + GAP_Y + extra;
          lanes[lane].layers.push(layer.items);
        }
      });
      y += height + GAP_Y;
    }
    lanes.forEach(lane => align(lane, cluster.links));
    return { lanes, h: Math.max(0, y - GAP_Y), inner };
  }

  /* Items above each other where edges join them, in their order, without overlaps. */
  function align(lane, links) {
    const at = new Map();
    lane.layers.forEach((layer, row) => {
      let x = 0;
      for (const item of layer) { item.x = x; item.row = row; at.set(item.item, item); x += item.w + GAP_X; }
    });
    const near = new Map();
    for (const chain of links) for (let i = 1; i < chain.length; i++) {
      const a = at.get(chain[i - 1]), b = at.get(chain[i]);
      if (!a || !b || a.row === b.row) continue;
      const [upper, lower] = a.row < b.row ? [a, b] : [b, a];
      if (!near.has(upper)) near.set(upper, { up: [], down: [] });
      if (!near.has(lower)) near.set(lower, { up: [], down: [] });
      near.get(upper).down.push(lower); near.get(lower).up.push(upper);
    }
    const degree = item => Math.min(2, (near.get(item)?.up.length ?? 0) + (near.get(item)?.down.length ?? 0));
    const centre = item => item.x + item.w / 2;
    const rows = lane.layers.map((_, row) => row);
    for (const [order, side] of [[rows, "up"], [[...rows].reverse(), "down"], [rows, "up"], [[...rows].reverse(), "down"]])
      for (const row of order) {
        const layer = lane.layers[row];
        const wish = layer.map(item => {
          // along the main chain: leaves and ends follow it, not it them
          const all = near.get(item)?.[side] ?? [], most = Math.max(0, ...all.map(degree));
          const found = all.filter(other => degree(other) === most);
          return found.length ? found.reduce((sum, other) => sum + centre(other), 0) / found.length - item.w / 2 : item.x;
        });
        settle(layer, wish, degree);
      }
    const all = lane.layers.flat();
    const start = all.length ? Math.min(...all.map(i => i.x)) : 0;
    for (const item of all) item.x -= start;
    lane.width = Math.max(0, ...all.map(i => i.x + i.w));
  }

  /* The items of the chain where they wish to be, or as near as they can; the others beside them. */
  function settle(layer, wish, degree) {
    let chain = layer.map((_, i) => i).filter(i => degree(layer[i]) > 1);
    if (!chain.length) chain = layer.map((_, i) => i);
    const room = (from, to) => {
      let sum = 0;
      for (let i = from; i < to; i++) sum += layer[i].w + GAP_X;
      return sum;
    };
    const right = [], left = [];
    chain.forEach((i, k) => right[k] = k ? Math.max(wish[i], right[k - 1] + room(chain[k - 1], i)) : wish[i]);
    for (let k = chain.length - 1; k >= 0; k--)
      left[k] = k < chain.length - 1 ? Math.min(wish[chain[k]], left[k + 1] - room(chain[k], chain[k + 1])) : wish[chain[k]];
    chain.forEach((i, k) => layer[i].x = (right[k] + left[k]) / 2);
    const fixed = new Set(chain);
    for (let i = chain[0] - 1; i >= 0; i--) layer[i].x = layer[i + 1].x - layer[i].w - GAP_X;
    for (let i = chain[0] + 1; i < layer.length; i++) if (!fixed.has(i)) layer[i].x = layer[i - 1].x + layer[i - 1].w + GAP_X;
  }

  function place(stage, arranged, xs, y, found) {
    const inside = new Map();
    arranged.lanes.forEach((lane, number) => {
      for (const layer of lane.layers) for (const item of layer) {
        const box = { x: xs[number] + item.x, y: y + item.y, w: item.w, h: item.h, lane: number, item: item.item };
        if (item.item >= stage.nodes.length) found.bends.set(item.item, box);
        else if (item.item >= 0) found.nodes.set(item.item, box);
        else {
          const c = -1 - item.item;
          if (!found.clusters.has(c)) found.clusters.set(c, []);
          found.clusters.get(c).push(box);
          if (item.sub) {
            if (!inside.has(c)) inside.set(c, { sub: item.sub, xs: [0, 0, 0], y: box.y + TITLE });
            inside.get(c).xs[number] = box.x + PAD;
          }
        }
      }
    });
    for (const { sub, xs: left, y: top } of inside.values()) place(stage, sub, left, top, found);
  }

  /* ---- drawing ---- */

  function draw(index, keep) {
    const stage = prepare(index), before = shown;
    const arranged = arrange(stage, 0);
    const xs = [];
    let x = 0;
    arranged.lanes.forEach(lane => { xs.push(x); if (lane.width) x += lane.width + LANE_GAP; });
    const found = { nodes: new Map(), clusters: new Map(), bends: new Map() };
    place(stage, arranged, xs, 0, found);
    size = { w: Math.max(1, x - LANE_GAP), h: arranged.h };
    root.replaceChildren();
    const boxes = make("g", {}, root), lines = make("g", {}, root), nodes = make("g", {}, root);
    shown = { index, stage, elements: [], edges: [], places: new Map() };
    for (const [c, rects] of [...found.clusters].sort((a, b) => a[0] - b[0])) drawCluster(stage, c, rects, boxes, nodes);
    for (const [n, box] of found.nodes) drawNode(stage.nodes[n], box, nodes);
    drawEdges(stage, found, lines);
    glide(before);
    if (!keep) fit(); else apply();
    document.dispatchEvent(new CustomEvent("drawn"));
  }

  function drawCluster(stage, c, rects, boxes, nodes) {
    const cluster = stage.clusters[c], folded = isFolded(stage, c);
    rects.forEach((box, number) => {
      const lane = box.lane, values = cluster.inside.filter(n => stage.nodes[n].lane === lane).map(n => stage.nodes[n].value);
      const g = make("g", {
        class: folded ? `node folded k${lane}` : `box k${lane}`, role: "button", tabindex: -1, "aria-expanded": !folded,
        "aria-label": `${cluster.title}, ${values.length} nodes, ${folded ? "folded" : "unfolded"}`,
      }, folded ? nodes : boxes);
      make("rect", { x: box.x, y: box.y, width: box.w, height: box.h, rx: 7 }, g);
      const title = (cluster.lanes.size > 1 && !/^\d/.test(cluster.title) ? ["", "∂ ", "Δ "][lane] : "") + short(cluster.title, 30);
      if (folded) make("text", { x: box.x + 12 + box.w / 2, y: box.y + box.h / 2 }, g, title);
      else make("text", { x: box.x + 24, y: box.y + 11 }, g, title);
      const toggle = make("g", { class: "toggle", "aria-hidden": true }, g);
      const tx = box.x + 6, ty = folded ? box.y + box.h / 2 - 7 : box.y + 4;
      make("rect", { x: tx, y: ty, width: 14, height: 14, rx: 3 }, toggle);
      make("text", { x: tx + 7, y: ty + 7 }, toggle, folded ? "+" : "−");
      toggle.addEventListener("click", event => { event.stopPropagation(); fold(c, !folded); });
      remember(g, values, lane, box, c);
    });
  }

  function drawNode(node, box, parent) {
    const value = VALUES[node.value], name = short(value.name);
    const g = make("g", {
      class: `node k${node.kind}`, role: "button", tabindex: -1,
      "aria-label": `${value.name || value.op}, ${value.type}, ${["forward", "backward", "update"][node.lane]}`,
    }, parent);
    make("rect", { x: box.x, y: box.y, width: box.w, height: box.h, rx: node.kind === 3 ? 12 : 6 }, g);
    const middle = box.x + box.w / 2, line = box.y + (node.note ? 12 : box.h / 2);
    if (!name || node.kind > 2) make("text", { x: middle, y: line }, g, name || node.sign);
    else {
      const signWidth = node.sign.length * 6.6 + 10;
      make("text", { x: box.x + 8 + signWidth / 2, y: line, class: "sign" }, g, node.sign);
      make("text", { x: box.x + 9 + signWidth + name.length * 7.25 / 2, y: line }, g, name);
    }
    if (node.note) make("text", { x: middle, y: box.y + 25, class: "note" }, g, node.note);
    make("title", {}, g, `${value.name || value.op}: ${value.type}`);
    remember(g, [node.value], node.lane, box, -1);
  }

  function remember(element, values, lane, box, cluster) {
    shown.elements.push({ element, values, lane, box, cluster });
    if (cluster < 0) shown.places.set(values[0], [element, box]);
  }

  function drawEdges(stage, found, parent) {
    const standIn = n => {
      for (const item of stage.chains[n]) if (item < 0 && item !== -1 && isFolded(stage, -1 - item)) return item;
      return n;
    };
    const boxOf = (item, lane) => item >= 0 ? found.nodes.get(item) : found.clusters.get(-1 - item).find(box => box.lane === lane);
    const done = new Set();
    for (const edge of stage.edges) {
      const from = standIn(edge.from), to = standIn(edge.to);
      const [laneA, laneB] = [stage.nodes[edge.from].lane, stage.nodes[edge.to].lane];
      const key = `${from} ${to} ${laneA} ${laneB}`;
      if ((from === to && laneA === laneB) || done.has(key)) continue;
      done.add(key);
      const a = boxOf(from, laneA), b = boxOf(to, laneB);
      const bends = edge.bends.map(bend => found.bends.get(bend)).filter(Boolean);
      const path = make("path", { d: edge.cross ? across(a, b) : along(a, b, bends), class: `e${laneB}${edge.cross ? " cross" : edge.faint ? " faint" : ""}` }, parent);
      shown.edges.push({ path, from: a, to: b });
    }
  }

  function across(a, b) {
    const right = b.x > a.x, x0 = right ? a.x + a.w : a.x, x1 = right ? b.x : b.x + b.w;
    const y0 = a.y + a.h / 2, y1 = b.y + b.h / 2, m = (x0 + x1) / 2;
    return `M${x0} ${y0}C${m} ${y0} ${m} ${y1} ${x1} ${y1}`;
  }

  function along(a, b, bends) {
    const up = b.y + b.h / 2 < a.y + a.h / 2;
    let x = a.x + a.w / 2, y = up ? a.y : a.y + a.h, d = `M${x} ${y}`;
    for (const box of [...bends, b]) {
      const nx = box.x + box.w / 2, ny = box === b ? (up ? b.y + b.h : b.y) : box.y, m = (y + ny) / 2;
      d += `C${x} ${m} ${nx} ${m} ${nx} ${ny}`;
      [x, y] = [nx, ny];
    }
    return d;
  }

  /* Nodes move from where they were in the stage before. */
  function glide(before) {
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (!before || still || shown.elements.length > 400) return;
    for (const [value, [element, box]] of shown.places) {
      const old = before.places.get(value);
      if (!old) continue;
      const dx = old[1].x + old[1].w / 2 - box.x - box.w / 2, dy = old[1].y - box.y;
      if (dx || dy) element.animate([{ transform: `translate(${dx}px,${dy}px)` }, { transform: "none" }], { duration: 380, easing: "ease-out" });
    }
    for (const { path } of shown.edges) path.animate([{ opacity: 0 }, { opacity: 0, offset: .6 }, {}], { duration: 520 });
  }

  function fold(cluster, value) {
    folds.set(shown.stage.clusters[cluster].key, value);
    draw(shown.index, true);
  }
  function foldAll(value) {
    for (const cluster of shown.stage.clusters) if (cluster.key) folds.set(cluster.key, value);
    draw(shown.index);
  }

  /* ---- the view ---- */

  const apply = () => root.setAttribute("transform", `translate(${view.x} ${view.y}) scale(${view.scale})`);
  function fit() {
    const { width, height } = svg.getBoundingClientRect();
    if (!width) return;
    const scale = Math.min((width - 58) / size.w, (height - 24) / size.h, 1.25);
    // the whole of it where that can be read, else its beginning
    view.scale = scale > .6 ? scale : Math.max(scale, Math.min(.8, (width - 58) / size.w), .12);
    view.x = Math.max(12, (width - 34 - size.w * view.scale) / 2);
    view.y = Math.max(12, (height - size.h * view.scale) / 2);
    apply();
  }
  function zoom(factor, x, y) {
    const { width, height } = svg.getBoundingClientRect();
    x ??= width / 2; y ??= height / 2;
    const scale = Math.min(4, Math.max(.05, view.scale * factor));
    view.x = x - (x - view.x) * scale / view.scale;
    view.y = y - (y - view.y) * scale / view.scale;
    view.scale = scale;
    apply();
  }
  function reveal(box) {
    const { width, height } = svg.getBoundingClientRect();
    const x = view.x + (box.x + box.w / 2) * view.scale, y = view.y + (box.y + box.h / 2) * view.scale;
    if (x < 20 || x > width - 20) view.x += width / 2 - x;
    if (y < 20 || y > height - 30) view.y += height / 2 - y;
    apply();
  }
  svg.addEventListener("wheel", event => {
    event.preventDefault();
    const box = svg.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY * (event.ctrlKey ? .01 : .0015)), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  svg.addEventListener("pointerdown", event => {
    if (event.button) return;
    const start = { x: event.clientX - view.x, y: event.clientY - view.y }, from = [event.clientX, event.clientY];
    let moved = false;
    const move = now => {
      moved ||= Math.hypot(now.clientX - from[0], now.clientY - from[1]) > 4;
      if (!moved) return;
      svg.classList.add("drag");
      view.x = now.clientX - start.x; view.y = now.clientY - start.y;
      apply();
    };
    const end = () => {
      window.removeEventListener("pointermove", move);
      window.removeEventListener("pointerup", end);
      setTimeout(() => svg.classList.remove("drag"));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", end);
  });

  return { svg, draw, fold, foldAll, fit, zoom, reveal, get shown() { return shown; }, isFolded: c => isFolded(shown.stage, c) };
})();
