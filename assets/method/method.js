// Built from web/ by "make web"; sources 9924aba4c1f4299e.

// shared/legible.js
var HIDING = (
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g
);
var RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
var isolate = (text) => RIGHT_TO_LEFT.test(text) ? `⁨${text}⁩` : text;
function legible(text) {
  const shown = text.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(HIDING, "�");
  return shown.trim() || (shown ? "␣" : "·");
}

// method/draw.js
var NS = "http://www.w3.org/2000/svg";
function shape(tag, attributes = {}, text) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== void 0) e.textContent = text;
  return e;
}
function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== void 0) e.textContent = text;
  return e;
}
var bound = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
var signed = (v, digits = 2) => `${v < 0 ? "−" : ""}${Math.abs(v).toFixed(digits)}`;
var many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
var line = (x1, y1, x2, y2, name) => shape("line", { x1, y1, x2, y2, class: name });
var rect = (x, y, width, height, name, more = {}) => shape("rect", {
  x,
  y,
  width: Math.max(0, width),
  height: Math.max(0, height),
  class: name,
  ...more
});
var path = (points, name) => shape("path", {
  d: points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join(""),
  class: name
});
var say = (x, y, text, name = "", anchor = "start") => shape("text", { x, y, class: name, "text-anchor": anchor }, text);
function kib(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(n < 10240 ? 1 : 0)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}
var quoted = (piece) => `“${isolate(legible(piece).replaceAll("*", "∗"))}”`;
var cut = (text, room) => text.length <= room ? text : room < 2 ? "" : `${text.slice(0, room - 1)}…`;
function scales([x, y, width, height], [x0, x1], [y0, y1]) {
  return {
    x: (v) => x + (v - x0) / (x1 - x0) * width,
    y: (v) => y + height - (v - y0) / (y1 - y0) * height
  };
}

// method/picture.js
var Picture = class {
  constructor(root, data) {
    this.data = data;
    this.box = element("section", "method");
    this.svg = shape("svg", { role: "img" });
    this.said = element("p", "said");
    this.said.setAttribute("aria-live", "polite");
    this.controls = element("div", "controls");
    this.box.append(this.svg, this.said, this.controls);
    root.append(this.box);
    this.width = 0;
    this.watch = new ResizeObserver(() => this.fit());
    this.watch.observe(this.box);
  }
  fit() {
    const width = Math.round(this.svg.getBoundingClientRect().width);
    if (width && width !== this.width) {
      this.width = width;
      this.draw();
    }
  }
  /** Draw ``shapes`` in a frame ``height`` high; ``about`` is the alternative text. */
  show(height, shapes, about) {
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.setAttribute("aria-label", about);
    this.svg.replaceChildren(...shapes);
  }
  /** Say one sentence; what stands between * and * is bold. */
  tell(text) {
    this.said.replaceChildren(
      ...text.split("*").map((part, i) => i % 2 ? element("b", "", part) : part)
    );
  }
  slider(name, { min, max, step, value, label }, act) {
    const row = element("label"), input = element("input"), out = element("output");
    input.type = "range";
    Object.assign(input, { min, max, step });
    input.value = value;
    const set = () => {
      out.textContent = label(+input.value);
      input.setAttribute("aria-valuetext", out.textContent);
    };
    input.addEventListener("input", () => {
      set();
      act(+input.value);
      this.draw();
    });
    set();
    row.append(element("span", "", name), input, out);
    this.controls.append(row);
    return {
      input,
      move: (v) => {
        input.value = v;
        set();
        act(+input.value);
        this.draw();
      }
    };
  }
  /** A play button that moves a slider until its end. */
  player(slider, milliseconds) {
    const button = element("button", "", "Play");
    button.type = "button";
    let timer = 0;
    const stop = () => {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    };
    const next = () => {
      const { input } = slider;
      if (!this.box.isConnected || +input.value >= +input.max) return stop();
      slider.move(+input.value + 1);
      return void 0;
    };
    button.addEventListener("click", () => {
      if (timer) {
        stop();
        return;
      }
      if (+slider.input.value >= +slider.input.max) slider.move(+slider.input.min);
      button.textContent = "Pause";
      timer = setInterval(next, milliseconds);
    });
    slider.input.addEventListener("pointerdown", stop);
    this.controls.prepend(button);
  }
};

