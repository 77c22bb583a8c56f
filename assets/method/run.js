// The two pictures that draw a recorded run, and the component itself. Needs draw.js before it.

/** 4. Gates multiply: soft and hard I[t, j] side by side, and one token's gates step by step. */
class Product extends Picture {
  constructor(root, data) {
    super(root, data);
    this.index = data.start;
    this.token = data.token;
    this.step = data.pieces.length - 1;
    this.slider("soft at α", { min: 0, max: data.alphas.length - 1, step: 1, value: this.index, label: (i) => data.alphas[i].toFixed(1) }, (v) => { this.index = v; });
    const slider = this.slider("step", { min: 1, max: data.pieces.length - 1, step: 1, value: this.step, label: String }, (v) => { this.step = v; });
    this.player(slider, 260);
  }

  draw() {
    const { pieces, z, gates, soft, alphas } = this.data, n = pieces.length, j = this.token, t = this.step, shapes = [];
    const wide = this.width >= 460, gap = 22, side = wide ? (this.width - gap) / 2 : this.width, cell = Math.min(side, 330) / n, p = gates[this.index], product = soft[this.index];
    const panels = [[0, 20, `soft, α = ${alphas[this.index].toFixed(1)}`, (a, b) => product[a][b]], [wide ? side + gap : 0, wide ? 20 : 20 + cell * n + 32, "hard", (a, b) => (this.hard(a, b) ? 1 : 0)]];
    for (const [x, y, title, value] of panels) {
      shapes.push(say(x, y - 7, `I[t, j], ${title}`, "strong"));
      for (let a = 0; a < n; a++) {
        for (let b = 0; b <= a; b++) {
          const v = value(a, b), name = a > t ? "empty" : "cell";
          shapes.push(rect(x + b * cell, y + a * cell, cell - 1, cell - 1, "empty", { "stroke-width": 0.5 }));
          if (a <= t && v > 0) shapes.push(rect(x + b * cell, y + a * cell, cell - 1, cell - 1, name, { opacity: (0.06 + 0.94 * v).toFixed(3) }));
        }
      }
      shapes.push(rect(x + j * cell - 1, y + j * cell - 1, cell + 1, (n - j) * cell + 1, "frame", { rx: 2 }));
      for (let b = 0; b < n - 1; b++) {
        const pick = rect(x + b * cell, y + b * cell, cell, (n - b) * cell, "pick", { "data-token": b });
        pick.addEventListener("click", () => { this.token = b; this.draw(); });
        pick.append(shape("title", {}, `${quoted(pieces[b])}, read at step ${b}`));
        shapes.push(pick);
      }
      shapes.push(say(x + Math.max(cell * n * 0.42, 60), y + 13, "columns: token j", "small"), say(x + Math.max(cell * n * 0.42, 60), y + 28, "rows: step t, downwards", "small"));
    }
    let y = panels[1][1] + cell * n + 34;
    const left = 48, step = (this.width - left - 4) / n, h = 66, at = (v) => y + h - v * h;
    shapes.push(say(0, y - 12, `gates of ${quoted(pieces[j])} (bars), their product (line)`, "strong"));
    for (const v of [0, 1]) shapes.push(say(left - 8, at(v) + 4, String(v), "small", "end"), line(left, at(v), this.width, at(v), "axis"));
    shapes.push(say(0, y + h / 2 + 4, "soft", ""));
    for (let a = j + 1; a <= t; a++) shapes.push(rect(left + a * step + 1, at(p[a][j]), step - 2, p[a][j] * h, "pale"));
    const curve = [[left + j * step + step / 2, at(1)]];
    for (let a = j + 1; a <= t; a++) curve.push([left + (a + 0.5) * step, at(product[a][j])]);
    shapes.push(path(curve, "curve"));
    const hy = y + h + 12, box = Math.min(step - 2, 18);
    shapes.push(say(0, hy + box / 2 + 4, "hard"));
    for (let a = j + 1; a <= t; a++) {
      const x = left + (a + 0.5) * step - box / 2, open = z[a][j] > 0, alive = this.hard(a - 1, j);
      shapes.push(rect(x, hy, box, box, open ? (alive ? "cell" : "late") : alive ? "shut" : "hole", { rx: 2 }));
      if (!open) shapes.push(path([[x + box * 0.25, hy + box * 0.25], [x + box * 0.75, hy + box * 0.75]], "rule"), path([[x + box * 0.75, hy + box * 0.25], [x + box * 0.25, hy + box * 0.75]], "rule"));
    }
    for (let a = j; a < n; a++) {
      const mark = say(0, 0, cut(named(pieces[a]), 9), a === t ? "strong small" : "small", "end");
      mark.setAttribute("transform", `translate(${(left + (a + 0.5) * step + 3).toFixed(1)} ${hy + box + 12}) rotate(-52)`);
      shapes.push(mark);
    }
    const death = z.findIndex((row, a) => a > j && row[j] <= 0), gone = death >= 0 && death <= t;
    const later = gone ? z.filter((row, a) => a > death && a <= t && row[j] > 0).length : 0;
    this.show(hy + box + 64, shapes, `The product of gates over ${n} tokens of layer ${this.data.layer}, soft and hard. Chosen: ${quoted(pieces[j])}, ${gone ? `dropped at step ${death}` : `held at step ${t}`}.`);
    const say4 = gone ? `Its hard gate shuts at step ${death}, when *${quoted(pieces[death])}* is read (z = ${signed(z[death][j])}). ${later ? `${many(later, "later gate")} would keep it (hollow squares; a cross is a closed gate that finds nothing left to drop), but a product with a 0 in it stays 0.` : "Nothing after that can bring it back."}` : `No hard gate has shut up to step ${t}: every z is above 0.`;
    this.tell(`Chosen: *${quoted(pieces[j])}*, read at step ${j}. ${say4} Soft: I = *${product[t][j] === undefined ? "–" : (j <= t ? product[t][j] : 0).toFixed(3)}* at step ${t}. Choose another column.`);
  }

