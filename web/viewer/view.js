// The linked view: running text, layer x token heatmap, lifelines and memory on one shared axis.
//
// Holds the state and what changes it. One redraw per animation frame; what does not depend on the
// step is painted once, in pixels kept offscreen. What it is told: run.js; where it draws: stage.js.

import { RELAYS } from "./choices.js";
import { build } from "./controls.js";
import { count, rank } from "./counts.js";
import { write } from "./dom.js";
import { advance, begin, play, stop } from "./film.js";
import { listen, onKey } from "./hands.js";
import { paintPos } from "./lanes.js";
import { drawLegend } from "./legend.js";
import { paintLives } from "./lives.js";
import { paintMemory } from "./memory.js";
import { Pixels } from "./pixels.js";
import { middling, refusal, unpack } from "./run.js";
import { drawScrub, drawStage, layout } from "./stage.js";
import { drawStory } from "./story.js";
import { settle, summarise, whereIs } from "./telling.js";
import { applyTheme } from "./theme.js";
import { drawTiles } from "./tiles.js";
import { drawTip } from "./tip.js";
import { clamp } from "./values.js";

const FIRST = {
  step: 0,
  layer: -1,
  token: -1,
  text: "share",
  grain: "word",
  density: "normal",
  colour: "state",
  life: "lives",
  arcs: "off",
  speed: 1,
  groups: 0,
  follow: true,
  placed: null,
};

// The state of the last few runs looked at: a view that the page takes away and puts back, or a run
// that is left and opened again, is as it was.
const remembered = new Map();