// method/cache.js
var Cache = class extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = data.start;
    const slider = this.slider(
      "step",
      { min: 0, max: data.steps.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      }
    );
    this.player(slider, 330);
  }
  draw() {
    const { pieces, steps, entry, row_bytes, layer, most } = this.data, t = this.step, now = steps[t], shapes = [];
    const columns = Math.max(3, Math.floor(this.width / 76)), w = this.width / columns, h = 24, height = Math.ceil(most / columns) * h, moved = new Map(now.moves.map(([a, b]) => [b, a]));
    const left = (row) => row % columns * w, top = (row) => 18 + Math.floor(row / columns) * h;
    shapes.push(say(0, 10, `layer ${layer}: the rows of its cache, row 0 first`, "strong"));
    for (let row = 0; row < now.capacity; row++) {
      const token = now.rows[row], x = left(row) + 1, y2 = top(row) + 1;
      if (token === void 0) {
        shapes.push(rect(x, y2, w - 3, h - 3, "hole", { rx: 3 }));
        continue;
      }
      shapes.push(rect(x, y2, w - 3, h - 3, "row", { rx: 3 }));
      shapes.push(
        say(
          x + 5,
          y2 + 15,
          cut(legible(pieces[token]), Math.floor((w - 12) / 6.6)),
          row === now.written ? "strong" : "ink"
        )
      );
      if (row === now.written) shapes.push(rect(x, y2, w - 3, h - 3, "new", { rx: 3 }));
      else if (moved.has(row)) shapes.push(rect(x, y2, w - 3, h - 3, "moved", { rx: 3 }));
    }
    const y = 18 + height + 30, ph = 96, pl = 56, pw = this.width - pl - 8, top_bytes = steps.length * entry, at = scales(
      [pl, y, pw, ph],
      [0, steps.length - 1],
      [0, Math.max(top_bytes, most * row_bytes)]
    );
    shapes.push(say(0, y - 11, "memory of this layer", "strong"));
    for (const v of [0, 0.5, 1])
      shapes.push(
        say(pl - 7, at.y(v * top_bytes) + 4, kib(Math.round(v * top_bytes)), "small", "end"),
        line(pl, at.y(v * top_bytes), pl + pw, at.y(v * top_bytes), "axis")
      );
    shapes.push(
      path(
        steps.map((_s, i) => [at.x(i), at.y((i + 1) * entry)]),
        "dense"
      )
    );
    const stairs = steps.flatMap((s, i) => [
      [at.x(Math.max(0, i - 0.5)), at.y(s.capacity * row_bytes)],
      [at.x(Math.min(steps.length - 1, i + 0.5)), at.y(s.capacity * row_bytes)]
    ]);
    shapes.push(
      path(stairs, "faint"),
      path(
        steps.map((s, i) => [at.x(i), at.y(s.rows.length * entry)]),
        "curve"
      )
    );
    shapes.push(
      line(at.x(t), y, at.x(t), y + ph, "rule"),
      shape("circle", { cx: at.x(t), cy: at.y(now.rows.length * entry), r: 5, class: "dot" })
    );
    shapes.push(
      say(pl, y + ph + 16, "step 0", "small"),
      say(pl + pw, y + ph + 16, `step ${steps.length - 1}`, "small", "end")
    );
    const live = now.rows.length * entry, allocated = now.capacity * row_bytes, dense = (t + 1) * entry, third = this.width / 3;
    [
      ["live (line)", kib(live), "held"],
      ["allocated (grey)", kib(allocated), "ink"],
      ["dense (dashed)", kib(dense), "ink"]
    ].forEach(([name, value, kind], i) => {
      shapes.push(
        say(i * third, y + ph + 40, name),
        say(i * third, y + ph + 58, value, `big ${kind}`)
      );
    });
    const gone = now.dropped.length, first = now.dropped[0];
    this.show(
      y + ph + 66,
      shapes,
      `Layer ${layer} at step ${t}: ${now.rows.length} rows in use of ${now.capacity}. Live ${kib(live)}, allocated ${kib(allocated)}, dense ${kib(dense)}.`
    );
    const act = gone ? `It drops *${gone === 1 ? quoted(pieces[first[0]]) : `${gone} tokens`}*: ${quoted(pieces[t])} overwrites the row of ${quoted(pieces[first[0]])} (orange)${now.moves.length ? `, and ${many(now.moves.length, "last row moves into a hole", "last rows move into holes")} (dashed)` : ""}.` : `It drops nothing: ${quoted(pieces[t])} is appended as row ${now.written} (orange).`;
    this.tell(
      `Step ${t} reads *${quoted(pieces[t])}*. ${act} ${many(now.rows.length, "row")} in use of ${t + 1} tokens read.`
    );
  }
};

