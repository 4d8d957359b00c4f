// Show a graph, its steps and the form of the page that steps through the backward pass; see steps.js and page.py.

const LINE = 17, BEND = 26, GAP = 12, MARGIN = 10, LANE = 5, PORT = 26, LABEL = 15, PULL = 20, ROUNDS = 12;
const mean = numbers => numbers.reduce((a, b) => a + b, 0) / numbers.length;
const constant = ({name, operation}) => !operation && /^-?\d/.test(name);
const escaped = text => text.replace(/[&<>"]/g, sign => `&#${sign.charCodeAt(0)};`);

/** Return the non-decreasing numbers that are nearest in weighted squares: pool adjacent violators. */
function increasing(wanted, weights) {
  const pools = [];
  wanted.forEach((mean, i) => {
    let pool = {mean, weight: weights[i], size: 1};
    while (pools.length && pools.at(-1).mean > pool.mean) {
      const other = pools.pop(), weight = other.weight + pool.weight;
      pool = {mean: (other.mean * other.weight + pool.mean * pool.weight) / weight, weight, size: other.size + pool.size};
    }
    pools.push(pool);
  });
  return pools.flatMap(pool => Array(pool.size).fill(pool.mean));
}

/** Place boxes in layers from top to bottom, and arrows with labels between them: sweepgrad.drawing.layout. */
function layout(boxes, links) {
  const layers = boxes.map(() => 0);
  for (let n = boxes.length - 1; n >= 0; n -= 1) {
    for (const link of links) if (link.parent === n) layers[n] = Math.max(layers[n], layers[link.child] + 2);
  }
  const deepest = Math.max(...layers);
  boxes.forEach((box, n) => {
    Object.assign(box, {layer: deepest - layers[n], left: box.width / 2, right: box.width / 2, above: [], below: []});
  });
  let rows = Array.from({length: deepest + 1}, () => []);
  boxes.forEach(box => rows[box.layer].push(box));
  for (const link of links) {
    link.lanes = [];
    for (let layer = boxes[link.parent].layer + 1; layer < boxes[link.child].layer; layer += 1) {
      link.lanes.push({left: LANE, right: LANE, above: [], below: [], lane: true});
      rows[layer].push(link.lanes.at(-1));
    }
    link.lanes.at(-1).right = LANE + link.labelWidth;
    const chain = [boxes[link.parent], ...link.lanes, boxes[link.child]];
    chain.slice(1).forEach((point, i) => {
      point.above.push(chain[i]);
      chain[i].below.push(point);
    });
  }
  rows = sorted(rows);
  for (const row of rows) {
    row.forEach((point, i) => { point.offset = i ? row[i - 1].offset + row[i - 1].right + GAP + point.left : 0; });
    row.forEach(point => { point.x = point.offset - row.at(-1).offset / 2; });
  }
  for (let round = 0; round < 2 * ROUNDS; round += 1) {
    for (const row of round % 2 ? [...rows].reverse() : rows) {
      const pulls = row.map(point => [...point.above, ...point.below].map(n => ({x: n.x, weight: n.lane && point.lane ? PULL : 1})));
      const weights = pulls.map(pull => pull.reduce((sum, {weight}) => sum + weight, 0));
      const wanted = row.map((point, i) => pulls[i].reduce((sum, {x, weight}) => sum + weight * x, 0) / weights[i] - point.offset);
      increasing(wanted, weights).forEach((shift, i) => { row[i].x = row[i].offset + shift; });
    }
  }
  const least = Math.min(...rows.flat().map(point => point.x - point.left)) - MARGIN;
  rows.flat().forEach(point => { point.x -= least; });
  let y = MARGIN;
  for (const row of rows) {
    const height = Math.max(...row.map(point => point.height ?? LABEL));
    row.forEach(point => Object.assign(point, {top: y, bottom: y + height}));
    y += height + BEND;
  }
  for (const box of boxes) {
    for (const [ends, at, port] of [[links.filter(l => boxes[l.parent] === box), 0, "leaves"], [links.filter(l => boxes[l.child] === box), -1, "enters"]]) {
      const step = Math.min(PORT, (box.width - 20) / Math.max(1, ends.length - 1));
      ends.sort((a, b) => a.lanes.at(at).x - b.lanes.at(at).x);
      ends.forEach((link, i) => { link[port] = box.x + (i - (ends.length - 1) / 2) * step; });
    }
  }
  return {width: Math.max(...rows.flat().map(point => point.x + point.right)) + MARGIN, height: y - BEND + MARGIN};
}

/** Return the layers in the order with the fewest crossings that was found. */
function sorted(rows) {
  const places = row => new Map(row.map((point, i) => [point, i - (row.length - 1) / 2]));
  const more = (a, b) => a.reduce((sum, x) => sum + b.filter(y => x > y).length, 0);
  let fewest = Infinity, best = rows;
  for (let start = 0; start < 4; start += 1) {
    const current = rows.map((row, layer) => ((start >> (layer % 2)) & 1 ? [...row].reverse() : [...row]));
    for (let round = 0; round < ROUNDS; round += 1) {
      const down = round % 2 === 0;
      for (let i = 1; i < rows.length; i += 1) {
        const layer = down ? i : rows.length - 1 - i, row = current[layer];
        const where = new Map([layer - 1, layer, layer + 1].flatMap(l => (current[l] ? [...places(current[l])] : [])));
        const near = (point, side) => point[side].map(n => where.get(n));
        const key = new Map(row.map(p => [p, p[down ? "above" : "below"].length ? mean(near(p, down ? "above" : "below")) : where.get(p)]));
        row.sort((a, b) => key.get(a) - key.get(b));
        for (let j = 0; j + 1 < row.length; j += 1) {
          const [a, b] = [row[j], row[j + 1]];
          const saved = ["above", "below"].reduce((sum, side) => sum + more(near(a, side), near(b, side)) - more(near(b, side), near(a, side)), 0);
          if (saved > 0) [row[j], row[j + 1]] = [b, a];
        }
      }
      let crossings = 0;
      current.slice(1).forEach((lower, i) => {
        const where = places(lower), ends = current[i].map(point => point.below.map(n => where.get(n)));
        ends.forEach((a, j) => ends.slice(j + 1).forEach(b => { crossings += more(a, b); }));
      });
      if (crossings < fewest) [fewest, best] = [crossings, current.map(row => [...row])];
    }
  }
  return best;
}

/** Return the picture of a graph as SVG: sweepgrad.drawing.pictures.svg. */
function picture(graph, prefix, letter) {
  const last = graph.nodes.length - 1;
  const boxes = graph.nodes.map(node => {
    const {name, operation, data, grad} = node;
    if (constant(node)) return {lines: [name], width: letter * name.length + 16, height: LINE + 10};
    const lines = [operation ? `${name} (${operation})` : name, `value ${format(data)}`, `grad ${format(grad)}`];
    // Half-way through, the gradient may be longer than at the end; eight letters hold any number of four digits.
    return {lines, width: letter * Math.max(...lines.map(line => line.length), 14) + 16, height: 3 * LINE + 10};
  });
  const links = graph.edges.map(({parent, child, partial}) => {
    const label = constant(graph.nodes[parent]) ? "" : `∂${graph.nodes[child].name}/∂${graph.nodes[parent].name} = ${format(partial)}`;
    return {parent, child, label, labelWidth: letter * 0.92 * label.length};
  });
  const {width, height} = layout(boxes, links), parts = [];
  links.forEach((link, n) => {
    const {parent, child, lanes, leaves, enters, label} = link, to = boxes[child], last = lanes.at(-1);
    const {top, bottom, height: high} = boxes[parent]; // a box that is lower than its row is in the middle of it
    let path = `M${leaves} ${(top + bottom + high) / 2} V${bottom}`, from = {x: leaves, y: boxes[parent].bottom};
    for (const {x, top, bottom} of [...lanes, {x: enters, top: to.top, bottom: to.top}]) {
      const half = (from.y + top) / 2;
      path += ` C${from.x} ${half} ${x} ${half} ${x} ${top}${bottom > top ? ` V${bottom}` : ""}`; // an arrow's head follows the last piece
      from = {x, y: bottom};
    }
    parts.push(`<g id="${prefix}edge-${n}"><path d="${path}" fill="none" stroke="var(--steps-faint)" marker-end="url(#${prefix}arrow)"/>
      <text x="${last.x + LANE}" y="${(last.top + last.bottom) / 2 + 4}" fill="var(--steps-ink)" font-size="11">${escaped(label)}</text></g>`);
  });
  boxes.forEach(({x, top: above, bottom, width: wide, height: high, lines}, n) => {
    const top = (above + bottom - high) / 2;
    const plain = constant(graph.nodes[n]), tint = n === last ? "result" : plain || graph.nodes[n].operation ? "" : "given";
    const fill = tint ? `fill="var(--steps-${tint})" fill-opacity="0.13"` : 'fill="var(--steps-surface)"';
    const texts = lines.map((line, row) => `<text${row === 2 ? ` id="${prefix}grad-${n}"` : ""} x="${x}" y="${top + LINE * (row + 1)}"
      text-anchor="middle" fill="var(--steps-ink)"${plain ? ' fill-opacity="0.75"' : row ? "" : ' font-weight="bold"'}>${escaped(line)}</text>`);
    parts.push(`<g id="${prefix}node-${n}"><rect x="${x - wide / 2}" y="${top}" width="${wide}" height="${high}" rx="6" ${fill}
      stroke="var(--steps-${plain ? "faint" : "ink"})"/>${texts.join("")}</g>`);
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img"
    aria-label="graph of ${escaped(graph.nodes[last].name)}" font-size="12"><defs><marker id="${prefix}arrow" viewBox="0 0 8 8" refX="7"
    refY="4" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z"
    fill="var(--steps-faint)"/></marker></defs>${parts.join("")}</svg>`;
}

/** Return how a node was computed, such as x1 + x2: Graph.formula. */
function formula(graph, n) {
  const {operation} = graph.nodes[n], names = graph.edges.filter(edge => edge.child === n).map(edge => graph.nodes[edge.parent].name);
  const operands = names.map(name => (name.startsWith("-") ? `(${name})` : name));
  if (["+", "-", "*", "/"].includes(operation)) return operands.join(` ${operation} `);
  if (operation.startsWith("**")) return `${operands[0]} ${operation}`;
  return operation === "neg" ? `-${operands[0]}` : `${operation}(${names.join(", ")})`;
}

/** Return the steps of the backward pass: the node, its edges, all gradients so far, and a sentence in HTML. */
function stepsOf(graph) {
  const result = graph.nodes.at(-1).name, sums = graph.nodes.map((_, n) => (n === graph.nodes.length - 1 ? 1 : 0));
  const factor = x => (x < 0 ? `(${format(x)})` : format(x));
  return graph.nodes.map((_, n) => n).filter(n => graph.nodes[n].operation).reverse().map(node => {
    const {name, grad} = graph.nodes[node], edges = graph.edges.flatMap((edge, e) => (edge.child === node ? [e] : []));
    const lines = edges.flatMap(e => {
      const {parent, partial, share} = graph.edges[e], to = graph.nodes[parent].name;
      sums[parent] += share;
      return constant(graph.nodes[parent]) ? [] : `to ${to}: ∂${result}/∂${name} · ∂${name}/∂${to} = ${format(grad)} · ${factor(partial)} = ${format(share)}`;
    });
    const html = `<b>${escaped(`${name} = ${formula(graph, node)}`)}</b>. Its gradient is ${format(grad)}.`
      + (lines.length ? ` It passes back<br>${lines.map(escaped).join("<br>")}` : " It passes nothing back: its parents are constants.");
    return {node, edges, grads: sums.map(sum => format(sum)), html};
  });
}

/** Start a page's walk through the backward pass: buttons, arrow keys, and the form, if it has one. */
function start(prefix, given) {
  const at = name => document.getElementById(prefix + name), walk = at("walk"), list = walk.querySelector("ol");
  const bar = at("bar"), where = at("where"), view = at("picture"), form = at("form"), problem = at("problem");
  let steps = given, now = 0;
  function show(step, scrolls = true) {
    now = Math.max(0, Math.min(steps.length - 1, step));
    walk.querySelectorAll(".now").forEach(part => part.classList.remove("now"));
    const {node, edges, grads} = steps[now];
    at(`node-${node}`).classList.add("now");
    edges.forEach(edge => at(`edge-${edge}`).classList.add("now"));
    grads.forEach((text, n) => { at(`grad-${n}`)?.replaceChildren(`grad ${text}`); }); // constants have none
    list.children[now].classList.add("now");
    where.textContent = `step ${now + 1} of ${steps.length}`;
    const focus = document.activeElement, enabled = {back: now > 0, next: now < steps.length - 1};
    for (const [name, on] of Object.entries(enabled)) at(name).disabled = !on;
    // A disabled button would lose the focus to the page.
    if (focus?.disabled && walk.contains(focus)) at(enabled.back ? "back" : enabled.next ? "next" : "again").focus();
    if (scrolls) toMiddle(node);
  }
  function toMiddle(node, vertically = true) {
    const box = at(`node-${node}`).getBoundingClientRect(), seen = view.getBoundingClientRect();
    view.scrollLeft += (box.left + box.right - seen.left - seen.right) / 2;
    if (vertically) view.scrollTop += (box.top + box.bottom - seen.top - seen.bottom) / 2;
  }
  /** Show the first step and the top of the picture, with the first box in view. */
  function begin() {
    show(0, false);
    view.scrollTo(0, 0);
    const box = at("node-0").getBoundingClientRect(), seen = view.getBoundingClientRect();
    if (box.right > seen.right) toMiddle(0, false);
  }
  const moves = {back: () => now - 1, next: () => now + 1, again: () => 0};
  for (const [name, to] of Object.entries(moves)) at(name).addEventListener("click", () => show(to()));

  // The arrow keys move the walk that has the focus, or, if nothing on the page has it, the first walk in view.
  const mine = () => {
    const focus = document.activeElement, all = [...document.querySelectorAll(".steps")];
    const inView = other => other.getBoundingClientRect().bottom > 0 && other.getBoundingClientRect().top < innerHeight;
    if (focus && focus !== document.body && focus !== document.documentElement) return walk.contains(focus);
    return walk === all.find(inView);
  };
  document.addEventListener("keydown", event => {
    const move = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    const taken = event.target.closest?.("input, textarea, select, audio, video, [contenteditable]");
    if (!move || taken || event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey || !mine()) return;
    show(now + move);
    event.preventDefault();
  });

  form?.addEventListener("submit", event => {
    event.preventDefault();
    const input = at("expression");
    try {
      const graph = evaluate(input.value, at("values").value);
      if (graph.nodes.length > 150) throw new Mistake("the graph has more than 150 nodes; use sweepgrad draw");
      const letter = view.querySelector("text").getComputedTextLength() / view.querySelector("text").textContent.length;
      view.innerHTML = picture(graph, prefix, Math.max(7.3, letter));
      steps = stepsOf(graph);
      list.innerHTML = steps.map(step => `<li>${step.html}</li>`).join("");
      problem.textContent = "";
      walk.classList.remove("stale");
      begin();
      at(steps.length > 1 ? "next" : "again").focus({preventScroll: true});
    } catch (mistake) {
      if (!(mistake instanceof Mistake) && !(mistake instanceof RangeError)) throw mistake;
      walk.classList.add("stale"); // the picture is not of what was typed
      const deep = "the expression is nested too deeply; assign parts of it to names, separated by ;";
      const spot = mistake.to > mistake.from ? `At character ${mistake.from + 1}, “${input.value.slice(mistake.from, mistake.to)}”: ` : "";
      problem.textContent = mistake instanceof Mistake ? `${spot}${mistake.message}.` : deep;
      if (spot) {
        input.focus();
        input.setSelectionRange(mistake.from, mistake.to);
      }
    }
  });
  if (form) form.hidden = false;
  bar.hidden = false;
  walk.classList.add("stepping");
  begin();
}
