// The linked view: running text, layer x token heatmap, lifelines and memory on one shared axis.
//
// One plain ES module, used as it is by the Streamlit component (default export) and by the static
// HTML (named export `mount`). It knows the payload of dcp/viewer/payload.py and nothing else: no
// network, no storage. Text is only ever set through textContent. Typed arrays throughout, one redraw
// per animation frame, everything that does not depend on the step is kept in offscreen buffers.

const ALIVE = 2147483647;
const DEFINITIONS = {
  dropped: "Share of the tokens read so far that can no longer be attended to, averaged over layers; the range is from the most retentive layer to the most forgetful.",
  memory: "Live: rows of keys, values and gate keys visible at this step. Held: memory kept for them at the latest step. Dense: what a model that forgets nothing needs for the same tokens.",
  speed: "Generated tokens per second: over the last second or so, and the mean over the run.",
  first: "From beginning to read your text to the first new token, with the model already loaded; and the resident memory of the whole server process.",
};

// ---------------------------------------------------------------- data

function array(base64, Type) {
  const raw = atob(base64 || "");
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Type(bytes.buffer);
}

/** Payload -> typed arrays and the indexes every panel reads. */
export function unpack(p) {
  const T = p.tokens, L = p.layers, Q = p.queries;
  const run = {
    id: p.id, T, L, Q, prompt: p.prompt, text: p.text, running: !!p.running, memory: p.memory || {},
    speed: p.speed || {}, label: p.label || "", nearTie: p.near_tie, names: p.names || {}, groupNames: p.group_names, domain: Math.max(T, p.planned || 0),
    spans: array(p.spans, Int32Array), death: array(p.death, Int32Array), margin: array(p.margin, Float32Array),
    logprob: array(p.logprob, Float32Array), posLabels: p.pos_labels, posGroup: p.pos_group,
    words: array(p.words, Int32Array), wordPos: array(p.word_pos, Uint8Array),
  };
  run.wordOf = new Int32Array(T).fill(-1);
  for (let w = 0; w < run.wordPos.length; w++) {
    for (let j = run.words[4 * w + 2]; j <= run.words[4 * w + 3]; j++) if (run.wordOf[j] < 0) run.wordOf[j] = w;
  }
  // Group 5 means "not tagged": whitespace, or a word the tagger has not seen yet.
  run.group = new Uint8Array(T);
  for (let j = 0; j < T; j++) run.group[j] = run.wordOf[j] < 0 ? 5 : run.posGroup[run.wordPos[run.wordOf[j]]];
  // Drops by (layer, step): order[first[l*(Q+1)+t] .. first[l*(Q+1)+t+1]] are the tokens dropped then.
  run.first = new Int32Array(L * (Q + 1) + 1);
  run.order = new Int32Array(L * T);
  for (let l = 0, at = 0; l < L; l++) {
    const count = new Int32Array(Q + 1);
    for (let j = 0; j < T; j++) count[Math.min(Q, run.death[l * T + j])]++;
    for (let t = 0; t <= Q; t++) { run.first[l * (Q + 1) + t] = at; const n = count[t]; count[t] = at; at += n; }
    for (let j = 0; j < T; j++) run.order[count[Math.min(Q, run.death[l * T + j])]++] = j;
  }
  run.units = cut(run);
  const U = run.units.length;
  run.unitDeath = new Int32Array(L * U);
  for (let l = 0; l < L; l++) {
    for (let u = 0; u < U; u++) {
      let last = 0;
      for (const part of run.units[u].parts) for (let j = part.first; j <= part.last; j++) last = Math.max(last, run.death[l * T + j]);
      run.unitDeath[l * U + u] = last;
    }
  }
  return run;
}

/** The text as struck units: tagged words where there are any, runs of non-space elsewhere. */
function cut(run) {
  const { text, spans, T, words, wordPos } = run, units = [];
  let at = 0, token = 0, gap = 0;
  const unit = (start, end) => {
    while (token < T - 1 && spans[2 * token + 1] <= start) token++;
    const parts = [];
    for (let j = token; j < T && spans[2 * j] < end;) {
      let k = j;
      while (k + 1 < T && spans[2 * k + 2] === spans[2 * j] && spans[2 * k + 3] === spans[2 * j + 1]) k++;
      const a = Math.max(start, spans[2 * j]), b = Math.min(end, spans[2 * j + 1]);
      if (b > a) parts.push({ start: a, end: b, first: j, last: k });
      j = k + 1;
    }
    if (!parts.length) return;
    units.push({ gap, start, end, parts, key: `${gap},${start},${end},${parts.map((q) => q.first + "-" + q.last)}` });
    gap = end;
  };
  const loose = (start, end) => {
    const runs = /\S+/gu;
    const piece = text.slice(start, end);
    for (let m = runs.exec(piece); m; m = runs.exec(piece)) unit(start + m.index, start + m.index + m[0].length);
  };
  for (let w = 0; w < wordPos.length; w++) {
    if (words[4 * w] < at) continue;
    loose(at, words[4 * w]);
    unit(words[4 * w], words[4 * w + 1]);
    at = words[4 * w + 1];
  }
  loose(at, text.length);
  return units;
}

/** Entries held per layer and step, counting only tokens that the filter lets through. */
function count(run, mask) {
  const { L, T, Q, death } = run, held = new Int32Array(L * Q), total = new Int32Array(Q), read = new Int32Array(Q);
  for (let l = 0; l < L; l++) {
    const diff = new Int32Array(Q + 1);
    for (let j = 0; j < T && j < Q; j++) {
      if (!mask[j]) continue;
      diff[j]++; diff[Math.min(Q, death[l * T + j])]--;
    }
    for (let t = 0, n = 0; t < Q; t++) { n += diff[t]; held[l * Q + t] = n; total[t] += n; }
  }
  for (let t = 0, n = 0; t < Q; t++) { n += mask[t]; read[t] = n; }
  return { held, total, read };
}

/** Per layer, the sorted gate logits of dropped and of held tokens: margins compare within a layer only. */
function ranks(run) {
  const { L, T, death, margin } = run, dropped = [], kept = [];
  const close = new Uint8Array(L * T);
  for (let l = 0; l < L; l++) {
    const row = Array.from({ length: T }, (_, j) => j).filter((j) => margin[l * T + j] === margin[l * T + j]);
    row.sort((a, b) => margin[l * T + a] - margin[l * T + b]);
    const [gone, alive] = [row.filter((j) => death[l * T + j] !== ALIVE), row.filter((j) => death[l * T + j] === ALIVE)];
    // What is dropped later is nearest of all; the rest is ranked by how near its gate came.
    for (const j of gone) close[l * T + j] = 255;
    alive.forEach((j, i) => { close[l * T + j] = Math.round(220 * (1 - i / Math.max(1, alive.length - 1))); });
    dropped.push(Float32Array.from(gone, (j) => margin[l * T + j]));
    kept.push(Float32Array.from(alive, (j) => margin[l * T + j]));
  }
  return { dropped, kept, close };
}

function below(sorted, value) {
  let lo = 0, hi = sorted.length;
  while (lo < hi) { const mid = (lo + hi) >> 1; if (sorted[mid] < value) lo = mid + 1; else hi = mid; }
  return lo;
}

// ---------------------------------------------------------------- small tools

const clamp = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
const percent = (v) => `${(100 * v).toFixed(0)}\u00a0%`;

function bytes(n) {
  if (!(n >= 0)) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < 3) { n /= 1024; i++; }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}

function node(tag, className, ...children) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  for (const c of children) e.append(c);
  return e;
}

function button(label, className, act) {
  const e = node("button", className, label);
  e.type = "button";
  e.onclick = act;
  return e;
}

const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const pack = ([r, g, b], a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const between = (a, b, f) => a.map((v, i) => Math.round(v + (b[i] - v) * f));
const ramp = (a, b) => Uint32Array.from({ length: 256 }, (_, i) => pack(between(a, b, i / 255)));
const tint = (colour, alpha) => ((colour & 0xffffff) | (Math.round(alpha * 255) << 24)) >>> 0;

// Control characters would reorder or hide what a sentence says; a token's own name is always legible.
function legible(s) {
  const shown = s.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "�");
  return shown.trim() || (shown ? "␣" : "·");
}

function buffer() {
  const canvas = document.createElement("canvas");
  return { canvas, ctx: canvas.getContext("2d"), image: null, pixels: null };
}

function size(b, w, h) {
  w = Math.max(1, w); h = Math.max(1, h);
  if (!b.image || b.image.width !== w || b.image.height !== h) {
    b.canvas.width = w; b.canvas.height = h;
    b.image = b.ctx.createImageData(w, h);
    b.pixels = new Uint32Array(b.image.data.buffer);
  } else b.pixels.fill(0);
  return b.pixels;
}