// method/gate.js
var Gate = class extends Picture {
  constructor(root, data) {
    super(root, data);
    this.svg.setAttribute("role", "group");
    Object.assign(this, { q: [...data.q], k: [...data.k], beta: data.beta });
    this.slider(
      "shift β",
      { min: -4, max: 4, step: 0.1, value: this.beta, label: (v) => signed(v, 1) },
      (v) => {
        this.beta = v;
      }
    );
  }
  draw() {
    const wide = this.width >= 520, size = Math.min(wide ? this.width * 0.52 : this.width, 330), shapes = [], reach = 3;
    const { q, k, beta } = this, at = scales([0, 0, size, size], [-reach, reach], [-reach, reach]);
    const product = (q[0] * k[0] + q[1] * k[1]) / Math.SQRT2, z = product + beta, p = 1 / (1 + Math.exp(-z)), keep = z > 0;
    shapes.push(rect(0.5, 0.5, size - 1, size - 1, "empty", { rx: 6 }));
    const dropped = clip(q, beta * Math.SQRT2, reach);
    if (dropped.length)
      shapes.push(
        shape("polygon", {
          points: dropped.map((v) => `${at.x(v[0])},${at.y(v[1])}`).join(" "),
          class: "shade"
        })
      );
    shapes.push(
      line(at.x(-reach), at.y(0), at.x(reach), at.y(0), "axis"),
      line(at.x(0), at.y(-reach), at.x(0), at.y(reach), "axis")
    );
    if (dropped.length)
      shapes.push(say(8, size - 10, "keys in the shade are dropped", "drop small"));
    for (const [name, v, label] of [
      ["q", q, "query"],
      ["k", k, "key"]
    ]) {
      shapes.push(
        shape("line", {
          x1: at.x(0),
          y1: at.y(0),
          x2: at.x(v[0]),
          y2: at.y(v[1]),
          class: `arrow ${name}`
        })
      );
      shapes.push(shape("circle", { cx: at.x(v[0]), cy: at.y(v[1]), r: 7, class: `tip ${name}` }));
      shapes.push(
        say(
          at.x(v[0]) + (v[0] > 2.2 ? -12 : 12),
          at.y(v[1]) - 9,
          label,
          name === "q" ? "held" : "key",
          v[0] > 2.2 ? "end" : "start"
        )
      );
      shapes.push(this.handle(name, v, label, at, size, reach));
    }
    const left = wide ? size + 30 : 30, top = wide ? 8 : size + 16, w = this.width - left - 8, h = Math.max(130, Math.min(size - 150, 180));
    const to = scales([left, top, w, h], [-8, 8], [0, 1]);
    shapes.push(
      line(left, top + h, left + w, top + h, "axis"),
      line(to.x(0), top, to.x(0), top + h, "edge")
    );
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, to.y(v) + 4, String(v), "small", "end"));
    shapes.push(
      path(
        Array.from({ length: 129 }, (_, i) => {
          const v = -8 + i / 8;
          return [to.x(v), to.y(1 / (1 + Math.exp(-v)))];
        }),
        "curve"
      )
    );
    const zx = to.x(bound(z, -8, 8));
    shapes.push(
      line(zx, top + h, zx, to.y(p), "rule"),
      shape("circle", { cx: zx, cy: to.y(p), r: 6, class: "dot" })
    );
    for (const v of [-8, -4, 4, 8])
      shapes.push(say(to.x(v), top + h + 15, signed(v, 0), "small", "middle"));
    shapes.push(
      say(to.x(0), top + h + 15, "z = 0", "small", "middle"),
      say(left + 6, top + 12, "σ(z)", "small")
    );
    let y = top + h + 44;
    for (const [name, value, kind] of [
      ["⟨q, k⟩ / √2", signed(product), "ink"],
      ["+ β", signed(beta), "ink"],
      ["= z", signed(z), "strong"],
      ["soft gate σ(z), at α = 1", p.toFixed(3), "strong"],
      ["hard gate, z > 0", keep ? "1: keep" : "0: drop", keep ? "held" : "drop"]
    ]) {
      shapes.push(say(left, y, name), say(left + w, y, value, kind, "end"));
      y += 20;
    }
    this.show(
      Math.max(size, y - 8),
      shapes,
      `A gate in two dimensions: query ${q.map((v) => signed(v, 1))}, key ${k.map((v) => signed(v, 1))}, shift ${signed(beta, 1)}. z is ${signed(z)}, the soft gate ${p.toFixed(3)}, the hard gate ${keep ? "keeps" : "drops"} the token.`
    );
    this.tell(
      `Drag either arrow. The gate logit is *${signed(z)}*: this query *${keep ? "keeps" : "drops"}* the token with this key. Raising β moves the shade away: fewer drops.`
    );
  }
  handle(name, v, label, at, size, reach) {
    const hit = shape("circle", {
      cx: at.x(v[0]),
      cy: at.y(v[1]),
      r: 20,
      class: "hit",
      tabindex: 0,
      role: "slider",
      "data-handle": name,
      "aria-label": `${label}: arrow keys move it`,
      "aria-valuenow": v[0].toFixed(1),
      "aria-valuetext": `${signed(v[0], 1)}, ${signed(v[1], 1)}`
    });
    const put = (x, y) => {
      this[name] = [bound(x, -reach, reach), bound(y, -reach, reach)];
      this.draw();
    };
    hit.addEventListener("pointerdown", (down) => {
      down.preventDefault();
      const move = (e) => {
        const box = this.svg.getBoundingClientRect();
        put(
          (e.clientX - box.left) / size * 2 * reach - reach,
          reach - (e.clientY - box.top) / size * 2 * reach
        );
      };
      const end = () => {
        removeEventListener("pointermove", move);
        removeEventListener("pointerup", end);
        removeEventListener("pointercancel", end);
      };
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
};
function clip(q, shift, reach) {
  const corners = [
    [-reach, -reach],
    [reach, -reach],
    [reach, reach],
    [-reach, reach]
  ], out = [];
  const value = (v) => q[0] * v[0] + q[1] * v[1] + shift;
  corners.forEach((a, i) => {
    const b = corners[(i + 1) % 4], va = value(a), vb = value(b);
    if (va <= 0) out.push(a);
    if (va <= 0 !== vb <= 0) {
      const f = va / (va - vb);
      out.push([a[0] + f * (b[0] - a[0]), a[1] + f * (b[1] - a[1])]);
    }
  });
  return out;
}

// method/keeps.js
var Keeps = class extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = Math.min(data.start, data.pieces.length - 1);
    const slider = this.slider(
      "step",
      { min: 0, max: data.pieces.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      }
    );
    this.player(slider, 260);
  }
  draw() {
    const { pieces, layers, entry } = this.data, n = pieces.length, t = this.step, shapes = [];
    const side = Math.min(21, (this.width - 66) / n), top = 4;
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        const name = i > t ? "empty" : i === t ? "cell" : "pale";
        shapes.push(
          rect(j * side + 0.5, top + i * side + 0.5, side - 2, side - 2, name, { rx: 2 })
        );
      }
      shapes.push(
        say(
          (i + 1) * side + 5,
          top + (i + 0.68) * side,
          cut(legible(pieces[i]), 12),
          i === t ? "strong" : i > t ? "small" : ""
        )
      );
    }
    const x = this.width, rows = t + 1, bytes = layers * rows * entry;
    shapes.push(say(x, 20, `step ${t} reads ${quoted(pieces[t])}`, "big", "end"));
    shapes.push(say(x, 40, `looks at ${many(rows, "entry", "entries")} a layer`, "ink", "end"));
    shapes.push(say(x, 58, `looks so far: ${rows * (rows + 1) / 2}`, "", "end"));
    shapes.push(say(x, 76, `cache: ${kib(bytes)}`, "held", "end"));
    this.show(
      top + n * side + 4,
      shapes,
      `Dense attention: at step ${t} every layer looks at all ${rows} tokens read so far; the cache takes ${kib(bytes)}.`
    );
    this.tell(
      `Row: the token that is read. Column: the token it may look at. The cache of this model: *${layers} layers × ${many(rows, "entry", "entries")} × ${kib(entry)} = ${kib(bytes)}*.`
    );
  }
};

