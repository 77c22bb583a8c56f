// The running text: each unit bears a bar, the share of it that is held, fades with it, and is struck
// when nothing of it is left.
//
// Every unit is dressed: those in sight in the same frame, the others of a long text in the frames
// that follow, or once the step rests where it moves. Where a unit lies decides only what comes first
// and where the box scrolls.

import { node } from "./dom.js";
import { dress, layersOf, markTokens, partState, unitState } from "./dress.js";
import { listenText, moves } from "./text_hands.js";
import { cut } from "./units.js";
import { clamp, search } from "./values.js";

/** So many units are dressed in a frame beside those in sight. */
const SLICE = 600;
/** So many units are children of one node: a browser that restyles one of them looks at all. */
const BUNCH = 64;

export class TextPanel {
  constructor(view) {
    this.view = view;
    this.laid = [];
    this.units = [];
    this.left = this.cursor = this.sweeping = 0;
    this.drawn = -1;
    this.resting = this.calm = 0;
    this.moving = false;
    this.over = false;
    this.box = node("div", "text");
    this.box.setAttribute("role", "region");
    this.box.setAttribute("aria-label", "The running text; struck words are dropped");
    this.box.tabIndex = 0;
  }

  /** Build the text, keeping every unit that did not change. */
  lay(fresh) {
    const { run, state } = this.view,
      { box } = this;
    if (fresh) {
      box.replaceChildren();
      this.laid = [];
      this.bunch = null;
      this.seam = null;
      this.tail = null;
    }
    this.units = cut(run, state.grain);
    this.marks = new Uint16Array(run.T);
    let same = 0;
    while (
      same < this.laid.length &&
      same < this.units.length &&
      this.laid[same].key === this.units[same].key
    )
      same++;
    for (const old of this.laid.splice(same)) {
      old.space.remove();
      old.el.remove();
    }
    this.bunch = this.laid.at(-1)?.el.parentNode;
    if (this.tail) this.tail.remove();
    if (this.seam && !this.laid.some((x) => x.seam)) {
      this.seam.remove();
      this.seam = null;
    }
    const more = document.createDocumentFragment();
    for (let u = same; u < this.units.length; u++) {
      if (!this.bunch || u % BUNCH === 0) more.append((this.bunch = node("span")));
      this.add(this.bunch, this.units[u]);
    }
    const end = this.units.length ? this.units[this.units.length - 1].end : 0;
    this.tail = document.createTextNode(run.text.slice(end));
    more.append(this.tail);
    box.append(more);
    this.places = null;
    box.classList.toggle("long", run.T > 900);
    box.dataset.grain = state.grain;
    // While text streams in, room for all of it is kept, so that nothing below moves.
    const perLine = Math.max(20, box.clientWidth / 7.9);
    const lines = Math.ceil((run.text.length * run.domain) / Math.max(1, run.T) / perLine + 0.7);
    if (run.running) box.style.minHeight = `${Math.min(this.most(), 28 + 29.75 * lines)}px`;
    else if (fresh) box.style.minHeight = "";
  }

  most() {
    return Number.parseFloat(getComputedStyle(this.box).maxHeight) || 352;
  }

  add(to, unit) {
    const { run } = this.view,
      el = node("span", "u"),
      space = document.createTextNode(run.text.slice(unit.gap, unit.start));
    const made = { key: unit.key, space, el, code: -1, seam: false, parts: null };
    to.append(space);
    if (!this.seam && run.prompt > 0 && run.prompt < run.T && unit.parts[0].first >= run.prompt) {
      this.seam = node("span", "seam", "the model wrote");
      this.seam.setAttribute("aria-hidden", "true");
      to.append(this.seam);
      made.seam = true;
    }
    if (unit.parts.length === 1) {
      el.textContent = run.text.slice(unit.start, unit.end);
      el.dataset.t = unit.parts[0].first;
    } else {
      let at = unit.start;
      made.parts = unit.parts.map((q) => {
        const s = node("span", "", run.text.slice(q.start, q.end));
        s.dataset.t = q.first;
        el.append(run.text.slice(at, q.start), s);
        at = q.end;
        return { el: s, code: -1 };
      });
    }
    to.append(el);
    this.laid.push(made);
  }

  draw() {
    const { run, state } = this.view;
    this.layers = layersOf(this.view);
    markTokens(this.view, this.layers, this.marks);
    if (state.step !== this.drawn) moves(this);
    this.drawn = state.step;
    const [from, to] = this.inSight(state.step);
    for (let u = from; u < to; u++) this.dress(u);
    this.left = this.units.length;
    this.sweep();
    this.box.classList.toggle("live", run.running && state.follow);
  }

  dress(u) {
    const { parts } = this.laid[u],
      unit = this.units[u];
    if (parts)
      for (let i = 0; i < parts.length; i++)
        dress(parts[i], partState(unit.parts[i], unit, this.view.state.step, this.marks), "");
    dress(this.laid[u], unitState(this.view, unit, this.layers, this.marks), "u");
  }

  /** Dress the next slice of the whole text, going round, until all of it has been since `draw`. */
  sweep() {
    if (this.moving) return;
    const U = this.units.length;
    for (let n = Math.min(SLICE, this.left); n > 0; n--, this.left--) {
      this.cursor = (this.cursor + 1) % U;
      this.dress(this.cursor);
    }
    if (!this.left || this.sweeping) return;
    this.sweeping = requestAnimationFrame(() => {
      this.sweeping = 0;
      this.sweep();
    });
  }

  stop() {
    cancelAnimationFrame(this.sweeping);
    cancelAnimationFrame(this.calm);
    clearTimeout(this.resting);
    this.sweeping = this.left = 0;
  }

  /** Keep the current word in sight inside the box; give the units that are: [from, to). */
  inSight(s) {
    const U = this.units.length,
      { at, token, height, all } = this.measured();
    if (all <= height + 4) return [0, U];
    const { box } = this;
    if (
      this.followed !== s &&
      (token[s] < this.scrolled + 8 || token[s] > this.scrolled + height - 48)
    ) {
      this.scrolled = clamp(token[s] - height * 0.55, 0, all - height);
      box.scrollTop = this.scrolled;
    }
    this.followed = s;
    const from = Math.max(0, search(U, (u) => at[u], this.scrolled - 60) - 1);
    return [
      from,
      Math.max(
        from,
        search(U, (u) => at[u], this.scrolled + height + 60),
      ),
    ];
  }

  /** Where units and tokens begin, in pixels from the top of the text: asked of the page once. */
  measured() {
    const { laid, box } = this,
      { width } = this.view;
    if (this.places && this.places.width === width) return this.places;
    // The box is positioned (viewer.css), so it is what offsetTop counts from.
    const at = Float32Array.from(laid, (x) => x.el.offsetTop),
      token = new Float32Array(this.view.run.T);
    // A sentence has lines of its own: the word in it is what must stay in sight.
    for (let u = 0; u < this.units.length; u++)
      for (const [i, q] of this.units[u].parts.entries())
        token.fill(laid[u].parts ? laid[u].parts[i].el.offsetTop : at[u], q.first, q.last + 1);
    this.places = { at, token, width, height: box.clientHeight, all: box.scrollHeight };
    this.scrolled = box.scrollTop;
    return this.places;
  }

  /** The text has other measures now: another width, size or font. */
  remeasure() {
    this.places = null;
    this.followed = -1;
  }

  listen() {
    listenText(this);
  }
}
