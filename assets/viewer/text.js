// The running text: units fade with every layer that drops them and are struck when none is left.
//
// Only units in sight are dressed. Bits of a code: 0-3 shade, then the names of MARKS.

const MARKS = ["fut", "out", "hit", "now", "sel", "by", "gen", "dim", "vic"];
const [FUTURE, OUT, HIT, NOW, CHOSEN, BY, WRITTEN, DIM, VICTIM] = MARKS.map((_, i) => 16 << i);

class TextPanel {
  constructor(view) {
    this.view = view;
    this.laid = [];
    this.box = node("div", "text");
    this.box.setAttribute("role", "region");
    this.box.setAttribute("aria-label", "The running text; struck words are dropped");
    this.box.tabIndex = 0;
  }

  /** Build the text, keeping every unit that did not change. */
  lay(fresh) {
    const { run, state } = this.view, { box } = this;
    if (fresh) { box.replaceChildren(); this.laid = []; this.seam = null; this.tail = null; }
    this.cut(state.grain);
    let same = 0;
    while (same < this.laid.length && same < this.units.length && this.laid[same].key === this.units[same].key) same++;
    for (const old of this.laid.splice(same)) { old.space.remove(); old.el.remove(); }
    if (this.tail) this.tail.remove();
    if (this.seam && !this.laid.some((x) => x.seam)) { this.seam.remove(); this.seam = null; }
    const more = document.createDocumentFragment();
    for (let u = same; u < this.units.length; u++) this.add(more, this.units[u]);
    const end = this.units.length ? this.units[this.units.length - 1].end : 0;
    this.tail = document.createTextNode(run.text.slice(end));
    more.append(this.tail);
    box.append(more);
    this.tops = null;
    box.classList.toggle("long", run.T > 900);
    box.dataset.grain = state.grain;
    // While text streams in, room for all of it is kept, so that nothing below moves.
    const perLine = Math.max(20, box.clientWidth / 7.9);
    const lines = Math.ceil((run.text.length * run.domain) / Math.max(1, run.T) / perLine + 0.7);
    if (run.running) box.style.minHeight = `${Math.min(352, 28 + 29.75 * lines)}px`;
    else if (fresh) box.style.minHeight = "";
  }

  cut(grain) {
    const { run } = this.view, { L, T, death } = run;
    this.units = cut(run, grain);
    const U = this.units.length;
    // A word is gone from a layer when its last living token is; a sentence counts its entries.
    this.last = grain === "sentence" ? null : new Int32Array(L * U);
    if (!this.last) return;
    for (let l = 0; l < L; l++) {
      for (let u = 0; u < U; u++) {
        let last = 0;
        for (const part of this.units[u].parts) for (let j = part.first; j <= part.last; j++) last = Math.max(last, death[l * T + j]);
        this.last[l * U + u] = last;
      }
    }
  }