// method/product.js
var Product = class extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    this.token = data.token;
    this.step = data.pieces.length - 1;
    this.slider(
      "soft at α",
      {
        min: 0,
        max: data.alphas.length - 1,
        step: 1,
        value: this.index,
        label: (i) => data.alphas[i].toFixed(1)
      },
      (v) => {
        this.index = v;
      }
    );
    const slider = this.slider(
      "step",
      { min: 1, max: data.pieces.length - 1, step: 1, value: this.step, label: String },
      (v) => {
        this.step = v;
      }
    );
    this.player(slider, 260);
    this.column = this.slider(
      "token j",
      {
        min: 0,
        max: data.pieces.length - 2,
        step: 1,
        value: this.token,
        label: (b) => quoted(data.pieces[b])
      },
      (b) => {
        this.token = b;
      }
    );
  }
  draw() {
    const { pieces, z, gates, soft, alphas } = this.data, n = pieces.length, j = this.token, t = this.step, shapes = [];
    const wide = this.width >= 460, gap = 22, side = wide ? (this.width - gap) / 2 : this.width, cell = Math.min(side, 330) / n, p = gates[this.index], product = soft[this.index];
    const panels = [
      [0, 20, `soft, α = ${alphas[this.index].toFixed(1)}`, (a, b) => product[a][b]],
      [
        wide ? side + gap : 0,
        wide ? 20 : 20 + cell * n + 32,
        "hard",
        (a, b) => this.hard(a, b) ? 1 : 0
      ]
    ];
    for (const [x, y2, title, value] of panels) {
      shapes.push(say(x, y2 - 7, `I[t, j], ${title}`, "strong"));
      for (let a = 0; a < n; a++) {
        for (let b = 0; b <= a; b++) {
          const v = value(a, b), name = a > t ? "empty" : "cell";
          shapes.push(
            rect(x + b * cell, y2 + a * cell, cell - 1, cell - 1, "empty", { "stroke-width": 0.5 })
          );
          if (a <= t && v > 0)
            shapes.push(
              rect(x + b * cell, y2 + a * cell, cell - 1, cell - 1, name, {
                opacity: (0.06 + 0.94 * v).toFixed(3)
              })
            );
        }
      }
      shapes.push(
        rect(x + j * cell - 1, y2 + j * cell - 1, cell + 1, (n - j) * cell + 1, "frame", { rx: 2 })
      );
      for (let b = 0; b < n - 1; b++) {
        const pick = rect(x + b * cell, y2 + b * cell, cell, (n - b) * cell, "pick", {
          "data-token": b
        });
        pick.addEventListener("click", () => this.column.move(b));
        pick.append(shape("title", {}, `${quoted(pieces[b])}, read at step ${b}`));
        shapes.push(pick);
      }
      shapes.push(
        say(x + Math.max(cell * n * 0.42, 60), y2 + 13, "columns: token j", "small"),
        say(x + Math.max(cell * n * 0.42, 60), y2 + 28, "rows: step t, downwards", "small")
      );
    }
    const y = panels[1][1] + cell * n + 34;
    const left = 48, step = (this.width - left - 4) / n, h = 66, at = (v) => y + h - v * h;
    shapes.push(
      say(0, y - 12, `gates of ${quoted(pieces[j])} (bars), their product (line)`, "strong")
    );
    for (const v of [0, 1])
      shapes.push(
        say(left - 8, at(v) + 4, String(v), "small", "end"),
        line(left, at(v), this.width, at(v), "axis")
      );
    shapes.push(say(0, y + h / 2 + 4, "soft", ""));
    for (let a = j + 1; a <= t; a++)
      shapes.push(rect(left + a * step + 1, at(p[a][j]), step - 2, p[a][j] * h, "pale"));
    const curve = [[left + j * step + step / 2, at(1)]];
    for (let a = j + 1; a <= t; a++) curve.push([left + (a + 0.5) * step, at(product[a][j])]);
    shapes.push(path(curve, "curve"));
    const hy = y + h + 12, box = Math.min(step - 2, 18);
    shapes.push(say(0, hy + box / 2 + 4, "hard"));
    for (let a = j + 1; a <= t; a++) {
      const x = left + (a + 0.5) * step - box / 2, open = z[a][j] > 0, alive = this.hard(a - 1, j);
      shapes.push(
        rect(x, hy, box, box, open ? alive ? "cell" : "late" : alive ? "shut" : "hole", {
          rx: 2
        })
      );
      if (!open)
        shapes.push(
          path(
            [
              [x + box * 0.25, hy + box * 0.25],
              [x + box * 0.75, hy + box * 0.75]
            ],
            "rule"
          ),
          path(
            [
              [x + box * 0.75, hy + box * 0.25],
              [x + box * 0.25, hy + box * 0.75]
            ],
            "rule"
          )
        );
    }
    for (let a = j; a < n; a++) {
      const mark = say(0, 0, cut(legible(pieces[a]), 9), a === t ? "strong small" : "small", "end");
      mark.setAttribute(
        "transform",
        `translate(${(left + (a + 0.5) * step + 3).toFixed(1)} ${hy + box + 12}) rotate(-52)`
      );
      shapes.push(mark);
    }
    const death = z.findIndex((row, a) => a > j && row[j] <= 0), gone = death >= 0 && death <= t;
    const later = gone ? z.filter((row, a) => a > death && a <= t && row[j] > 0).length : 0;
    this.show(
      hy + box + 64,
      shapes,
      `The product of gates over ${n} tokens of layer ${this.data.layer}, soft and hard. Chosen: ${quoted(pieces[j])}, ${gone ? `dropped at step ${death}` : `held at step ${t}`}.`
    );
    const say4 = gone ? `Its hard gate shuts at step ${death}, when *${quoted(pieces[death])}* is read (z = ${signed(z[death][j])}). ${later ? `${many(later, "later gate")} would keep it (hollow squares; a cross is a closed gate that finds nothing left to drop), but a product with a 0 in it stays 0.` : "Nothing after that can bring it back."}` : `No hard gate has shut up to step ${t}: every z is above 0.`;
    this.tell(
      `Chosen: *${quoted(pieces[j])}*, read at step ${j}. ${say4} Soft: I = *${product[t][j] === void 0 ? "–" : (j <= t ? product[t][j] : 0).toFixed(3)}* at step ${t}. Choose another column.`
    );
  }
  hard(a, b) {
    for (let n = b + 1; n <= a; n++) if (this.data.z[n][b] <= 0) return false;
    return true;
  }
};