// ---------------------------------------------------------------- the view

// The state of the last few runs looked at: a view that the page takes away and puts back, or a run
// that is left and opened again, is as it was.
const remembered = new Map();

export class View {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.state = { step: 0, layer: -1, token: -1, text: "share", colour: "state", life: "lives", groups: 0, follow: true };
    this.view = null;
    this.hover = null;
    this.frame = 0;
    this.playing = 0;
    this.run = null;
    this.buffers = { heat: buffer(), bars: buffer(), marks: buffer(), memory: buffer(), pos: buffer() };
    this.build();
    this.resize = new ResizeObserver(() => { this.box.toggleAttribute("data-narrow", this.box.clientWidth < 640); this.tops = null; this.stale = true; this.draw(); });
    this.resize.observe(this.box);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.theme(this.options.theme);
    this.dark.addEventListener("change", this.onTheme);
    this.theme(options.theme);
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    this.resize.disconnect();
    this.dark.removeEventListener("change", this.onTheme);
    this.box.remove();
  }

  theme(name) {
    this.options.theme = name;
    const dark = name === "dark" || (name !== "light" && this.dark.matches);
    this.box.dataset.theme = dark ? "dark" : "light";
    const style = getComputedStyle(this.box), css = {};
    for (const k of ["ink", "soft", "line", "paper", "panel", "drop", "by", "gone", "held", "held-soft", "young", "old", "safe", "close", "sel", "ghost", "p0", "p1", "p2", "p3", "p4", "p5"]) css[k] = style.getPropertyValue(`--${k}`).trim();
    const rgb = Object.fromEntries(Object.entries(css).map(([k, v]) => [k, parse(v)]));
    this.css = css;
    this.colour = {
      held: pack(rgb.held), drop: pack(rgb.drop), gone: pack(rgb.gone), age: ramp(rgb.young, rgb.old), close: ramp(rgb.safe, rgb.close),
      groups: [0, 1, 2, 3, 4, 5].map((g) => pack(rgb[`p${g}`])),
      strata: [pack(between(rgb["held-soft"], rgb.paper, 0.2)), pack(between(rgb["held-soft"], rgb.paper, 0.42))],
    };
    this.sans = style.fontFamily;
    this.stale = true;
    this.legend();
    this.draw();
  }

  // ---- structure

  build() {
    this.box = node("section", "dcp");
    this.box.setAttribute("aria-label", "What each layer can still attend to");
    if (this.options.title) this.box.append(node("h2", "", this.options.title), node("p", "lede", "Every layer keeps its own context. A dropped token is out of reach of every later token in that layer."));
    this.summary = node("p", "sr");
    this.tiles = node("div", "tiles");
    this.tile = Object.fromEntries(["dropped", "memory", "speed", "first"].map((k) => [k, this.makeTile(k)]));
    this.textBox = node("div", "text");
    this.textBox.setAttribute("role", "region");
    this.textBox.setAttribute("aria-label", "The running text; struck words are dropped");
    this.textBox.tabIndex = 0;
    this.story = node("div", "story");
    this.story.setAttribute("role", "status");
    this.keys = node("div", "keys");
    this.chips = node("div", "keys chips");
    this.chips.setAttribute("role", "group");
    this.chips.setAttribute("aria-label", "Filter by part of speech");
    this.chip = [0, 1, 2, 3, 4].map((g) => {
      const b = button("", "chip", () => { this.state.groups ^= 1 << g; this.refilter(); });
      const dot = node("i");
      dot.style.background = `var(--p${g})`;
      const name = node("span");
      b.append(dot, name);
      this.chips.append(b);
      return { b, name };
    });
    this.segments = {};
    const tools = node("div", "tools",
      this.segment("text", "text follows", [["share", "all layers"], ["layer", "this layer"]]),
      this.segment("colour", "colour", [["state", "state"], ["age", "age"], ["close", "closeness"]]),
      this.segment("life", "lifelines", [["lives", "lives"], ["age", "age"]]));
    this.newest = button("newest ⇥", "newest", () => { this.state.follow = true; this.go(this.run.Q - 1, true); });
    this.newest.hidden = true;
    tools.append(this.newest);
    this.canvas = node("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.ctx = this.canvas.getContext("2d");
    this.playButton = button("", "play", () => this.play());
    this.playIcon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.playIcon.setAttribute("viewBox", "0 0 10 10");
    this.playPath = document.createElementNS("http://www.w3.org/2000/svg", "path");
    this.playIcon.append(this.playPath);
    this.playLabel = node("span");
    this.playButton.append(this.playIcon, this.playLabel);
    this.scrub = node("div", "scrub");
    this.scrub.tabIndex = 0;
    this.scrub.setAttribute("role", "slider");
    this.scrub.setAttribute("aria-label", "Step: how many tokens have been read");
    this.grip = node("div", "grip");
    this.scrub.append(this.grip);
    this.tip = node("div", "tip");
    this.tip.hidden = true;
    this.stage = node("div", "stage", this.canvas, this.playButton, this.scrub, this.tip);
    this.label = node("span");
    const hints = node("span", "hints");
    for (const [key, does] of [["← →", "step"], ["↑ ↓", "layer"], ["space", "play"], ["enter", "pick token"], ["+ −", "zoom"], ["esc", "clear"]]) hints.append(node("kbd", "", key), ` ${does}  `);
    this.box.append(this.summary, this.tiles, this.textBox, this.story, this.keys, node("div", "bar", tools, this.chips), this.stage, node("div", "foot", this.label, hints));
    this.root.append(this.box);
    this.listen();
    this.showPlay();
  }

  makeTile(key) {
    const value = node("b"), note = node("span"), meter = node("div", "meter"), under = node("i", "under"), over = node("i");
    const what = button("?", "what", null), def = node("span", "def", DEFINITIONS[key]);
    what.setAttribute("aria-label", `What this counter means: ${DEFINITIONS[key]}`);
    const box = node("div", "tile", value, note);
    if (key === "dropped" || key === "memory") { meter.append(under, over); box.append(meter); }
    box.append(what, def);
    this.tiles.append(box);
    return { box, value, note, over, under };
  }

  segment(key, name, choices) {
    const seg = node("div", "seg", node("span", "", name));
    seg.setAttribute("role", "group");
    seg.setAttribute("aria-label", name);
    this.segments[key] = choices.map(([value, label]) => {
      const b = button(label, "", () => { this.state[key] = value; this.stale = true; this.legend(); this.draw(); });
      b.dataset.value = value;
      seg.append(b);
      return b;
    });
    return seg;
  }

  legend() {
    if (!this.keys) return;
    for (const [key, buttons] of Object.entries(this.segments)) for (const b of buttons) b.setAttribute("aria-pressed", b.dataset.value === this.state[key]);
    this.chip.forEach(({ b, name }, g) => {
      b.setAttribute("aria-pressed", !!(this.state.groups & (1 << g)));
      if (this.run) name.textContent = this.run.groupNames[g];
    });
    const item = (kind, background, label) => {
      const i = node("i", kind);
      i.style.background = background;
      if (kind === "edge") i.style.borderColor = background;
      return node("span", "", i, label);
    };
    const scale = {
      state: [item("", "var(--held)", "held")],
      age: [item("ramp", "linear-gradient(90deg, var(--young), var(--old))", "held: newest to oldest")],
      close: [item("ramp", "linear-gradient(90deg, var(--safe), var(--close))", "held: far from to near a drop (smallest gate logit, ranked in its layer; deepest: dropped later)")],
    }[this.state.colour];
    this.keys.replaceChildren(...scale, item("", "var(--drop)", "dropped at this step"), item("thin", "var(--gone)", "dropped earlier"), item("edge", "var(--by)", "read when the chosen one was dropped"));
  }

  // ---- data in

  update(payload) {
    const fresh = !this.run || this.run.id !== payload.id;
    // Each run has a state object of its own, so that one that is left keeps what it had.
    if (fresh) this.state = { ...this.state };
    const wasRunning = this.run && this.run.running;
    this.run = unpack(payload);
    const { run, state } = this;
    if (fresh) {
      Object.assign(state, { token: -1, follow: run.running, groups: 0, placed: null });
      state.step = run.running ? 0 : run.Q - 1;
      if (state.layer < 0 || state.layer >= run.L) state.layer = Math.min(run.L - 1, Math.floor(run.L / 2));
      Object.assign(state, remembered.get(run.id));
      remembered.set(run.id, state);
      if (remembered.size > 8) remembered.delete(remembered.keys().next().value);
      this.view = null;
      this.stop();
    }
    state.step = clamp(state.step, 0, Math.max(0, run.Q - 1));
    if (!run.running && wasRunning && state.follow) state.step = run.Q - 1;
    this.rank = null;
    this.layText(fresh);
    this.recount();
    this.legend();
    this.say();
    if (fresh || run.running || wasRunning) this.reported = this.where();
    this.place(payload.at);
    this.stale = true;
    this.draw();
  }

  /** Go where the page asks; a place already followed is not asked for again. */
  place(at) {
    const { run, state } = this;
    if (!at || at.n === state.placed || run.running) return;
    state.placed = at.n;
    if (at.layer >= 0 && at.layer < run.L) state.layer = at.layer;
    if (at.token !== undefined) state.token = at.token >= 0 && at.token < run.T ? at.token : -1;
    if (at.step >= 0 && at.step < run.Q) this.go(at.step);
    this.told = "";
    this.reported = this.where();
  }

  where() {
    const { layer, step, token } = this.state;
    return JSON.stringify({ layer, step, token: token < 0 ? null : token });
  }

  /** Tell the page where we are, a moment after the hand has rested; never while the film runs. */
  settle() {
    clearTimeout(this.resting);
    if (this.playing || this.dragging || !this.options.report) return;
    this.resting = setTimeout(() => {
      const here = this.where();
      if (this.playing || this.dragging || this.run.running || here === this.reported) return;
      this.reported = here;
      this.options.report(JSON.parse(here));
    }, 300);
  }

  say() {
    const { run } = this, n = run.Q - 1;
    let held = 0;
    for (let l = 0; l < run.L; l++) for (let j = 0; j < run.Q; j++) held += run.death[l * run.T + j] === ALIVE;
    this.summary.textContent = run.Q ? `${run.T} tokens, ${run.prompt} of them written by you, ${run.L} layers. At the last step, ${n}, the layers together hold ${held} of ${run.L * run.Q} entries.` : "Nothing has been read yet.";
    this.label.textContent = run.label;
  }

  mask() {
    const { run, state } = this;
    return state.groups ? run.group.map((g) => (state.groups >> g) & 1) : new Uint8Array(run.T).fill(1);
  }

  recount() {
    this.shown = this.mask();
    this.counts = count(this.run, this.shown);
    this.whole = this.state.groups ? count(this.run, new Uint8Array(this.run.T).fill(1)) : this.counts;
  }

  refilter() {
    this.recount();
    this.stale = true;
    this.legend();
    this.draw();
  }

  /** Build the text, keeping every unit that did not change. */
  layText(fresh) {
    const { run } = this;
    if (fresh || !this.laid) { this.textBox.replaceChildren(); this.laid = []; this.seam = null; this.tail = null; }
    let same = 0;
    while (same < this.laid.length && same < run.units.length && this.laid[same].key === run.units[same].key) same++;
    for (const old of this.laid.splice(same)) { old.space.remove(); old.el.remove(); }
    if (this.tail) this.tail.remove();
    if (this.seam && !this.laid.some((x) => x.seam)) { this.seam.remove(); this.seam = null; }
    for (let u = same; u < run.units.length; u++) {
      const unit = run.units[u], el = node("span", "u"), space = document.createTextNode(run.text.slice(unit.gap, unit.start));
      const made = { key: unit.key, space, el, code: -1, seam: false, parts: null };
      if (unit.parts.length === 1) { el.textContent = run.text.slice(unit.start, unit.end); el.dataset.t = unit.parts[0].first; } else {
        made.parts = unit.parts.map((q) => {
          const s = node("span", "", run.text.slice(q.start, q.end));
          s.dataset.t = q.first;
          el.append(s);
          return { el: s, code: -1 };
        });
      }
      this.textBox.append(space);
      if (!this.seam && run.prompt > 0 && run.prompt < run.T && unit.parts[0].first >= run.prompt) {
        this.seam = node("span", "seam", "the model wrote");
        this.seam.setAttribute("aria-hidden", "true");
        this.textBox.append(this.seam);
        made.seam = true;
      }
      this.textBox.append(el);
      this.laid.push(made);
    }
    const end = run.units.length ? run.units[run.units.length - 1].end : 0;
    this.tops = null;
    this.tail = document.createTextNode(run.text.slice(end));
    this.textBox.append(this.tail);
    this.textBox.classList.toggle("long", run.units.length > 900);
    // While text streams in, room for all of it is kept, so that nothing below moves.
    const perLine = Math.max(20, this.textBox.clientWidth / 7.9);
    const lines = Math.ceil((run.text.length * run.domain) / Math.max(1, run.T) / perLine + 0.7);
    if (run.running) this.textBox.style.minHeight = `${Math.min(352, 28 + 29.75 * lines)}px`;
    else if (fresh) this.textBox.style.minHeight = "";
  }

  // ---- moving

  go(step, keepFollow = false) {
    const last = this.run.Q - 1;
    this.state.step = clamp(step, 0, Math.max(0, last));
    if (!keepFollow) this.state.follow = this.run.running && this.state.step === last;
    const v = this.window();
    if (this.view && (this.state.step < v[0] || this.state.step >= v[1] - 1)) this.zoom(1, this.state.step);
    this.draw();
  }

  window() { return this.view || [0, this.run.domain]; }

  zoom(factor, centre) {
    const [a, b] = this.window(), D = this.run.domain, span = clamp((b - a) / factor, Math.min(D, 16), D);
    if (span >= D) this.view = null;
    else {
      const at = centre === undefined ? this.state.step : centre, f = factor === 1 ? 0.5 : clamp((at - a) / (b - a), 0, 1);
      const start = clamp(at - f * span, 0, D - span);
      this.view = [start, start + span];
    }
    this.stale = true;
    this.draw();
  }

  pan(tokens) {
    if (!this.view) return;
    const [a, b] = this.view, start = clamp(a + tokens, 0, this.run.domain - (b - a));
    this.view = [start, start + b - a];
    this.stale = true;
    this.draw();
  }

  play() {
    if (this.playing) { this.stop(); return; }
    if (this.state.step >= this.run.Q - 1) this.go(0, true);
    this.state.follow = false;
    this.playing = performance.now();
    this.playFrom = this.state.step;
    this.showPlay();
    this.draw();
  }

  stop() { this.playing = 0; this.showPlay(); this.settle(); }

  showPlay() {
    const on = !!this.playing;
    this.playPath.setAttribute("d", on ? "M1 0h3v10H1zM6 0h3v10H6z" : "M1.5 0 9.5 5 1.5 10z");
    this.playLabel.textContent = on ? "Pause" : "Play";
    this.playButton.setAttribute("aria-label", on ? "Pause" : "Play the run step by step");
    this.story.setAttribute("aria-live", on || (this.run && this.run.running) ? "off" : "polite");
  }

  pick(token) {
    this.state.token = token === this.state.token ? -1 : token;
    this.draw();
  }

  key(event) {
    const { state, run } = this, big = event.shiftKey ? 10 : 1;
    const act = {
      ArrowLeft: () => this.go(state.step - big), ArrowRight: () => this.go(state.step + big), Home: () => this.go(0), End: () => this.go(run.Q - 1),
      PageUp: () => this.go(state.step + 32), PageDown: () => this.go(state.step - 32),
      ArrowUp: () => this.setLayer(state.layer - 1), ArrowDown: () => this.setLayer(state.layer + 1),
      " ": () => this.play(), Enter: () => this.pick(state.step), Escape: () => { state.token = -1; this.hover = null; this.draw(); },
      "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), 0: () => this.zoom(1e-9),
    }[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.stop();
    act();
  }

  setLayer(l) {
    const layer = clamp(l, 0, this.run.L - 1);
    if (layer !== this.state.layer) { this.state.layer = layer; this.stale = true; }
    this.draw();
  }

  listen() {
    const { canvas, scrub, textBox } = this;
    const at = (e) => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
    const drag = (e) => { this.stop(); this.go(Math.floor(this.token(at(e)[0]))); };
    for (const el of [canvas, scrub]) el.addEventListener("keydown", (e) => this.key(e));
    scrub.addEventListener("pointerdown", (e) => { scrub.setPointerCapture(e.pointerId); scrub.focus({ preventScroll: true }); this.dragging = true; drag(e); e.preventDefault(); });
    scrub.addEventListener("pointermove", (e) => { if (this.dragging) drag(e); });
    for (const end of ["pointerup", "pointercancel"]) scrub.addEventListener(end, () => { this.dragging = false; this.settle(); });
    scrub.addEventListener("dblclick", () => this.zoom(1e-9));
    canvas.addEventListener("pointermove", (e) => { if (e.pointerType !== "touch" || e.buttons) this.point(...at(e)); });
    canvas.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    canvas.addEventListener("click", (e) => {
      const hit = this.locate(...at(e));
      if (!hit) return;
      if (hit.panel === "memory" || hit.panel === "axis") { this.stop(); this.go(hit.token); return; }
      if (hit.panel === "label") { this.setLayer(hit.layer); return; }
      if (hit.panel === "heat" && hit.layer !== this.state.layer) { this.setLayer(hit.layer); this.state.token = hit.token; this.draw(); } else this.pick(hit.token);
    });
    for (const el of [canvas, scrub]) el.addEventListener("wheel", (e) => {
      if (e.ctrlKey || e.metaKey) { e.preventDefault(); this.zoom(Math.exp(-e.deltaY / 300), this.token(at(e)[0])); } else if (this.view && Math.abs(e.deltaX) > Math.abs(e.deltaY)) { e.preventDefault(); this.pan(e.deltaX / this.geo.cw); }
    }, { passive: false });
    const word = (e) => { const t = e.target.closest && e.target.closest("[data-t]"); return t ? Number(t.dataset.t) : -1; };
    textBox.addEventListener("click", (e) => { const j = word(e); if (j >= 0) this.pick(j); });
    textBox.addEventListener("pointermove", (e) => {
      const j = word(e), r = this.stage.getBoundingClientRect();
      const hover = j < 0 ? null : { token: j, layer: this.state.layer, panel: "text", x: e.clientX - r.left, y: e.clientY - r.top };
      if ((hover && hover.token) !== (this.hover && this.hover.token)) { this.hover = hover; this.draw(); }
    });
    textBox.addEventListener("scroll", () => { this.scrolled = textBox.scrollTop; this.draw(); }, { passive: true });
    textBox.addEventListener("pointerleave", () => { this.hover = null; this.draw(); });
    textBox.addEventListener("keydown", (e) => { if (e.key === "Escape") this.key(e); });
  }

  token(x) { const { x0, cw } = this.geo, v = this.window(); return clamp(v[0] + (x - x0) / cw, 0, this.run.domain - 1e-6); }

  locate(x, y) {
    const g = this.geo;
    if (!g || !this.run.Q) return null;
    const layer = Math.floor((y - g.heat) / g.lh);
    if (x < g.x0 || x > g.x1) return layer >= 0 && layer < this.run.L ? { panel: "label", layer } : null;
    const token = Math.floor(this.token(x)), known = token < this.run.T;
    if (y < g.heat - 18) return { panel: "axis", token };
    if (layer >= 0 && layer < this.run.L) return known ? { panel: "heat", layer, token } : null;
    if (y >= g.pos && y < g.pos + g.posH) return known ? { panel: "pos", layer: this.state.layer, token } : null;
    if (y >= g.life && y <= g.life + g.lifeH) {
      if (this.state.life === "lives") return known ? { panel: "life", layer: this.state.layer, token } : null;
      const age = Math.round(2 ** (((g.life + g.lifeH - y) / g.lifeH) * Math.log2(1 + this.run.Q)) - 1), born = token - age;
      return born >= 0 && known ? { panel: "life", layer: this.state.layer, token: born } : null;
    }
    return y >= g.mem && y <= g.mem + g.memH ? { panel: "memory", token } : null;
  }

  point(x, y) {
    const hit = this.locate(x, y);
    this.hover = hit && hit.panel !== "axis" && hit.panel !== "label" ? { ...hit, x, y } : null;
    this.draw();
  }

  // ---- drawing

  draw() {
    this.settle();
    if (!this.frame && this.run) this.frame = requestAnimationFrame((now) => { this.frame = 0; this.render(now); });
  }

  render(now) {
    const { run, state } = this;
    if (!this.canvas.clientWidth) return;
    const began = performance.now();
    if (this.playing) {
      const rate = clamp(run.Q / 14, 8, 400), step = Math.floor(this.playFrom + ((now - this.playing) / 1000) * rate);
      if (step >= run.Q - 1) { this.go(run.Q - 1, true); this.stop(); } else { state.step = step; this.frame = requestAnimationFrame((t) => { this.frame = 0; this.render(t); }); }
      const v = this.window();
      if (this.view && (state.step < v[0] || state.step >= v[1] - 1)) this.pan(state.step - v[0] - 1);
    } else if (run.running && state.follow && state.step < run.Q - 1) {
      // Payloads arrive a few times a second; stepping through them lets the text flow instead of jump.
      state.step += Math.max(1, Math.ceil((run.Q - 1 - state.step) / 9));
      state.step = Math.min(state.step, run.Q - 1);
      this.frame = requestAnimationFrame((t) => { this.frame = 0; this.render(t); });
    }
    this.layout();
    if (this.stale) { this.paintLives(); this.paintMemory(); this.paintPos(); this.stale = false; }
    this.drawTiles();
    this.drawText();
    this.drawStory();
    this.drawStage();
    this.drawScrub();
    this.drawTip();
    this.cost = performance.now() - began;
  }

  layout() {
    const W = this.canvas.clientWidth, narrow = W < 620, { L } = this.run;
    const x0 = narrow ? 40 : 72, x1 = W - (narrow ? 46 : 76), v = this.window();
    const lh = L <= 12 ? 22 : L <= 16 ? 18 : L <= 26 ? 13 : 8;
    const heat = 84, pos = heat + L * lh + 9, posH = 25, life = pos + posH + 40, lifeH = narrow ? 170 : 220, mem = life + lifeH + 42, memH = 96;
    const H = mem + memH + 10, ratio = Math.min(3, devicePixelRatio || 1);
    this.geo = { W, H, narrow, x0, x1, lh, heat, pos, posH, life, lifeH, mem, memH, ratio, cw: (x1 - x0) / (v[1] - v[0]) };
    const w = Math.round(W * ratio), h = Math.round(H * ratio);
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w; this.canvas.height = h;
      this.canvas.style.height = `${H}px`;
      this.stale = true;
    }
    this.scrub.style.left = `${x0}px`;
    this.scrub.style.width = `${x1 - x0}px`;
    if (this.stale || !this.px) {
      // Device-pixel column where each visible token starts; one entry more for the end.
      const Wd = Math.round((x1 - x0) * ratio), cwd = Wd / (v[1] - v[0]), from = Math.floor(v[0]), to = Math.min(this.run.T, Math.ceil(v[1]));
      const starts = new Int32Array(Math.max(0, to - from) + 1);
      for (let i = 0; i < starts.length; i++) starts[i] = clamp(Math.round((from + i - v[0]) * cwd), 0, Wd);
      this.px = { Wd, from, to, starts, fine: cwd >= 1, gap: cwd >= 7 ? Math.round(ratio) : cwd >= 3 ? 1 : 0 };
    }
  }

  X(j) { return this.geo.x0 + (j - this.window()[0]) * this.geo.cw; }

  drawTiles() {
    const { run, state, whole, tile } = this, s = state.step, L = run.L, dense = L * (s + 1);
    if (!run.Q) return;
    let low = 1, high = 0;
    for (let l = 0; l < L; l++) { const d = 1 - whole.held[l * run.Q + s] / (s + 1); low = Math.min(low, d); high = Math.max(high, d); }
    const share = 1 - whole.total[s] / dense, m = run.memory, put = (t, value, note, over, under) => {
      if (t.value.textContent !== value) t.value.textContent = value;
      if (t.note.textContent !== note) t.note.textContent = note;
      if (over !== undefined) t.over.style.width = `${100 * over}%`;
      if (under !== undefined) t.under.style.width = `${100 * Math.min(1, under)}%`;
    };
    put(tile.dropped, percent(share), `dropped after ${s + 1} tokens\nlayers from ${(100 * low).toFixed(0)} to ${percent(high)}`, share);
    const live = whole.total[s] * m.row_bytes, all = dense * m.kv_bytes_per_entry, held = s === run.Q - 1 ? m.kv_bytes_held : NaN;
    put(tile.memory, bytes(live), `KV live, of ${bytes(all)} dense\n${m.kv_bytes_held >= 0 ? `${bytes(m.kv_bytes_held)} held at the latest step` : ""}`, clamp(live / all, 0, 1), held >= 0 ? held / all : 0);
    const sp = run.speed, rate = (v) => (v > 0 ? `${v >= 100 ? v.toFixed(0) : v.toFixed(1)}` : "–");
    put(tile.speed, `${rate(run.running ? sp.now : sp.mean)} tok/s`, `${run.running ? "now" : "mean of the run"}\n${run.running ? `${rate(sp.mean)} mean` : "while generating"}`);
    put(tile.first, sp.first > 0 ? `${sp.first < 1 ? `${(1000 * sp.first).toFixed(0)} ms` : `${sp.first.toFixed(2)} s`}` : "–", `to the first new token\n${sp.process ? `${bytes(sp.process)} whole process` : "reading included"}`);
  }

  drawText() {
    const { run, state, laid } = this, { L, T, Q } = run, U = run.units.length, s = state.step, share = state.text === "share";
    if (!this.hits || this.hits.length !== T) this.hits = new Uint8Array(T);
    this.hits.fill(0);
    for (let l = 0; l < L; l++) {
      if ((!share && l !== state.layer) || !Q) continue;
      for (let i = run.first[l * (Q + 1) + s]; i < run.first[l * (Q + 1) + s + 1]; i++) this.hits[run.order[i]] = 1;
    }
    const by = this.droppers();
    // Bits 0-3 shade, then: future, struck, hit, now, chosen, dropper, generated, filtered out.
    const flags = (j) => (this.hits[j] ? 64 : 0) | (j === s ? 128 : 0) | (j === state.token ? 256 : 0) | (by.has(j) ? 512 : 0);
    const dress = (thing, code, base) => {
      if (thing.code === code) return;
      thing.code = code;
      const names = ["fut", "out", "hit", "now", "sel", "by", "gen", "dim"].filter((_, i) => code & (16 << i));
      thing.el.className = `${base}${code & 16 || !base ? "" : ` k${code & 15}`} ${names.join(" ")}`.trim();
    };
    const [from, to] = this.follow(s);
    for (let u = from; u < to; u++) {
      const { parts } = run.units[u], it = laid[u], first = parts[0].first;
      let k = 0, code = first >= run.prompt ? 1024 : 0;
      if (first > s) code |= 16;
      else {
        if (share) { for (let l = 0; l < L; l++) k += run.unitDeath[l * U + u] > s; } else if (run.unitDeath[state.layer * U + u] > s) k = L;
        code |= Math.round((8 * k) / L) | (k === 0 ? 32 : 0) | (this.shown[first] ? 0 : 2048);
      }
      if (it.parts) {
        for (let q = 0; q < parts.length; q++) {
          let inner = 0;
          for (let j = parts[q].first; j <= parts[q].last; j++) inner |= flags(j);
          if (parts[q].first > s && first <= s) inner |= 16;
          dress(it.parts[q], inner, "");
        }
      } else for (let j = first; j <= parts[0].last; j++) code |= flags(j);
      dress(it, code, "u");
    }
    this.textBox.classList.toggle("live", run.running && state.follow);
  }

  /** Keep the current word in sight inside the box; give the units worth dressing: those in sight. */
  follow(s) {
    const { run, laid, textBox: box } = this, U = run.units.length;
    if (!this.tops || this.tops.width !== this.geo.W) {
      const offset = box.offsetTop;
      this.tops = { at: Float32Array.from(laid, (x) => x.el.offsetTop - offset), width: this.geo.W, view: box.clientHeight, all: box.scrollHeight };
      this.scrolled = box.scrollTop;
    }
    const { at, view, all } = this.tops;
    if (all <= view + 4) return [0, U];
    let now = 0;
    while (now < U - 1 && run.units[now + 1].parts[0].first <= s) now++;
    if (this.followed !== s && (at[now] < this.scrolled + 8 || at[now] > this.scrolled + view - 48)) {
      this.scrolled = clamp(at[now] - view * 0.55, 0, all - view);
      box.scrollTop = this.scrolled;
    }
    this.followed = s;
    let from = 0, to = U;
    while (from < U && at[from] < this.scrolled - 60) from++;
    while (to > from && at[to - 1] > this.scrolled + view + 60) to--;
    return [from, to];
  }

  droppers() {
    const { run, state } = this, out = new Set();
    if (state.token < 0) return out;
    for (let l = 0; l < run.L; l++) {
      const d = run.death[l * run.T + state.token];
      if ((state.text === "share" || l === state.layer) && d <= state.step) out.add(d);
    }
    return out;
  }

  piece(j) { return this.run.names[j] || legible(this.run.text.slice(this.run.spans[2 * j], this.run.spans[2 * j + 1])); }

  quote(j) {
    const b = node("b"), i = node("bdi");
    i.textContent = this.piece(j);
    b.append("“", i, "”");
    return b;
  }

  pos(j) {
    const w = this.run.wordOf[j];
    return w < 0 ? "not tagged" : this.run.posLabels[this.run.wordPos[w]];
  }

  drawStory() {
    const { run, state } = this, { L, T, Q } = run, s = state.step, l = state.layer, key = `${run.id}|${run.T}|${s}|${l}|${state.token}|${run.wordPos.length}`;
    if (key === this.told || !Q) return;
    this.told = key;
    const out = [], j = state.token;
    if (j >= 0 && j < T) {
      out.push(this.quote(j), ` · ${this.pos(j)} · `);
      if (j > s) out.push(j < Q ? `will be read at step ${j}.` : "the last sampled token: it has not been read, so nothing can drop it yet.");
      else {
        out.push(j < run.prompt ? `you wrote it, read at step ${j}. ` : `the model wrote it, read at step ${j}. `);
        const gone = [];
        for (let i = 0; i < L; i++) if (run.death[i * T + j] <= s) gone.push(i);
        gone.sort((a, b) => (b === l) - (a === l) || a - b);
        gone.slice(0, 3).forEach((i, n) => { const d = run.death[i * T + j]; out.push(n ? "; " : "Dropped in ", i === l ? node("b", "", `layer ${i}`) : `layer ${i}`, ` at step ${d}, when `, this.quote(d), " was read"); });
        if (gone.length > 3) out.push(`; and in ${gone.length - 3} more`);
        if (gone.length) out.push(". ");
        out.push(`At step ${s} held in ${L - gone.length} of ${L} layers. `);
        let caused = 0;
        for (let i = 0; i < L; i++) caused += run.first[i * (Q + 1) + j + 1] - run.first[i * (Q + 1) + j];
        if (j < Q) out.push(node("span", "quiet", caused ? `Reading it dropped ${caused} ${caused === 1 ? "entry" : "entries"}.` : "Reading it dropped nothing."));
      }
    } else {
      let all = 0;
      for (let i = 0; i < L; i++) all += run.first[i * (Q + 1) + s + 1] - run.first[i * (Q + 1) + s];
      const a = run.first[l * (Q + 1) + s], n = run.first[l * (Q + 1) + s + 1] - a;
      out.push(`At step ${s} `, this.quote(s), ` was read and `, node("b", "", `layer ${l}`), n ? " dropped " : " dropped nothing");
      for (let i = 0; i < Math.min(n, 8); i++) out.push(i ? ", " : "", this.quote(run.order[a + i]));
      out.push(n > 8 ? ` and ${n - 8} more. ` : ". ");
      out.push(node("span", "quiet", `${all ? `All ${L} layers together dropped ${all} ${all === 1 ? "entry" : "entries"} here.` : "No layer dropped anything here."} Choose a word or a cell for its story.`));
    }
    this.story.replaceChildren(...out);
  }

  drawScrub() {
    const { run, state } = this, s = state.step, v = this.window(), text = String(s);
    if (this.grip.textContent !== text) this.grip.textContent = text;
    this.grip.style.left = `${clamp(this.X(s) + this.geo.cw / 2 - this.geo.x0, 0, this.geo.x1 - this.geo.x0)}px`;
    this.grip.style.visibility = s < v[0] - 1 || s > v[1] ? "hidden" : "";
    this.scrub.setAttribute("aria-valuemin", "0");
    this.scrub.setAttribute("aria-valuemax", String(Math.max(0, run.Q - 1)));
    this.scrub.setAttribute("aria-valuenow", text);
    this.scrub.setAttribute("aria-valuetext", run.Q ? `step ${s} of ${run.Q - 1}, ${this.piece(s)} was read` : "no steps");
    const hidden = !(run.running && !state.follow);
    if (this.newest.hidden !== hidden) this.newest.hidden = hidden;
    if (!this.playing && !run.running) this.canvas.setAttribute("aria-label", `Layer by token heatmap, lifelines of layer ${state.layer} and entries held, at step ${s}. ${this.story.textContent}`);
  }

  // ---- offscreen buffers: repainted only when data, layer, colouring, filter, zoom or size change

  /** Index into the active ramp (0-255) for a token of a layer; -1 for the flat state colour. */
  shade(l, j, step) {
    if (this.state.colour === "age") return Math.min(255, (255 * Math.log1p(step - j)) / Math.log1p(this.run.Q)) | 0;
    if (this.state.colour === "close") return (this.rank || (this.rank = ranks(this.run))).close[l * this.run.T + j];
    return -1;
  }

  ink(index, flat) { return index < 0 ? flat : this.state.colour === "age" ? this.colour.age[index] : this.colour.close[index]; }

  paintHeat() {
    const { run, state, px, colour, shown } = this, { L, T, death } = run, { Wd, from, starts, gap } = px, s = state.step;
    const out = size(this.buffers.heat, Wd, 2 * L), end = Math.min(px.to, s + 1);
    const sum = new Float32Array(4 * (px.fine ? 0 : Wd + 1));
    for (let l = 0; l < L; l++) {
      const held = 2 * l * Wd, gone = held + Wd;
      if (px.fine) {
        for (let j = from; j < end; j++) {
          const d = death[l * T + j], a = starts[j - from], b = Math.max(a + 1, starts[j - from + 1] - gap), row = d < s ? gone : held;
          const c = d > s ? this.ink(this.shade(l, j, s), colour.held) : d === s ? colour.drop : colour.gone;
          out.fill(shown[j] ? c : tint(c, 0.15), row + a, row + b);
        }
        continue;
      }
      // More tokens than pixels: a pixel shows the share of its tokens that is held; none is skipped.
      sum.fill(0);
      for (let j = from; j < end; j++) {
        if (!shown[j]) continue;
        const at = 4 * starts[j - from], d = death[l * T + j];
        sum[at]++;
        if (d > s) { sum[at + 1]++; sum[at + 3] += this.shade(l, j, s); } else if (d === s) sum[at + 2]++;
      }
      for (let x = 0; x < Wd; x++) {
        const n = sum[4 * x], h = sum[4 * x + 1];
        if (!n) continue;
        if (h) out[held + x] = tint(this.ink((sum[4 * x + 3] / h) | 0, colour.held), h / n);
        if (sum[4 * x + 2]) out[held + x] = colour.drop;
        if (h < n) out[gone + x] = colour.gone;
      }
    }
    this.buffers.heat.ctx.putImageData(this.buffers.heat.image, 0, 0);
  }

  paintLives() {
    const { geo, px } = this, h = Math.round(geo.lifeH * geo.ratio);
    const bars = size(this.buffers.bars, px.Wd, h), marks = size(this.buffers.marks, px.Wd, h);
    if (this.state.life === "age") this.paintAges(bars, marks, h);
    else this.paintBars(bars, marks, h);
    for (const b of [this.buffers.bars, this.buffers.marks]) b.ctx.putImageData(b.image, 0, 0);
  }

  paintBars(bars, marks, h) {
    const { run, state, px, colour, shown, geo } = this, { T, Q, death } = run, { Wd, from, to, starts, gap } = px, l = state.layer;
    const [v0, v1] = this.window(), Y = (t) => clamp(Math.round(((t - v0) / (v1 - v0)) * h), 0, h), thick = Math.round(2 * geo.ratio);
    const soft = pack(parse(this.css["held-soft"])), flat = state.colour === "state";
    const many = px.fine ? null : new Int16Array((h + 1) * Wd), width = px.fine ? null : new Uint16Array(Wd);
    for (let j = from; j < Math.min(to, Q); j++) {
      const d = death[l * T + j], a = starts[j - from], b = px.fine ? Math.max(a + 1, starts[j - from + 1] - gap) : a + 1;
      const top = Y(j), bottom = Math.max(top + 1, Y(Math.min(d, Q)));
      if (many) {
        width[a]++;
        if (shown[j]) { many[top * Wd + a]++; many[Math.min(h, bottom) * Wd + a]--; }
      } else {
        for (let y = top; y < Math.min(h, bottom); y++) {
          let c = flat ? soft : this.ink(this.shade(l, j, v0 + (y / h) * (v1 - v0)), soft);
          if (!shown[j]) c = tint(c, 0.13);
          bars.fill(c, y * Wd + a, y * Wd + b);
        }
      }
      if (d < Q && shown[j]) for (let y = Math.max(0, Y(d) - thick); y < Math.min(h, Y(d)); y++) marks.fill(colour.drop, y * Wd + a, y * Wd + b);
    }
    if (!many) return;
    for (let x = 0; x < Wd; x++) {
      for (let y = 0, n = 0; y < h; y++) {
        n += many[y * Wd + x];
        if (n) bars[y * Wd + x] = tint(soft, Math.max(0.12, n / width[x]));
      }
    }
  }

  /** x = step, y = age on a log scale; tint = share of that age range held at that step. */
  paintAges(bars, marks, h) {
    const { run, state, px, colour, shown } = this, { T, Q, death } = run, { Wd, from, starts } = px, l = state.layer;
    const top = Math.log2(1 + Math.max(1, Q)), row = (age) => Math.min(h, Math.round((1 - Math.log2(1 + age) / top) * h));
    const rows = new Int32Array(Q + 2);
    for (let a = 0; a <= Q + 1; a++) rows[a] = Math.max(0, row(a));
    const columns = new Int32Array(Q + 1).fill(-1);
    for (let t = from; t < Math.min(px.to, Q); t++) columns[t] = starts[t - from];
    const held = new Float32Array(Wd * (h + 1)), all = new Float32Array(Wd * (h + 1));
    for (let j = 0; j < Q; j++) {
      if (!shown[j]) continue;
      const end = Math.min(death[l * T + j], Q);
      for (let t = Math.max(j, from); t < Math.min(px.to, Q); t++) {
        const at = Math.max(0, rows[t - j] - 1) * Wd + columns[t];
        all[at]++;
        if (t < end) held[at]++;
      }
    }
    const soft = pack(parse(this.css.held)), aging = this.state.colour === "age";
    for (let t = from; t < Math.min(px.to, Q); t++) {
      const x = columns[t], x1 = Math.max(x + 1, starts[t - from + 1]);
      if (t > from && columns[t - 1] === x) continue;
      for (let age = 0; age <= t; age++) {
        const y1 = rows[age], y0 = Math.min(y1 - 1, rows[age + 1]), at = Math.max(0, y1 - 1) * Wd + x;
        if (!held[at]) continue;
        const c = tint(aging ? colour.age[Math.min(255, (255 * Math.log1p(age)) / Math.log1p(Q)) | 0] : soft, 0.15 + 0.85 * (held[at] / all[at]));
        for (let y = Math.max(0, y0); y < y1; y++) bars.fill(c, y * Wd + x, y * Wd + x1);
      }
    }
    for (let j = 0; j < Q; j++) {
      const d = death[l * T + j];
      if (d >= Q || d < from || d >= px.to || !shown[j]) continue;
      const x = columns[d], x1 = Math.max(x + 1, starts[d - from + 1] - px.gap), y = Math.max(0, rows[d - j] - 1);
      for (let k = 0; k < Math.round(this.geo.ratio); k++) if (y - k >= 0) marks.fill(colour.drop, (y - k) * Wd + x, (y - k) * Wd + x1);
    }
  }

  paintMemory() {
    const { run, state, px, colour, counts, geo } = this, { L, Q } = run, { Wd, from, starts } = px, h = Math.round(geo.memH * geo.ratio);
    const out = size(this.buffers.memory, Wd, h), top = Math.max(1, L * run.domain);
    for (let t = from; t < Math.min(px.to, Q); t++) {
      const a = starts[t - from], b = Math.max(a + 1, starts[t - from + 1]);
      for (let i = 0, base = 0; i < L; i++) {
        const l = i === 0 ? state.layer : i <= state.layer ? i - 1 : i, next = base + counts.held[l * Q + t], y1 = h - Math.round((base / top) * h), y0 = h - Math.round((next / top) * h);
        const c = l === state.layer ? colour.held : colour.strata[l & 1];
        for (let y = y0; y < y1; y++) out.fill(c, y * Wd + a, y * Wd + b);
        base = next;
      }
    }
    this.buffers.memory.ctx.putImageData(this.buffers.memory.image, 0, 0);
  }

  /** Five lanes, one per group: position says what colour says. */
  paintPos() {
    const { run, px, colour, shown, geo } = this, { Wd, from, to, starts, gap } = px, lane = Math.round((geo.posH / 5) * geo.ratio), h = 5 * lane;
    const out = size(this.buffers.pos, Wd, h);
    for (let j = from; j < to; j++) {
      const g = run.group[j], a = starts[j - from], b = Math.max(a + 1, starts[j - from + 1] - gap);
      if (g > 4) continue;
      const c = shown[j] ? colour.groups[g] : tint(colour.groups[g], 0.15);
      for (let y = g * lane; y < (g + 1) * lane - 1; y++) out.fill(c, y * Wd + a, y * Wd + b);
    }
    this.buffers.pos.ctx.putImageData(this.buffers.pos.image, 0, 0);
  }

  // ---- the stage, once per frame

  drawStage() {
    const { run, state, geo, css, ctx, px } = this, { L, Q, T } = run, { W, H, x0, x1, lh, heat, narrow } = geo, s = state.step, w = x1 - x0;
    const font = (weight = 400, points = 12) => { ctx.font = `${weight} ${points}px ${this.sans}`; };
    const text = (t, x, y, align = "left", fill = css.soft) => { ctx.textAlign = align; ctx.fillStyle = fill; ctx.fillText(t, x, y); };
    const line = (xa, ya, xb, yb, stroke, width = 1, dash = []) => { ctx.strokeStyle = stroke; ctx.lineWidth = width; ctx.setLineDash(dash); ctx.beginPath(); ctx.moveTo(xa, ya); ctx.lineTo(xb, yb); ctx.stroke(); ctx.setLineDash([]); };
    const blit = (b, x, y, bw, bh, split, ghost) => {
      // Left of (or above) the scrubber the picture is solid; what comes later is a ghost of it.
      const sw = b.canvas.width;
      const cut = clamp(split, 0, 1);
      if (cut > 0) ctx.drawImage(b.canvas, 0, 0, sw * cut, b.canvas.height, x, y, bw * cut, bh);
      if (cut < 1 && ghost) { ctx.globalAlpha = ghost; ctx.drawImage(b.canvas, sw * cut, 0, sw * (1 - cut), b.canvas.height, x + bw * cut, y, bw * (1 - cut), bh); ctx.globalAlpha = 1; }
    };
    ctx.setTransform(geo.ratio, 0, 0, geo.ratio, 0, 0);
    ctx.clearRect(0, 0, W, H);
    ctx.imageSmoothingEnabled = false;
    ctx.textBaseline = "middle";
    if (!Q) { font(); text("Nothing has been read yet.", x0, heat); return; }
    const xs = this.X(s) + geo.cw / 2, split = (this.X(s + 1) - x0) / w, v = this.window();

    this.drawAxis(font, text, line);

    // Heatmap.
    font();
    text(narrow ? "layer × token" : "what each layer holds at this step: layer × token", x0, heat - 9);
    text(state.groups ? "held, filtered" : "held", W, heat - 9, "right");
    this.paintHeat();
    const thin = lh >= 18 ? 3 : 2, inset = lh >= 18 ? 1.5 : 1, each = lh >= 13 ? 1 : 4, left = (narrow ? "" : "layer ");
    for (let l = 0; l < L; l++) {
      const y = heat + l * lh, chosen = l === state.layer;
      if (chosen) { ctx.fillStyle = css.panel; ctx.fillRect(x0, y, w, lh); }
      ctx.drawImage(this.buffers.heat.canvas, 0, 2 * l + 1, px.Wd, 1, x0, y + lh / 2 - thin / 2, w, thin);
      ctx.drawImage(this.buffers.heat.canvas, 0, 2 * l, px.Wd, 1, x0, y + inset, w, lh - 2 * inset);
      const n = this.counts.held[l * Q + s];
      if (chosen || l % each === 0) {
        font(chosen ? 650 : 400, lh < 13 && !chosen ? 10 : 12);
        text(`${left}${l}`, x0 - 9, y + lh / 2, "right", chosen ? css.ink : css.soft);
        text(String(n), W, y + lh / 2, "right", chosen ? css.ink : css.soft);
      }
      ctx.fillStyle = chosen ? css.held : css["held-soft"];
      const room = narrow ? 12 : 34;
      ctx.fillRect(x1 + 7, y + lh / 2 - Math.min(3, lh / 4), Math.max(n ? 1 : 0, (room * n) / (s + 1)), Math.min(6, lh / 2));
    }
    ctx.strokeStyle = css.ink; ctx.lineWidth = 1.4;
    ctx.strokeRect(x0 - 2, heat + state.layer * lh - 0.2, w + 4, lh + 0.4);

    // Parts of speech.
    font();
    text("POS", x0 - 9, geo.pos + geo.posH / 2, "right");
    blit(this.buffers.pos, x0, geo.pos, w, geo.posH, split, run.running ? 0 : 0.22);

    this.drawLives(text, font, line, blit, split);

    // Memory.
    const { mem, memH } = geo, top = L * run.domain, my = (n) => mem + memH - (n / top) * memH;
    font();
    text(narrow ? "entries held, all layers" : `entries held by all layers, stacked (layer ${state.layer} at the bottom), under what a model that forgets nothing holds`, x0, mem - 12);
    blit(this.buffers.memory, x0, mem, w, memH, split, run.running ? 0 : 0.25);
    line(x0, mem + memH + 0.5, x1, mem + memH + 0.5, css.line);
    ctx.strokeStyle = css.soft; ctx.lineWidth = 1.2; ctx.beginPath();
    const stride = Math.max(1, Math.floor((v[1] - v[0]) / 400));
    for (let t = Math.floor(v[0]), begun = false; t < Math.min(Q, v[1]); t = t + stride < Q || t === Q - 1 ? t + stride : Q - 1) {
      const x = this.X(t) + geo.cw / 2, y = my(L * this.counts.read[t]);
      if (begun) ctx.lineTo(x, y); else ctx.moveTo(x, y);
      begun = true;
    }
    ctx.stroke();
    const dense = L * this.counts.read[s], held = this.counts.total[s], yd = my(dense), yh = Math.min(mem + memH - 6, Math.max(my(held), yd + 15));
    text(String(dense), x1 + 7, clamp(yd, mem - 2, yh - 14), "left");
    font(650);
    text(String(held), x1 + 7, yh, "left", css.ink);
    ctx.fillStyle = css.soft; ctx.beginPath(); ctx.arc(xs, yd, 2.6, 0, 7); ctx.fill();
    ctx.fillStyle = css.ink; ctx.beginPath(); ctx.arc(xs, my(held), 2.6, 0, 7); ctx.fill();

    // What crosses all panels: the seam, the hovered and the chosen column, the scrubber.
    const bottom = mem + memH, column = (j, stroke, fill) => {
      if (j < v[0] - 1 || j > v[1]) return;
      const x = this.X(j), cw = Math.max(1, geo.cw);
      if (fill) { ctx.globalAlpha = 0.1; ctx.fillStyle = fill; ctx.fillRect(x, heat, cw, bottom - heat); ctx.globalAlpha = 1; }
      if (stroke) { ctx.strokeStyle = stroke; ctx.lineWidth = 1.6; ctx.strokeRect(x - 1.2, heat - 1.2, cw + (geo.cw > 3 ? 1.6 : 2.4), geo.pos + geo.posH - heat + 2.4); }
    };
    if (run.prompt > v[0] && run.prompt < Math.min(v[1], Math.max(T, run.domain))) line(this.X(run.prompt), 4, this.X(run.prompt), bottom, css.soft, 1);
    if (this.hover && this.hover.panel !== "memory") column(this.hover.token, null, css.ink);
    if (state.token >= 0) {
      column(state.token, css.sel, null);
      const d = run.death[state.layer * T + state.token];
      if (d <= s && d >= v[0] && d < v[1]) { ctx.strokeStyle = css.by; ctx.lineWidth = 2; ctx.strokeRect(this.X(d) - 1, heat + state.layer * lh + 1, Math.max(3, geo.cw) + 1, lh - 2); }
    }
    if (xs >= x0 - 1 && xs <= x1 + 1) { ctx.globalAlpha = 0.6; line(xs, 44, xs, bottom, css.ink, 1, [3, 3]); ctx.globalAlpha = 1; }
  }

  drawAxis(font, text, line) {
    const { run, geo, css, state } = this, { x0, x1 } = geo, v = this.window(), span = v[1] - v[0], y = 29;
    let tick = 1;
    for (const m of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000]) { tick = m; if ((m / span) * (x1 - x0) >= 52) break; }
    line(x0, y, x1, y, css.line, 4);
    const xs = clamp(this.X(state.step) + geo.cw / 2, x0, x1);
    line(x0, y, xs, y, css.held, 4);
    font(400, 11);
    for (let t = Math.ceil(v[0] / tick) * tick; t < v[1]; t += tick) {
      const x = this.X(t) + geo.cw / 2;
      line(x, y + 6, x, y + 10, css.soft, 1);
      text(String(t), x, y + 19, "center");
    }
    font(600, 11);
    const xp = this.X(run.prompt), mixed = run.prompt > 0 && run.prompt < Math.max(run.T, run.domain);
    if (!mixed) text(run.prompt ? "you wrote" : "the model wrote", x0, 8, "left");
    else {
      if (xp - x0 > 60) text("you wrote", Math.min(xp, x1) - 7, 8, "right");
      if (x1 - xp > 90) text("the model wrote", Math.max(xp, x0) + 7, 8, "left");
    }
    font(400, 11);
    if (!geo.narrow) text("step", x0 - 9, y + 19, "right");
  }

  drawLives(text, font, line, blit, split) {
    const { run, state, geo, css, ctx } = this, { T, Q, death } = run, { x0, x1, life, lifeH, narrow } = geo, w = x1 - x0, s = state.step, l = state.layer, v = this.window();
    font();
    if (state.life === "age") {
      text(narrow ? `layer ${l}: ages held` : `layer ${l}: how old are the tokens it holds, step by step (log scale; bands are windows, edges are resets)`, x0, life - 13);
      blit(this.buffers.bars, x0, life, w, lifeH, split, run.running ? 0 : 0.2);
      blit(this.buffers.marks, x0, life, w, lifeH, split, 0);
      font(400, 11);
      for (let age = 0; age < Q; age = age ? age * 10 : 1) {
        const y = life + lifeH * (1 - Math.log2(1 + age) / Math.log2(1 + Math.max(1, Q)));
        if (y > life + 4) { text(`age ${age}`, x0 - 9, Math.min(y, life + lifeH - 4), "right"); }
      }
      line(x0, life + lifeH + 0.5, x1, life + lifeH + 0.5, css.line);
      return;
    }
    text(narrow ? `layer ${l}: each token’s life` : `layer ${l}: each token’s life, from the step it is read (top) to the step that drops it`, x0, life - 13);
    const Y = (t) => life + clamp((t - v[0]) / (v[1] - v[0]), 0, 1) * lifeH, ys = Y(s + 1), b = this.buffers.bars.canvas, cut = (ys - life) / lifeH, sx = clamp(split, 0, 1);
    if (cut > 0) for (const c of [b, this.buffers.marks.canvas]) ctx.drawImage(c, 0, 0, c.width * sx, c.height * cut, x0, life, w * sx, lifeH * cut);
    if (cut < 1 && !run.running) { ctx.globalAlpha = 0.22; ctx.drawImage(b, 0, b.height * cut, b.width * sx, b.height * (1 - cut), x0, ys, w * sx, lifeH * (1 - cut)); ctx.globalAlpha = 1; }
    // The lives still going at this step stand out from those already ended.
    if (state.colour === "state") {
      ctx.fillStyle = css.held;
      const gap = geo.cw >= 7 ? 1 : geo.cw >= 3 ? 1 / geo.ratio : 0;
      for (let j = Math.floor(v[0]); j <= Math.min(s, v[1]); j++) {
        if (death[l * T + j] > s && this.shown[j]) ctx.fillRect(this.X(j), Y(j), Math.max(1 / geo.ratio, geo.cw - gap), Math.max(1, ys - Y(j)));
      }
    }
    if (s + 1 < v[1]) line(this.X(s + 1), ys, x1, Y(v[1]), css.line, 1.2);
    ctx.globalAlpha = 0.6; line(x0, ys, x1, ys, css.ink, 1, [3, 3]); ctx.globalAlpha = 1;
    font(400, 11);
    text(narrow ? String(Math.round(v[0])) : `step ${Math.round(v[0])}`, x0 - 9, life + 4, "right");
    if (lifeH - (ys - life) > 16) text(String(Math.round(v[1]) - 1), x0 - 9, life + lifeH - 4, "right");
    if (ys - life > 18) text(String(s), x0 - 9, ys, "right", css.ink);
    this.drawNote(text, font);
    const j = state.token, d = j >= 0 ? death[l * T + j] : ALIVE;
    if (d <= s) {
      const y = Y(d), xd = this.X(d) + geo.cw / 2;
      line(this.X(j) + geo.cw / 2, y, xd, y, css.by, 1.8);
      ctx.fillStyle = css.by; ctx.beginPath(); ctx.arc(xd, y, 3.6, 0, 7); ctx.fill();
    }
  }

  /** The empty corner of the triangle says in words what the chosen layer holds now. */
  drawNote(text, font) {
    const { run, state, geo, css } = this, { T, death } = run, l = state.layer, s = state.step, n = this.counts.held[l * run.Q + s];
    let oldest = 0;
    while (oldest < s && !(death[l * T + oldest] > s && this.shown[oldest])) oldest++;
    const room = geo.x1 - Math.max(this.X(s) * 0.62, geo.x0 + 40);
    if (room < 190) return;
    font(600);
    text(`layer ${l} holds ${n} of ${this.counts.read[s]}`, geo.x1, geo.life + 6, "right", css.ink);
    font();
    if (n && s > oldest) text(`the oldest, “${this.piece(oldest).slice(0, 18)}”, was read ${s - oldest} steps ago`, geo.x1, geo.life + 23, "right");
  }

  drawTip() {
    const { run, state, tip, hover, geo } = this;
    if (!hover || hover.panel === "memory" || this.dragging || hover.token >= run.T) { if (!tip.hidden) tip.hidden = true; this.tipped = ""; return; }
    const j = hover.token, l = hover.layer, s = state.step, key = `${run.id}|${run.T}|${j}|${l}|${s}`;
    if (key !== this.tipped) { this.tipped = key; tip.replaceChildren(...this.tell(j, l, s)); }
    tip.hidden = false;
    const width = tip.offsetWidth, height = tip.offsetHeight, right = hover.x + 16 + width < geo.W;
    tip.style.left = `${clamp(right ? hover.x + 16 : hover.x - width - 16, 0, Math.max(0, geo.W - width))}px`;
    tip.style.top = `${hover.panel === "text" ? hover.y + 18 : clamp(hover.y - height / 2, 0, geo.H - height)}px`;
  }

  /** Everything known about one token in one layer, up to what the run as a whole says. */
  tell(j, l, s) {
    const { run } = this, { T, Q, death } = run, d = death[l * T + j], w = run.wordOf[j], m = run.margin[l * T + j], out = [];
    const word = w < 0 ? "" : legible(run.text.slice(run.words[4 * w], run.words[4 * w + 1])), head = node("div", "", this.quote(j));
    if (word && word !== this.piece(j)) { const b = node("bdi", "", word); head.append(" in “", b, "”"); }
    head.append(` · ${this.pos(j)}`);
    out.push(head, node("div", "quiet", `token ${j} · layer ${l} · ${j < run.prompt ? "you wrote it" : "the model wrote it"}`));
    if (j >= Q) out.push(node("div", "", "sampled last: not read yet"));
    else if (d === ALIVE) out.push(node("div", "", `read at step ${j}, held to the end`));
    else out.push(node("div", "", `read at step ${j}; dropped at step ${d}${d > s ? " (still to come)" : ""}, when `, this.quote(d), ` was read, at age ${d - j}`));
    if (m === m) {
      const r = this.rank || (this.rank = ranks(run)), gone = d !== ALIVE, pool = gone ? r.dropped[l] : r.kept[l], lower = below(pool, m), value = m.toFixed(Math.abs(m) < 0.1 ? 4 : 2).replace("-", "−");
      const others = Math.max(1, pool.length - 1);
      let note = gone ? `a clearer drop than ${percent((pool.length - 1 - lower) / others)} of this layer’s drops` : `closer to a drop than ${percent((pool.length - 1 - lower) / others)} of what this layer holds`;
      if (pool.length < 2) note = "no other in this layer to compare with";
      if (run.nearTie && Math.abs(m) < run.nearTie) note = "a near tie, inside the float budget";
      out.push(node("div", "quiet", `${gone ? "gate logit at the drop" : "smallest gate logit so far"} ${value}: ${note}`));
    } else if (j < Q) out.push(node("div", "quiet", "no gate has judged it yet"));
    const p = run.logprob[j];
    if (p === p && j > 0) out.push(node("div", "quiet", `the model gave it ${p > Math.log(0.01) ? percent(Math.exp(p)) : `${(100 * Math.exp(p)).toPrecision(1)} %`} before reading it`));
    return out;
  }
}