export class View {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.state = { ...FIRST };
    this.view = this.hover = this.run = null;
    this.frame = this.playing = 0;
    this.buffers = Object.fromEntries(
      ["heat", "bars", "live", "marks", "memory", "pos"].map((k) => [k, new Pixels()]),
    );
    build(this);
    listen(this);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    // The width is read here, where the page is laid out: asking at every frame would lay it out again.
    this.width = this.canvas.clientWidth;
    this.resize = new ResizeObserver(() => {
      this.width = this.canvas.clientWidth;
      this.box.toggleAttribute("data-narrow", this.box.clientWidth < 640);
      this.refit();
    });
    this.resize.observe(this.box);
    this.refit = () => {
      this.text.remeasure();
      this.stale = true;
      this.draw();
    };
    document.fonts?.addEventListener("loadingdone", this.refit);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.onTheme = () => this.theme(this.options.theme);
    this.dark.addEventListener("change", this.onTheme);
    this.theme(options.theme);
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.resting);
    this.text.stop();
    this.resize.disconnect();
    document.fonts?.removeEventListener("loadingdone", this.refit);
    this.dark.removeEventListener("change", this.onTheme);
    this.box.remove();
  }

  theme(name) {
    this.options.theme = name;
    applyTheme(this, name);
    this.stale = true;
    drawLegend(this);
    this.draw();
  }

  // ---- data in

  update(payload) {
    const problem = refusal(payload);
    write(this.notice, problem);
    this.box.toggleAttribute("data-refused", !!problem);
    if (problem) return;
    const fresh = this.run?.id !== payload.id,
      wasRunning = this.run?.running;
    // Each run has a state object of its own, so that one that is left keeps what it had.
    if (fresh) this.state = { ...this.state };
    this.run = unpack(payload);
    const { run, state } = this;
    if (fresh) this.begun();
    state.step = clamp(state.step, 0, Math.max(0, run.Q - 1));
    if (!run.running && wasRunning && state.follow) state.step = run.Q - 1;
    this.ranks = [];
    this.told = "";
    this.text.lay(fresh);
    this.recount();
    drawLegend(this);
    summarise(this);
    if (fresh || run.running || wasRunning) this.reported = this.where();
    this.place(payload.at);
    this.stale = true;
    this.draw();
  }

  /** A run not shown before, or not for a while. */
  begun() {
    const { run, state } = this;
    Object.assign(state, { token: -1, follow: run.running, groups: 0, placed: null });
    state.step = run.running ? 0 : run.Q - 1;
    if (state.layer < 0 || state.layer >= run.L) state.layer = middling(run);
    Object.assign(state, remembered.get(run.id));
    remembered.set(run.id, state);
    if (remembered.size > 8) remembered.delete(remembered.keys().next().value);
    this.view = null;
    this.stop();
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
    return whereIs(this.state);
  }

  settle() {
    settle(this);
  }

  recount() {
    const { run, state } = this,
      everyone = new Uint8Array(run.T).fill(1);
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

  rank(l) {
    this.ranks[l] ??= rank(this.run, l);
    return this.ranks[l];
  }

  // ---- moving

  set(key, value) {
    this.state[key] = value;
    this.stale = true;
    drawLegend(this);
    if (RELAYS[key]) {
      this.text.lay(key === "grain");
      this.text.remeasure();
    }
    if (key === "speed" && this.playing) this.begin();
    this.draw();
  }

  go(step, keepFollow = false) {
    const last = this.run.Q - 1;
    this.state.step = clamp(step, 0, Math.max(0, last));
    if (!keepFollow) this.state.follow = this.run.running && this.state.step === last;
    const v = this.window();
    if (this.view && (this.state.step < v[0] || this.state.step >= v[1] - 1))
      this.zoom(1, this.state.step);
    this.draw();
  }

  /** The tokens in view, [first, last). */
  window() {
    return this.view || [0, this.run.domain];
  }

  /** Show fewer tokens (factor > 1) or more, with token `centre` staying where it is. */
  zoom(factor, centre = this.state.step) {
    const [a, b] = this.window(),
      D = this.run.domain,
      span = clamp((b - a) / factor, Math.min(D, 16), D);
    if (span >= D) this.view = null;
    else {
      const f = factor === 1 ? 0.5 : clamp((centre - a) / (b - a), 0, 1),
        start = clamp(centre - f * span, 0, D - span);
      this.view = [start, start + span];
    }
    this.stale = true;
    this.draw();
  }

  pan(tokens) {
    if (!this.view) return;
    const [a, b] = this.view,
      start = clamp(a + tokens, 0, this.run.domain - (b - a));
    this.view = [start, start + b - a];
    this.stale = true;
    this.draw();
  }

  play() {
    play(this);
  }

  begin() {
    begin(this);
  }

  stop() {
    stop(this);
  }

  /** Choose a token; choosing the chosen one again lets it go, unless it is to `stay`. */
  pick(token, stay = false) {
    this.state.token = token === this.state.token && !stay ? -1 : token;
    this.draw();
  }

  key(event) {
    onKey(this, event);
  }

  setLayer(l) {
    const layer = clamp(l, 0, this.run.L - 1);
    if (layer !== this.state.layer) {
      this.state.layer = layer;
      this.stale = true;
      drawLegend(this);
    }
    this.draw();
  }

  token(x) {
    const { x0, cw } = this.geo,
      v = this.window();
    return clamp(v[0] + (x - x0) / cw, 0, this.run.domain - 1e-6);
  }

  X(j) {
    return this.geo.x0 + (j - this.window()[0]) * this.geo.cw;
  }

  // ---- drawing

  draw() {
    this.settle();
    this.again();
  }

  again() {
    if (!this.frame && this.run)
      this.frame = requestAnimationFrame((now) => {
        this.frame = 0;
        this.render(now);
      });
  }

  render(now) {
    if (!this.width) return;
    const began = performance.now();
    this.advance(now);
    layout(this);
    if (this.stale) {
      paintLives(this);
      paintMemory(this);
      paintPos(this);
      this.stale = false;
    }
    // The canvas first: setting its font after the page has changed would work out all styles at once.
    drawStage(this);
    drawTiles(this);
    this.text.draw();
    drawStory(this);
    drawScrub(this);
    drawTip(this);
    this.cost = performance.now() - began;
  }

  advance(now) {
    advance(this, now);
  }
}