// method/sigmoid.js
var Sigmoid = class extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    const slider = this.slider(
      "α",
      {
        min: 0,
        max: data.alphas.length - 1,
        step: 1,
        value: this.index,
        label: (i) => data.alphas[i].toFixed(1)
      },
      (v) => {
        this.index = v;
      }
    );
    this.player(slider, 70);
  }
  draw() {
    const { alphas, p, z, slope, progress } = this.data, i = this.index, alpha = alphas[i], shapes = [], reach = 3;
    const wide = this.width >= 520, left = 34, w = (wide ? this.width * 0.62 : this.width) - left - 6, h = 150;
    const edge = alpha > 1 ? Math.min(reach, 1 / (alpha - 1)) : reach, clipId = `clip-${i}`;
    const box = [left, 8, w, h], at = scales(box, [-reach, reach], [0, 1]), low = 8 + h + 46;
    const power = (v) => v > 0 ? Math.max(-5.4, Math.log2(v)) : -6, under = scales([left, low, w, h], [-reach, reach], [-6, 5.4]);
    shapes.push(
      shape("clipPath", { id: clipId }),
      rect(at.x(-edge), 8, at.x(edge) - at.x(-edge), low + h - 8, "wash")
    );
    shapes[0].append(rect(left, 0, w, low + h + 4, ""));
    const plot = shape("g", { "clip-path": `url(#${clipId})` });
    shapes.push(plot);
    for (const v of [0, 0.5, 1]) shapes.push(say(left - 7, at.y(v) + 4, String(v), "small", "end"));
    plot.append(
      line(left, at.y(0.5), left + w, at.y(0.5), "axis"),
      line(at.x(0), 8, at.x(0), low + h, "axis")
    );
    for (const v of [-6, -2, 0, 2, 5]) {
      plot.append(line(left, under.y(v), left + w, under.y(v), "axis"));
      shapes.push(
        say(
          left - 7,
          under.y(v) + 4,
          { "-6": "0", "-2": "¼", 0: "1", 2: "4", 5: "32" }[v],
          "small",
          "end"
        )
      );
    }
    for (const [index, name] of [...this.data.family.map((f) => [f, "faint"]), [i, "curve"]]) {
      const points = p.map((v, k) => [z[index][k], v, slope[index][k]]), last = alphas[index] > 1 ? 1 / (alphas[index] - 1) : 99;
      const ends = [[-99, 0, 0], ...points, [99, 1, 0]];
      const fall = (x) => alphas[index] > 1 && alphas[index] < 2 ? [[x, 0, 0]] : [];
      plot.append(
        path(
          (alphas[index] > 1.2 ? ends : points).map(([x, y2]) => [at.x(x), at.y(y2)]),
          name
        )
      );
      plot.append(
        path(
          [...fall(-last), ...points, ...fall(last)].map(([x, , s]) => [
            under.x(x),
            under.y(power(s))
          ]),
          name
        )
      );
      if (last < reach)
        for (const side of [-1, 1])
          plot.append(
            path(
              [
                [side * last, -6],
                [side * 99, -6]
              ].map(([x, y2]) => [under.x(x), under.y(y2)]),
              name
            )
          );
    }
    shapes.push(
      say(left + 6, 22, "gate p", "strong"),
      say(left + 6, low + 14, "slope dp/dz", "strong")
    );
    for (const v of [-3, -2, -1, 0, 1, 2, 3])
      shapes.push(
        say(at.x(v), 8 + h + 16, signed(v, 0), "small", "middle"),
        say(at.x(v), low + h + 16, signed(v, 0), "small", "middle")
      );
    shapes.push(say(left + w, 8 + h + 31, "gate logit z", "small", "end"));
    const sx = wide ? left + w + 52 : left, sy = wide ? 8 : low + h + 50, sw = this.width - sx - 10, on = scales([sx, sy, sw, h], [0, 1], [1, 8]);
    for (const v of [1, 2, 4, 6, 8])
      shapes.push(
        say(sx - 7, on.y(v) + 4, String(v), "small", "end"),
        line(sx, on.y(v), sx + sw, on.y(v), "axis")
      );
    shapes.push(
      path(
        progress.map((v, k) => [on.x(v), on.y(alphas[k])]),
        "faint"
      ),
      shape("circle", { cx: on.x(progress[i]), cy: on.y(alpha), r: 6, class: "dot" })
    );
    shapes.push(
      say(sx + 6, sy + 14, "α", "strong"),
      say(sx, sy + h + 16, "start", "small"),
      say(sx + sw, sy + h + 16, "end of training", "small", "end")
    );
    const facts = [
      ["α", alpha.toFixed(1)],
      ["live band", alpha > 1 ? `±${(1 / (alpha - 1)).toFixed(3)}` : "all z"],
      ["slope at z = 0", (2 ** (alpha - 3)).toPrecision(3)],
      ["training done", `${(100 * progress[i]).toFixed(0)} %`]
    ];
    let y = sy + h + 52;
    for (const [name, value] of facts) {
      shapes.push(say(sx, y, name), say(sx + sw, y, value, "strong", "end"));
      y += 20;
    }
    this.show(
      Math.max(low + h + 24, y - 8),
      shapes,
      `The α-sigmoid at α ${alpha.toFixed(1)}, its slope, and the schedule of α over training. The gate learns while its logit is ${alpha > 1 ? `within ${(1 / (alpha - 1)).toFixed(3)} of zero` : "anywhere"}.`
    );
    this.tell(
      alpha > 1 ? `At *α = ${alpha.toFixed(1)}* a gate with |z| ≥ *${(1 / (alpha - 1)).toFixed(3)}* is exactly 0 or 1 and no gradient reaches it. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.` : `At *α = 1* the gate is the logistic function: never quite shut, and every logit has a gradient. Grey: α = ${this.data.family.map((f) => alphas[f]).join(", ")}.`
    );
  }
};

// method/main.js
var KINDS = { keeps: Keeps, gate: Gate, sigmoid: Sigmoid, product: Product, cache: Cache };
var made = /* @__PURE__ */ new WeakMap();
function dark(parent) {
  const value = getComputedStyle(parent.host || parent).getPropertyValue("--st-background-color").trim();
  const m = value.match(/^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i);
  return Boolean(m) && m.slice(1).reduce((sum, part) => sum + parseInt(part, 16), 0) < 384;
}
function component({ parentElement, data }) {
  let picture = made.get(parentElement);
  if (!picture?.box.isConnected) {
    picture = new KINDS[data.picture](parentElement, data);
    made.set(parentElement, picture);
  }
  picture.box.dataset.theme = dark(parentElement) ? "dark" : "light";
  picture.fit();
}
export {
  component as default
};
