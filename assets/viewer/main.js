// The linked view: running text, layer x token heatmap, lifelines and memory on one shared axis.
//
// Used by the Streamlit component (default export) and by the static HTML (`mount`). One redraw per
// animation frame; what does not depend on the step is painted once, in pixels kept offscreen.

const FIRST = { step: 0, layer: -1, token: -1, text: "share", grain: "word", density: "normal", colour: "state", life: "lives", arcs: "off", speed: 1, groups: 0, follow: true, placed: null };
const HUES = ["ink", "soft", "line", "paper", "panel", "drop", "by", "gone", "held", "held-soft", "young", "old", "safe", "close", "sel", "ghost", "p0", "p1", "p2", "p3", "p4", "p5"];
const REST = 300;

// The state of the last few runs looked at: a view that the page takes away and puts back, or a run
// that is left and opened again, is as it was.
const remembered = new Map();

class View {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.state = { ...FIRST };
    this.view = this.hover = this.run = null;
    this.frame = this.playing = 0;
    this.buffers = Object.fromEntries(["heat", "bars", "live", "marks", "memory", "pos"].map((k) => [k, new Pixels()]));
    build(this);
    listen(this);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    // The width is read here, where the page is laid out: asking at every frame would lay it out again.
    this.width = this.canvas.clientWidth;
    this.resize = new ResizeObserver(() => { this.width = this.canvas.clientWidth; this.box.toggleAttribute("data-narrow", this.box.clientWidth < 640); this.text.tops = null; this.stale = true; this.draw(); });
    this.resize.observe(this.box);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.theme(this.options.theme);
    this.dark.addEventListener("change", this.onTheme);
    this.theme(options.theme);
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.resize.disconnect();
    this.dark.removeEventListener("change", this.onTheme);
    this.box.remove();
  }

  theme(name) {
    this.options.theme = name;
    this.box.dataset.theme = name === "dark" || (name !== "light" && this.dark.matches) ? "dark" : "light";
    const style = getComputedStyle(this.box), css = this.css = Object.fromEntries(HUES.map((k) => [k, style.getPropertyValue(`--${k}`).trim()]));
    const rgb = Object.fromEntries(HUES.map((k) => [k, parse(css[k])]));
    this.soft = pack(rgb["held-soft"]);
    this.colour = {
      held: pack(rgb.held), drop: pack(rgb.drop), gone: pack(rgb.gone), age: ramp(rgb.young, rgb.old), close: ramp(rgb.safe, rgb.close),
      groups: [0, 1, 2, 3, 4, 5].map((g) => pack(rgb[`p${g}`])),
      strata: [pack(between(rgb["held-soft"], rgb.paper, 0.2)), pack(between(rgb["held-soft"], rgb.paper, 0.42))],
    };
    this.sans = style.fontFamily;
    this.stale = true;
    drawLegend(this);
    this.draw();
  }

  // ---- data in

  update(payload) {
    const fresh = !this.run || this.run.id !== payload.id, wasRunning = this.run && this.run.running;
    // Each run has a state object of its own, so that one that is left keeps what it had.
    if (fresh) this.state = { ...this.state };
    this.run = unpack(payload);
    const { run, state } = this;
    if (fresh) {
      Object.assign(state, { token: -1, follow: run.running, groups: 0, placed: null, step: run.running ? 0 : run.Q - 1 });
      if (state.layer < 0 || state.layer >= run.L) state.layer = Math.min(run.L - 1, Math.floor(run.L / 2));
      Object.assign(state, remembered.get(run.id));
      remembered.set(run.id, state);
      if (remembered.size > 8) remembered.delete(remembered.keys().next().value);
      this.view = null;
      this.stop();
    }
    state.step = clamp(state.step, 0, Math.max(0, run.Q - 1));
    if (!run.running && wasRunning && state.follow) state.step = run.Q - 1;
    this.ranks = [];
    this.told = "";
    this.text.lay(fresh);
    this.recount();
    drawLegend(this);
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
    this.reported = this.where();
  }

  where() {
    const { layer, step, token } = this.state;
    return JSON.stringify({ layer, step, token: token < 0 ? null : token });
  }

  /** A moment after the hand has rested: say where we are, to ears and to the page. Not while the film runs. */
  settle() {
    clearTimeout(this.resting);
    if (this.playing || this.dragging) return;
    this.resting = setTimeout(() => {
      const { run, state } = this;
      if (this.playing || this.dragging || run.running || !run.Q) return;
      this.canvas.setAttribute("aria-label", `Layer by token heatmap, lifelines of layer ${state.layer} and entries held, at step ${state.step}. ${this.story.textContent}`);
      const here = this.where();
      if (here === this.reported) return;
      this.reported = here;
      write(this.spoken, `Layer ${state.layer} holds ${this.counts.held[state.layer * run.Q + state.step]} of ${this.counts.read[state.step]}. ${this.story.textContent}`);
      if (this.options.report) this.options.report(JSON.parse(here));
    }, REST);
  }

  say() {
    const { run } = this;
    let held = 0;
    for (let l = 0; l < run.L; l++) for (let j = 0; j < run.Q; j++) held += run.death[l * run.T + j] === ALIVE;
    write(this.summary, run.Q ? `${run.T} tokens, ${run.prompt} of them written by you, ${run.L} layers. At the last step, ${run.Q - 1}, the layers together hold ${held} of ${run.L * run.Q} entries.` : "Nothing has been read yet.");
    write(this.label, run.label);
  }

  recount() {
    const { run, state } = this, everyone = new Uint8Array(run.T).fill(1);
    this.shown = state.groups ? run.group.map((g) => (state.groups >> g) & 1) : everyone;
    this.counts = count(run, this.shown);
    this.whole = state.groups ? count(run, everyone) : this.counts;
  }

  refilter() {
    this.recount();
    this.stale = true;
    drawLegend(this);
    this.draw();
  }

  rank(l) { return this.ranks[l] || (this.ranks[l] = rank(this.run, l)); }

  // ---- moving

  set(key, value) {
    this.state[key] = value;
    this.stale = true;
    drawLegend(this);
    if (RELAYS[key]) { this.text.lay(key === "grain"); this.text.followed = -1; }
    if (key === "speed" && this.playing) this.begin();
    this.draw();
  }

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
    this.begin();
    showPlay(this);
    this.draw();
  }

  begin() { this.playing = performance.now(); this.playFrom = this.state.step; }

  stop() { this.playing = 0; showPlay(this); this.settle(); }

  /** Choose a token; choosing the chosen one again lets it go, unless it is to `stay`. */
  pick(token, stay = false) {
    this.state.token = token === this.state.token && !stay ? -1 : token;
    this.draw();
  }

  key(event) { onKey(this, event); }

  setLayer(l) {
    const layer = clamp(l, 0, this.run.L - 1);
    if (layer !== this.state.layer) { this.state.layer = layer; this.stale = true; drawLegend(this); }
    this.draw();
  }

  token(x) { const { x0, cw } = this.geo, v = this.window(); return clamp(v[0] + (x - x0) / cw, 0, this.run.domain - 1e-6); }

  X(j) { return this.geo.x0 + (j - this.window()[0]) * this.geo.cw; }

  // ---- drawing

  draw() {
    this.settle();
    this.again();
  }

  again() { if (!this.frame && this.run) this.frame = requestAnimationFrame((now) => { this.frame = 0; this.render(now); }); }

  render(now) {
    if (!this.width) return;
    const began = performance.now();
    this.advance(now);
    this.layout();
    if (this.stale) { paintLives(this); paintMemory(this); paintPos(this); this.stale = false; }
    // The canvas first: setting its font after the page has changed would work out all styles at once.
    this.drawStage();
    drawTiles(this);
    this.text.draw();
    drawStory(this);
    this.drawScrub();
    drawTip(this);
    this.cost = performance.now() - began;
  }

  /** The next step of a film, or of a run that streams in. */
  advance(now) {
    const { run, state } = this, last = run.Q - 1;
    if (this.playing) {
      // Who asked for less motion sees two pictures a second.
      const seconds = (now - this.playing) / 1000, passed = this.still.matches ? Math.floor(2 * seconds) / 2 : seconds;
      const step = Math.max(this.playFrom, Math.floor(this.playFrom + passed * clamp(run.Q / 14, 8, 400) * state.speed));
      if (step >= last) { this.go(last, true); this.stop(); } else { state.step = step; this.again(); }
      const v = this.window();
      if (this.view && (state.step < v[0] || state.step >= v[1] - 1)) this.pan(state.step - v[0] - 1);
    } else if (run.running && state.follow && state.step < last) {
      // Payloads arrive a few times a second; stepping through them lets the text flow instead of jump.
      state.step = this.still.matches ? last : Math.min(last, state.step + Math.max(1, Math.ceil((last - state.step) / 9)));
      this.again();
    }
  }

  layout() {
    const W = this.width, narrow = W < 620, { L } = this.run, arcs = this.state.arcs === "on";
    const x0 = narrow ? 40 : 72, x1 = W - (narrow ? 58 : 76), v = this.window();
    const lh = L <= 12 ? 22 : L <= 16 ? 18 : L <= 26 ? 13 : 8;
    const map = 57, heat = 86, pos = heat + L * lh + 9, posH = 25, arc = pos + posH + 38, arcH = arcs ? 76 : 0, life = arcs ? arc + arcH + 44 : pos + posH + 40, lifeH = narrow ? 170 : 220, mem = life + lifeH + 42, memH = 96;
    const H = mem + memH + 10, ratio = Math.min(3, devicePixelRatio || 1);
    this.geo = { W, H, narrow, x0, x1, lh, map, heat, pos, posH, arc, arcH, life, lifeH, mem, memH, ratio, cw: (x1 - x0) / (v[1] - v[0]) };
    const w = Math.round(W * ratio), h = Math.round(H * ratio);
    if (this.canvas.width !== w || this.canvas.height !== h) {
      this.canvas.width = w; this.canvas.height = h;
      this.canvas.style.height = `${H}px`;
      this.scrub.style.left = `${x0}px`;
      this.scrub.style.width = `${x1 - x0}px`;
      this.stale = true;
    }
    if (this.stale || !this.px) this.px = columns(this, x1 - x0);
  }

  /** The few strokes that all panels share. Left of `split` a picture is solid, right of it a ghost. */
  pen() {
    const { ctx, css, geo, state, sans } = this, x = this.X(state.step) + geo.cw / 2, split = (this.X(state.step + 1) - geo.x0) / (geo.x1 - geo.x0);
    return {
      x, split,
      font: (weight = 400, points = 12) => { ctx.font = `${weight} ${points}px ${sans}`; },
      text: (t, at, y, align = "left", fill = css.soft) => { ctx.textAlign = align; ctx.fillStyle = fill; ctx.fillText(t, at, y); },
      line: (xa, ya, xb, yb, stroke, width = 1, dash = []) => { ctx.strokeStyle = stroke; ctx.lineWidth = width; ctx.setLineDash(dash); ctx.beginPath(); ctx.moveTo(xa, ya); ctx.lineTo(xb, yb); ctx.stroke(); ctx.setLineDash([]); },
      blit: ({ canvas }, at, y, w, h, ghost) => {
        const sw = canvas.width, cut = Math.round(sw * clamp(split, 0, 1)), cw = (w * cut) / sw;
        if (cut > 0) ctx.drawImage(canvas, 0, 0, cut, canvas.height, at, y, cw, h);
        if (cut < sw && ghost) { ctx.globalAlpha = ghost; ctx.drawImage(canvas, cut, 0, sw - cut, canvas.height, at + cw, y, w - cw, h); ctx.globalAlpha = 1; }
      },
    };
  }

  drawStage() {
    const { run, state, geo, ctx } = this;
    ctx.setTransform(geo.ratio, 0, 0, geo.ratio, 0, 0);
    ctx.clearRect(0, 0, geo.W, geo.H);
    ctx.imageSmoothingEnabled = false;
    ctx.textBaseline = "middle";
    const pen = this.pen();
    if (!run.Q) { pen.font(); pen.text("Nothing has been read yet.", geo.x0, geo.heat); return; }
    drawAxis(this, pen);
    drawHeat(this, pen);
    if (state.arcs === "on") drawArcs(this, pen);
    drawLives(this, pen);
    drawMemory(this, pen);
    this.drawAcross(pen);
  }

  /** What crosses all panels: the seam, the hovered and the chosen column, the scrubber. */
  drawAcross(pen) {
    const { run, state, geo, css, ctx } = this, { T } = run, { x0, x1, heat, lh } = geo, v = this.window(), s = state.step, bottom = geo.mem + geo.memH;
    const inView = (j) => j >= v[0] - 1 && j <= v[1], cw = Math.max(1, geo.cw);
    if (run.prompt > v[0] && run.prompt < Math.min(v[1], Math.max(T, run.domain))) pen.line(this.X(run.prompt), 4, this.X(run.prompt), bottom, css.soft, 1);
    if (this.hover && this.hover.panel !== "memory" && inView(this.hover.token)) {
      ctx.globalAlpha = 0.1; ctx.fillStyle = css.ink; ctx.fillRect(this.X(this.hover.token), heat, cw, bottom - heat); ctx.globalAlpha = 1;
    }
    const j = state.token;
    if (j >= 0) {
      ctx.lineWidth = 1.6; ctx.strokeStyle = css.sel;
      if (inView(j)) ctx.strokeRect(this.X(j) - 1.2, heat - 1.2, cw + (geo.cw > 3 ? 1.6 : 2.4), geo.pos + geo.posH - heat + 2.4);
      ctx.strokeStyle = css.by;
      const d = run.death[state.layer * T + j], y = heat + state.layer * lh;
      if (d <= s && inView(d)) { ctx.lineWidth = 2; ctx.strokeRect(this.X(d) - 1, y + 1, Math.max(3, geo.cw) + 1, lh - 2); }
      if (j < run.Q && j <= s) {
        // What it dropped, in every layer: a dashed frame.
        ctx.lineWidth = 1.4; ctx.setLineDash([2, 2]);
        for (let l = 0; l < run.L; l++) for (const k of dropped(run, l, j)) if (inView(k)) ctx.strokeRect(this.X(k) - 0.5, heat + l * lh + 2, Math.max(3, geo.cw), lh - 4);
        ctx.setLineDash([]);
      }
    }
    if (pen.x >= x0 - 1 && pen.x <= x1 + 1) { ctx.globalAlpha = 0.6; pen.line(pen.x, 44, pen.x, bottom, css.ink, 1, [3, 3]); ctx.globalAlpha = 1; }
  }

  drawScrub() {
    const { run, state, geo, grip, scrub } = this, s = state.step, v = this.window(), text = String(s);
    write(grip, text);
    grip.style.left = `${clamp(this.X(s) + geo.cw / 2 - geo.x0, 0, geo.x1 - geo.x0)}px`;
    grip.style.visibility = s < v[0] - 1 || s > v[1] ? "hidden" : "";
    attribute(scrub, "aria-valuemin", "0");
    attribute(scrub, "aria-valuemax", String(Math.max(0, run.Q - 1)));
    attribute(scrub, "aria-valuenow", text);
    attribute(scrub, "aria-valuetext", run.Q ? `step ${s} of ${run.Q - 1}, ${piece(run, s)} was read` : "no steps");
    const hidden = !(run.running && !state.follow);
    if (this.newest.hidden !== hidden) this.newest.hidden = hidden;
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

/** Streamlit component: called again with every new payload; the view and its state stay.

It sets the state "at" to { layer, step, token } when the hand has rested, and "broken" to true where
the browser cannot draw. */
export default function component({ parentElement, data, setStateValue }) {
  let view = views.get(parentElement);
  if (!view || !view.box.isConnected) {
    try { view = new View(parentElement, { theme: streamlitTheme(parentElement) }); } catch (error) {
      console.error(error);
      setStateValue("broken", true);
      return undefined;
    }
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
