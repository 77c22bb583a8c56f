// The five pictures of the method. Numbers come from dcp/method.py through the data; what is computed
// here is the toy's own gate, z = <q, k>/√2 + β, and its logistic.
//
// Needs draw.js before it. One component: data.picture names the picture.

/** 1. What attention keeps: a triangle that grows by a row, and a cache that grows with it. */
class Keeps extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = Math.min(data.start, data.pieces.length - 1);
    const slider = this.slider("step", { min: 0, max: data.pieces.length - 1, step: 1, value: this.step, label: String }, (v) => { this.step = v; });
    this.player(slider, 260);
  }

  draw() {
    const { pieces, layers, entry } = this.data, n = pieces.length, t = this.step, shapes = [];
    const side = Math.min(21, (this.width - 66) / n), top = 4;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const name = i > t ? "empty" : i === t ? "cell" : "pale";
        shapes.push(rect(j * side + 0.5, top + i * side + 0.5, side - 2, side - 2, name, { rx: 2 }));
      }
      shapes.push(say((i + 1) * side + 5, top + (i + 0.68) * side, cut(named(pieces[i]), 12), i === t ? "strong" : i > t ? "small" : ""));
    }
    const x = this.width, rows = t + 1, bytes = layers * rows * entry;
    shapes.push(say(x, 20, `step ${t} reads ${quoted(pieces[t])}`, "big", "end"));
    shapes.push(say(x, 40, `looks at ${many(rows, "entry", "entries")} a layer`, "ink", "end"));
    shapes.push(say(x, 58, `looks so far: ${(rows * (rows + 1)) / 2}`, "", "end"));
    shapes.push(say(x, 76, `cache: ${kib(bytes)}`, "held", "end"));
    this.show(top + n * side + 4, shapes, `Dense attention: at step ${t} every layer looks at all ${rows} tokens read so far; the cache takes ${kib(bytes)}.`);
    this.tell(`Row: the token that is read. Column: the token it may look at. The cache of this model: *${layers} layers × ${many(rows, "entry", "entries")} × ${kib(entry)} = ${kib(bytes)}*.`);
  }
}

/** 2. A gate: a query and a key to drag, and what the gate makes of them. */
class Gate extends Picture {
  constructor(root, data) {
    super(root, data);
    Object.assign(this, { q: [...data.q], k: [...data.k], beta: data.beta });
    this.slider("shift β", { min: -4, max: 4, step: 0.1, value: this.beta, label: (v) => signed(v, 1) }, (v) => { this.beta = v; });
  }