// ---------------------------------------------------------------- where it lives

/** Static pages and notebooks: one payload, once. */
export function mount(root, payload, options = {}) {
  const view = new View(root, options);
  view.update(payload);
  return view;
}

const views = new WeakMap();

/** The same payload again, as after a report: nothing to unpack, nothing to redraw. */
function alike(a, b) {
  if (!a || !b || a === b) return a === b;
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...keys].every((k) => a[k] === b[k] || (typeof a[k] === "object" && JSON.stringify(a[k]) === JSON.stringify(b[k])));
}

function streamlitTheme(parent) {
  const host = parent.host || parent, value = getComputedStyle(host).getPropertyValue("--st-background-color").trim();
  const m = value.match(/^#([0-9a-f]{6})$/i);
  return m && parse(value).reduce((a, b) => a + b, 0) < 384 ? "dark" : "light";
}

/** Streamlit component: called again with every new payload; the view and its state stay. */
export default function component({ parentElement, data, setStateValue }) {
  let view = views.get(parentElement);
  if (!view || !view.box.isConnected) {
    view = new View(parentElement, { theme: streamlitTheme(parentElement) });
    views.set(parentElement, view);
  }
  view.options.report = (at) => setStateValue("at", at);
  const theme = streamlitTheme(parentElement);
  if (theme !== view.options.theme) view.theme(theme);
  if (data && !alike(data, view.data)) { view.data = data; view.update(data); }
  // Streamlit may run this clean-up for a call that a newer one has overtaken: only a view that has
  // left the page goes.
  return () => setTimeout(() => { if (!view.box.isConnected) view.destroy(); }, 1000);
}
