// The linked view: running text, layer x token heatmap, lifelines and memory on one shared axis.
//
// Holds the state and what changes it. One redraw per animation frame; what does not depend on the
// step is painted once, in pixels kept offscreen. What it is told and shows: data.js, stage.js.

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
      if (state.layer < 0 || state.layer >= run.L) state.layer = middling(run);
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
    layout(this);
    if (this.stale) { paintLives(this); paintMemory(this); paintPos(this); this.stale = false; }
    // The canvas first: setting its font after the page has changed would work out all styles at once.
    drawStage(this);
    drawTiles(this);
    this.text.draw();
    drawStory(this);
    drawScrub(this);
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
}