  draw() {
    const wide = this.width >= 520, size = Math.min(wide ? this.width * 0.52 : this.width, 330), shapes = [], reach = 3;
    const { q, k, beta } = this, at = scales([0, 0, size, size], [-reach, reach], [-reach, reach]);
    const product = (q[0] * k[0] + q[1] * k[1]) / Math.SQRT2, z = product + beta, p = 1 / (1 + Math.exp(-z)), keep = z > 0;
    shapes.push(rect(0.5, 0.5, size - 1, size - 1, "empty", { rx: 6 }));
    const dropped = clip(q, beta * Math.SQRT2, reach);
    if (dropped.length) shapes.push(shape("polygon", { points: dropped.map((v) => `${at.x(v[0])},${at.y(v[1])}`).join(" "), class: "shade" }));
    shapes.push(line(at.x(-reach), at.y(0), at.x(reach), at.y(0), "axis"), line(at.x(0), at.y(-reach), at.x(0), at.y(reach), "axis"));
    if (dropped.length) shapes.push(say(8, size - 10, "keys in the shade are dropped", "drop small"));
    for (const [name, v, label] of [["q", q, "query"], ["k", k, "key"]]) {
      shapes.push(shape("line", { x1: at.x(0), y1: at.y(0), x2: at.x(v[0]), y2: at.y(v[1]), class: `arrow ${name}` }));
      shapes.push(shape("circle", { cx: at.x(v[0]), cy: at.y(v[1]), r: 7, class: `tip ${name}` }));
      shapes.push(say(at.x(v[0]) + (v[0] > 2.2 ? -12 : 12), at.y(v[1]) - 9, label, name === "q" ? "held" : "key", v[0] > 2.2 ? "end" : "start"));
      shapes.push(this.handle(name, v, label, at, size, reach));
    }
    const left = wide ? size + 30 : 30, top = wide ? 8 : size + 16, w = this.width - left - 8, h = Math.max(130, Math.min(size - 150, 180));
    const to = scales([left, top, w, h], [-8, 8], [0, 1]);
    shapes.push(line(left, top + h, left + w, top + h, "axis"), line(to.x(0), top, to.x(0), top + h, "edge"));
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, to.y(v) + 4, String(v), "small", "end"));
    shapes.push(path(Array.from({ length: 129 }, (_, i) => { const v = -8 + i / 8; return [to.x(v), to.y(1 / (1 + Math.exp(-v)))]; }), "curve"));
    const zx = to.x(bound(z, -8, 8));
    shapes.push(line(zx, top + h, zx, to.y(p), "rule"), shape("circle", { cx: zx, cy: to.y(p), r: 6, class: "dot" }));
    for (const v of [-8, -4, 4, 8]) shapes.push(say(to.x(v), top + h + 15, signed(v, 0), "small", "middle"));
    shapes.push(say(to.x(0), top + h + 15, "z = 0", "small", "middle"), say(left + 6, top + 12, "σ(z)", "small"));
    let y = top + h + 44;
    for (const [name, value, kind] of [["⟨q, k⟩ / √2", signed(product), "ink"], ["+ β", signed(beta), "ink"], ["= z", signed(z), "strong"], ["soft gate σ(z), at α = 1", p.toFixed(3), "strong"], ["hard gate, z > 0", keep ? "1: keep" : "0: drop", keep ? "held" : "drop"]]) {
      shapes.push(say(left, y, name), say(left + w, y, value, kind, "end"));
      y += 20;
    }
    this.show(Math.max(size, y - 8), shapes, `A gate in two dimensions: query ${q.map((v) => signed(v, 1))}, key ${k.map((v) => signed(v, 1))}, shift ${signed(beta, 1)}. z is ${signed(z)}, the soft gate ${p.toFixed(3)}, the hard gate ${keep ? "keeps" : "drops"} the token.`);
    this.tell(`Drag either arrow. The gate logit is *${signed(z)}*: this query *${keep ? "keeps" : "drops"}* the token with this key. Raising β moves the shade away: fewer drops.`);
  }

  handle(name, v, label, at, size, reach) {
    const hit = shape("circle", { cx: at.x(v[0]), cy: at.y(v[1]), r: 20, class: "hit", tabindex: 0, role: "slider", "data-handle": name, "aria-label": `${label}: arrow keys move it`, "aria-valuenow": v[0].toFixed(1), "aria-valuetext": `${signed(v[0], 1)}, ${signed(v[1], 1)}` });
    const put = (x, y) => { this[name] = [bound(x, -reach, reach), bound(y, -reach, reach)]; this.draw(); };
    hit.addEventListener("pointerdown", (down) => {
      down.preventDefault();
      // The drawing is made anew at every move, so the window is listened to.
      const move = (e) => {
        const box = this.svg.getBoundingClientRect();
        put(((e.clientX - box.left) / size) * 2 * reach - reach, reach - ((e.clientY - box.top) / size) * 2 * reach);
      };
      const end = () => { removeEventListener("pointermove", move); removeEventListener("pointerup", end); removeEventListener("pointercancel", end); };
      addEventListener("pointermove", move);
      addEventListener("pointerup", end);
      addEventListener("pointercancel", end);
    });
    hit.addEventListener("keydown", (e) => {
      const by = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
      if (!by) return;
      e.preventDefault();
      put(v[0] + by[0] / 10, v[1] + by[1] / 10);
      this.svg.querySelector(`[data-handle="${name}"]`).focus();
    });
    return hit;
  }
}

/** The part of the square [-reach, reach]² in which <q, k> + shift <= 0: one cut of a polygon. */
function clip(q, shift, reach) {
  const corners = [[-reach, -reach], [reach, -reach], [reach, reach], [-reach, reach]], out = [];
  const value = (v) => q[0] * v[0] + q[1] * v[1] + shift;
  corners.forEach((a, i) => {
    const b = corners[(i + 1) % 4], va = value(a), vb = value(b);
    if (va <= 0) out.push(a);
    if (va <= 0 !== vb <= 0) { const f = va / (va - vb); out.push([a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])]); }
  });
  return out;
}

