// The linked view: running text, layer x token heatmap, lifelines and memory on one shared axis.
//
// Holds the state and what changes it. One redraw per animation frame; what does not depend on the
// step is painted once, in pixels kept offscreen. What it is told: run.js; where it draws: stage.js.

import { FIRST, RELAYS } from "./choices.js";
import { build } from "./controls.js";
import { count, rank } from "./counts.js";
import { advance, begin, play, stop } from "./film.js";
import { listen } from "./hands.js";
import { take } from "./intake.js";
import { drawLegend } from "./legend.js";
import { drawLine } from "./line.js";
import { Pixels } from "./pixels.js";
import { drawScrub, drawStage, layout, paint } from "./stage.js";
import { drawStory } from "./story.js";
import { settle, whereIs } from "./telling.js";
import { applyTheme } from "./theme.js";
import { drawTiles } from "./tiles.js";
import { drawTip } from "./tip.js";
import { clamp } from "./values.js";

export class View {
  constructor(root, options = {}) {
    this.root = root;
    this.options = options;
    this.state = { ...FIRST };
    this.view = this.hover = this.run = this.heat = null;
    this.frame = this.playing = 0;
    this.buffers = Object.fromEntries(
      ["heat", "bars", "live", "marks", "memory", "pos", "track"].map((k) => [k, new Pixels()]),
    );
    build(this);
    listen(this);
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    // The width is read here, where the page is laid out: asking at every frame would lay it out again.
    this.width = this.canvas.clientWidth;
    this.resize = new ResizeObserver(() => {
      this.width = this.canvas.clientWidth;
      const narrow = this.box.clientWidth < 640;
      this.box.toggleAttribute("data-narrow", narrow);
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

  /** Show a payload: the same run grown, or another one. */
  update(payload) {
    take(this, payload);
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
    if (this.stale) paint(this);
    this.stale = false;
    // The canvas first: setting its font after the page has changed would work out all styles at once.
    drawStage(this);
    drawLine(this);
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
