// What all pictures of the method draw with: SVG nodes, sliders, a frame that follows its width.
//
// Concatenated before pictures.js. Text only ever enters through textContent.

const NS = "http://www.w3.org/2000/svg";

function shape(tag, attributes = {}, text) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

const bound = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
const signed = (v, digits = 2) => `${v < 0 ? "−" : ""}${Math.abs(v).toFixed(digits)}`;
const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;
const line = (x1, y1, x2, y2, name) => shape("line", { x1, y1, x2, y2, class: name });
const rect = (x, y, width, height, name, more = {}) => shape("rect", { x, y, width: Math.max(0, width), height: Math.max(0, height), class: name, ...more });
const path = (points, name) => shape("path", { d: points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join(""), class: name });
const say = (x, y, text, name = "", anchor = "start") => shape("text", { x, y, class: name, "text-anchor": anchor }, text);

function kib(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024 ? `${(n / 1024).toFixed(n < 10240 ? 1 : 0)} KiB` : `${(n / 1048576).toFixed(1)} MiB`;
}

// A token's name: control characters would hide or reorder what a sentence says.
function named(piece) {
  const shown = piece.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "�");
  return shown.trim() || (shown ? "␣" : "·");
}

// An asterisk would be taken for the mark of bold.
const quoted = (piece) => `“${named(piece).replaceAll("*", "∗")}”`;
const cut = (text, room) => (text.length <= room ? text : room < 2 ? "" : `${text.slice(0, room - 1)}…`);

/** One picture: an SVG as wide as its box, a sentence that says what it shows, controls. */
class Picture {
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
    if (width && width !== this.width) { this.width = width; this.draw(); }
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
    this.said.replaceChildren(...text.split("*").map((part, i) => (i % 2 ? element("b", "", part) : part)));
  }

  slider(name, { min, max, step, value, label }, act) {
    const row = element("label"), input = element("input"), out = element("output");
    input.type = "range";
    Object.assign(input, { min, max, step });
    input.value = value;
    const set = () => { out.textContent = label(+input.value); input.setAttribute("aria-valuetext", out.textContent); };
    input.addEventListener("input", () => { set(); act(+input.value); this.draw(); });
    set();
    row.append(element("span", "", name), input, out);
    this.controls.append(row);
    return { input, move: (v) => { input.value = v; set(); act(+input.value); this.draw(); } };
  }

  /** A play button that moves a slider until its end. */
  player(slider, milliseconds) {
    const button = element("button", "", "Play");
    button.type = "button";
    let timer = 0;
    const stop = () => { clearInterval(timer); timer = 0; button.textContent = "Play"; };
    const next = () => {
      const { input } = slider;
      if (!this.box.isConnected || +input.value >= +input.max) return stop();
      slider.move(+input.value + 1);
      return undefined;
    };
    button.addEventListener("click", () => {
      if (timer) { stop(); return; }
      if (+slider.input.value >= +slider.input.max) slider.move(+slider.input.min);
      button.textContent = "Pause";
      timer = setInterval(next, milliseconds);
    });
    slider.input.addEventListener("pointerdown", stop);
    this.controls.prepend(button);
  }
}

/** Axes of a plot: maps data to pixels inside [x, y, width, height]. */
function scales([x, y, width, height], [x0, x1], [y0, y1]) {
  return { x: (v) => x + ((v - x0) / (x1 - x0)) * width, y: (v) => y + height - ((v - y0) / (y1 - y0)) * height };
}