/** 3. The α-sigmoids, their slope, and α over training. */
class Sigmoid extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    const slider = this.slider("α", { min: 0, max: data.alphas.length - 1, step: 1, value: this.index, label: (i) => data.alphas[i].toFixed(1) }, (v) => { this.index = v; });
    this.player(slider, 70);
  }

  draw() {
    const { alphas, p, z, slope, progress } = this.data, i = this.index, alpha = alphas[i], shapes = [], reach = 3;
    const wide = this.width >= 520, left = 34, w = (wide ? this.width * 0.62 : this.width) - left - 6, h = 150;
    const edge = alpha > 1 ? Math.min(reach, 1 / (alpha - 1)) : reach, clipId = `clip-${i}`;
    const box = [left, 8, w, h], at = scales(box, [-reach, reach], [0, 1]), low = 8 + h + 46;
    // Slopes run from 1/4 to 32: powers of two, with a row of its own for exactly 0.
    const power = (v) => (v > 0 ? Math.max(-5.4, Math.log2(v)) : -6), under = scales([left, low, w, h], [-reach, reach], [-6, 5.4]);
    shapes.push(shape("clipPath", { id: clipId }), rect(at.x(-edge), 8, at.x(edge) - at.x(-edge), low + h - 8, "wash"));
    shapes[0].append(rect(left, 0, w, low + h + 4, ""));
    const plot = shape("g", { "clip-path": `url(#${clipId})` });
    shapes.push(plot);
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, at.y(v) + 4, String(v), "small", "end"));
    plot.append(line(left, at.y(0.5), left + w, at.y(0.5), "axis"), line(at.x(0), 8, at.x(0), low + h, "axis"));
    for (const v of [-6, -2, 0, 2, 5]) {
      plot.append(line(left, under.y(v), left + w, under.y(v), "axis"));
      shapes.push(say(left - 7, under.y(v) + 4, { "-6": "0", "-2": "¼", 0: "1", 2: "4", 5: "32" }[v], "small", "end"));
    }
    for (const [index, name] of [...this.data.family.map((f) => [f, "faint"]), [i, "curve"]]) {
      const points = p.map((v, k) => [z[index][k], v, slope[index][k]]), last = alphas[index] > 1 ? 1 / (alphas[index] - 1) : 99;
      const ends = [[-99, 0, 0], ...points, [99, 1, 0]];
      // Below α = 2 the slope falls to 0 at the edge of the band; from there on it jumps.
      const fall = (x) => (alphas[index] > 1 && alphas[index] < 2 ? [[x, 0, 0]] : []);
      plot.append(path((alphas[index] > 1.2 ? ends : points).map(([x, y]) => [at.x(x), at.y(y)]), name));
      plot.append(path([...fall(-last), ...points, ...fall(last)].map(([x, , s]) => [under.x(x), under.y(power(s))]), name));
      if (last < reach) for (const side of [-1, 1]) plot.append(path([[side * last, -6], [side * 99, -6]].map(([x, y]) => [under.x(x), under.y(y)]), name));
    }
    shapes.push(say(left + 6, 22, "gate p", "strong"), say(left + 6, low + 14, "slope dp/dz", "strong"));
    for (const v of [-3, -2, -1, 0, 1, 2, 3]) shapes.push(say(at.x(v), 8 + h + 16, signed(v, 0), "small", "middle"), say(at.x(v), low + h + 16, signed(v, 0), "small", "middle"));
    shapes.push(say(left + w, 8 + h + 31, "gate logit z", "small", "end"));
    const sx = wide ? left + w + 52 : left, sy = wide ? 8 : low + h + 50, sw = this.width - sx - 10, on = scales([sx, sy, sw, h], [0, 1], [1, 8]);
    for (const v of [1, 2, 4, 6, 8]) shapes.push(say(sx - 7, on.y(v) + 4, String(v), "small", "end"), line(sx, on.y(v), sx + sw, on.y(v), "axis"));
    shapes.push(path(progress.map((v, k) => [on.x(v), on.y(alphas[k])]), "faint"), shape("circle", { cx: on.x(progress[i]), cy: on.y(alpha), r: 6, class: "dot" }));
    shapes.push(say(sx + 6, sy + 14, "α", "strong"), say(sx, sy + h + 16, "start", "small"), say(sx + sw, sy + h + 16, "end of training", "small", "end"));
    const facts = [["α", alpha.toFixed(1)], ["live band", alpha > 1 ? `±${(1 / (alpha - 1)).toFixed(3)}` : "all z"], ["slope at z = 0", (2 ** (alpha - 3)).toPrecision(3)], ["training done", `${(100 * progress[i]).toFixed(0)} %`]];
    let y = sy + h + 52;
    for (const [name, value] of facts) { shapes.push(say(sx, y, name), say(sx + sw, y, value, "strong", "end")); y += 20; }
    this.show(Math.max(low + h + 24, y - 8), shapes, `The α-sigmoid at α ${alpha.toFixed(1)}, its slope, and the schedule of α over training. The gate learns while its logit is ${alpha > 1 ? `within ${(1 / (alpha - 1)).toFixed(3)} of zero` : "anywhere"}.`);
    this.tell(alpha > 1 ? `At *α = ${alpha.toFixed(1)}* a gate with |z| ≥ *${(1 / (alpha - 1)).toFixed(3)}* is exactly 0 or 1 and no gradient reaches it. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.` : `At *α = 1* the gate is the logistic function: never quite shut, and every logit has a gradient. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.`);
  }
}