  hard(a, b) {
    for (let n = b + 1; n <= a; n++) if (this.data.z[n][b] <= 0) return false;
    return true;
  }
}

/** 5. The rows of one layer's cache as tokens come and go. */
class Cache extends Picture {
  constructor(root, data) {
    super(root, data);
    this.step = data.start;
    const slider = this.slider("step", { min: 0, max: data.steps.length - 1, step: 1, value: this.step, label: String }, (v) => { this.step = v; });
    this.player(slider, 330);
  }

  draw() {
    const { pieces, steps, entry, row_bytes, layer, most } = this.data, t = this.step, now = steps[t], shapes = [];
    const columns = Math.max(3, Math.floor(this.width / 76)), w = this.width / columns, h = 24, height = Math.ceil(most / columns) * h, moved = new Map(now.moves.map(([a, b]) => [b, a]));
    const left = (row) => (row % columns) * w, top = (row) => 18 + Math.floor(row / columns) * h;
    shapes.push(say(0, 10, `layer ${layer}: the rows of its cache, row 0 first`, "strong"));
    for (let row = 0; row < now.capacity; row++) {
      const token = now.rows[row], x = left(row) + 1, y = top(row) + 1;
      if (token === undefined) { shapes.push(rect(x, y, w - 3, h - 3, "hole", { rx: 3 })); continue; }
      shapes.push(rect(x, y, w - 3, h - 3, "row", { rx: 3 }));
      shapes.push(say(x + 5, y + 15, cut(named(pieces[token]), Math.floor((w - 12) / 6.6)), row === now.written ? "strong" : "ink"));
      if (row === now.written) shapes.push(rect(x, y, w - 3, h - 3, "new", { rx: 3 }));
      else if (moved.has(row)) shapes.push(rect(x, y, w - 3, h - 3, "moved", { rx: 3 }));
    }
    const y = 18 + height + 30, ph = 96, pl = 56, pw = this.width - pl - 8, top_bytes = steps.length * entry, at = scales([pl, y, pw, ph], [0, steps.length - 1], [0, Math.max(top_bytes, most * row_bytes)]);
    shapes.push(say(0, y - 11, "memory of this layer", "strong"));
    for (const v of [0, 0.5, 1]) shapes.push(say(pl - 7, at.y(v * top_bytes) + 4, kib(Math.round(v * top_bytes)), "small", "end"), line(pl, at.y(v * top_bytes), pl + pw, at.y(v * top_bytes), "axis"));
    shapes.push(path(steps.map((s, i) => [at.x(i), at.y((i + 1) * entry)]), "dense"));
    const stairs = steps.flatMap((s, i) => [[at.x(Math.max(0, i - 0.5)), at.y(s.capacity * row_bytes)], [at.x(Math.min(steps.length - 1, i + 0.5)), at.y(s.capacity * row_bytes)]]);
    shapes.push(path(stairs, "faint"), path(steps.map((s, i) => [at.x(i), at.y(s.rows.length * entry)]), "curve"));
    shapes.push(line(at.x(t), y, at.x(t), y + ph, "rule"), shape("circle", { cx: at.x(t), cy: at.y(now.rows.length * entry), r: 5, class: "dot" }));
    shapes.push(say(pl, y + ph + 16, "step 0", "small"), say(pl + pw, y + ph + 16, `step ${steps.length - 1}`, "small", "end"));
    const live = now.rows.length * entry, held = now.capacity * row_bytes, dense = (t + 1) * entry, third = this.width / 3;
    [["live (line)", kib(live), "held"], ["held (grey)", kib(held), "ink"], ["dense (dashed)", kib(dense), "ink"]].forEach(([name, value, kind], i) => {
      shapes.push(say(i * third, y + ph + 40, name), say(i * third, y + ph + 58, value, `big ${kind}`));
    });
    const gone = now.dropped.length, first = now.dropped[0];
    this.show(y + ph + 66, shapes, `Layer ${layer} at step ${t}: ${now.rows.length} rows in use of ${now.capacity}. Live ${kib(live)}, held ${kib(held)}, dense ${kib(dense)}.`);
    const act = gone
      ? `It drops *${gone === 1 ? quoted(pieces[first[0]]) : `${gone} tokens`}*: ${quoted(pieces[t])} overwrites the row of ${quoted(pieces[first[0]])} (orange)${now.moves.length ? `, and ${many(now.moves.length, "last row moves into a hole", "last rows move into holes")} (dashed)` : ""}.`
      : `It drops nothing: ${quoted(pieces[t])} is appended as row ${now.written} (orange).`;
    this.tell(`Step ${t} reads *${quoted(pieces[t])}*. ${act} ${many(now.rows.length, "row")} in use of ${t + 1} tokens read.`);
  }
}

// ---------------------------------------------------------------- the component

const KINDS = { keeps: Keeps, gate: Gate, sigmoid: Sigmoid, product: Product, cache: Cache };
const made = new WeakMap();

function dark(parent) {
  const value = getComputedStyle(parent.host || parent).getPropertyValue("--st-background-color").trim();
  const m = value.match(/^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i);
  return Boolean(m) && m.slice(1).reduce((sum, part) => sum + parseInt(part, 16), 0) < 384;
}

/** Streamlit component: made once; later calls only follow the theme. */
export default function component({ parentElement, data }) {
  let picture = made.get(parentElement);
  if (!picture || !picture.box.isConnected) {
    picture = new KINDS[data.picture](parentElement, data);
    made.set(parentElement, picture);
  }
  picture.box.dataset.theme = dark(parentElement) ? "dark" : "light";
  picture.fit();
}