  add(to, unit) {
    const { run } = this.view, el = node("span", "u"), space = document.createTextNode(run.text.slice(unit.gap, unit.start));
    const made = { key: unit.key, space, el, code: -1, seam: false, parts: null };
    to.append(space);
    if (!this.seam && run.prompt > 0 && run.prompt < run.T && unit.parts[0].first >= run.prompt) {
      this.seam = node("span", "seam", "the model wrote");
      this.seam.setAttribute("aria-hidden", "true");
      to.append(this.seam);
      made.seam = true;
    }
    if (unit.parts.length === 1) { el.textContent = run.text.slice(unit.start, unit.end); el.dataset.t = unit.parts[0].first; } else {
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

  /** The share of unit u that is held at step s: of layers, or of a sentence's entries. */
  held(u, s, layers) {
    const { L, T, death } = this.view.run, U = this.units.length;
    let n = 0, all = 0;
    for (const l of layers) {
      if (this.last) { all++; n += this.last[l * U + u] > s; } else for (const { first, last } of this.units[u].parts) for (let j = first; j <= Math.min(last, s); j++) { all++; n += death[l * T + j] > s; }
    }
    return n / Math.max(1, all);
  }

  draw() {
    const { run, state, shown } = this.view, { L, T, Q } = run, s = state.step, chosen = state.token;
    const layers = state.text === "share" ? Array.from({ length: L }, (_, l) => l) : [state.layer];
    const marks = this.marks && this.marks.length === T ? this.marks.fill(0) : (this.marks = new Uint16Array(T));
    if (Q) {
      for (const l of layers) {
        for (const j of dropped(run, l, s)) marks[j] |= HIT;
        if (chosen < 0) continue;
        if (run.death[l * T + chosen] <= s) marks[run.death[l * T + chosen]] |= BY;
        if (chosen < Q && chosen <= s) for (const j of dropped(run, l, chosen)) marks[j] |= VICTIM;
      }
      marks[s] |= NOW;
    }
    if (chosen >= 0) marks[chosen] |= CHOSEN;
    const [from, to] = this.follow(s);
    for (let u = from; u < to; u++) {
      const { parts } = this.units[u], it = this.laid[u], first = parts[0].first;
      let code = first >= run.prompt ? WRITTEN : 0;
      if (first > s) code |= FUTURE;
      else {
        const part = this.held(u, s, layers);
        code |= Math.ceil(8 * part - 0.5) | (part === 0 ? OUT : 0) | (shown[first] ? 0 : DIM);
      }
      if (it.parts) parts.forEach((q, i) => this.dress(it.parts[i], this.marked(q) | (q.first > s && first <= s ? FUTURE : 0), ""));
      else code |= this.marked(parts[0]);
      this.dress(it, code, "u");
    }
    this.box.classList.toggle("live", run.running && state.follow);
  }

  marked({ first, last }) {
    let code = 0;
    for (let j = first; j <= last; j++) code |= this.marks[j];
    return code;
  }

  dress(thing, code, base) {
    if (thing.code === code) return;
    thing.code = code;
    const names = MARKS.filter((_, i) => code & (16 << i));
    thing.el.className = `${base}${code & FUTURE || !base ? "" : ` k${code & 15}`} ${names.join(" ")}`.trim();
  }

  /** Keep the current word in sight inside the box; give the units worth dressing: those in sight. */
  follow(s) {
    const { laid, box } = this, U = this.units.length, width = this.view.geo.W;
    if (!this.tops || this.tops.width !== width) {
      const offset = box.offsetTop;
      const at = Float32Array.from(laid, (x) => x.el.offsetTop - offset), token = new Float32Array(this.view.run.T);
      // A sentence has lines of its own: the word in it is what must stay in sight.
      this.units.forEach(({ parts }, u) => parts.forEach((q, i) => token.fill(laid[u].parts ? laid[u].parts[i].el.offsetTop - offset : at[u], q.first, q.last + 1)));
      this.tops = { at, token, width, view: box.clientHeight, all: box.scrollHeight };
      this.scrolled = box.scrollTop;
    }
    const { at, token, view, all } = this.tops;
    if (all <= view + 4) return [0, U];
    if (this.followed !== s && (token[s] < this.scrolled + 8 || token[s] > this.scrolled + view - 48)) {
      this.scrolled = clamp(token[s] - view * 0.55, 0, all - view);
      box.scrollTop = this.scrolled;
    }
    this.followed = s;
    const from = Math.max(0, search(U, (u) => at[u], this.scrolled - 60) - 1);
    return [from, Math.max(from, search(U, (u) => at[u], this.scrolled + view + 60))];
  }

  listen() {
    const { view, box } = this, word = (e) => { const t = e.target.closest && e.target.closest("[data-t]"); return t ? Number(t.dataset.t) : -1; };
    box.addEventListener("click", (e) => { const j = word(e); if (j >= 0) view.pick(j); });
    box.addEventListener("pointermove", (e) => {
      const j = word(e), r = view.stage.getBoundingClientRect();
      const hover = j < 0 ? null : { token: j, layer: view.state.layer, panel: "text", x: e.clientX - r.left, y: e.clientY - r.top };
      if ((hover && hover.token) !== (view.hover && view.hover.token)) { view.hover = hover; view.draw(); }
    });
    box.addEventListener("scroll", () => { this.scrolled = box.scrollTop; view.draw(); }, { passive: true });
    box.addEventListener("pointerleave", () => { view.hover = null; view.draw(); });
    box.addEventListener("keydown", (e) => { if (e.key === "Escape") view.key(e); });
  }
}
