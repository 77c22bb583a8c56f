// Small tools of the linked view: numbers and names as text, DOM nodes, colours, pixel buffers.
//
// The files of this folder are one script, joined in the order of dcp/viewer/static.py: no imports,
// no network, no storage. Text is only ever set through textContent.

const ALIVE = 2147483647;
const clamp = (v, lo, hi) => Math.max(lo, Math.min(hi, v));
const percent = (v) => `${(100 * v).toFixed(0)}\u00a0%`;
const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;

function bytes(n) {
  if (!(n >= 0)) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let i = 0;
  while (n >= 1024 && i < 3) { n /= 1024; i++; }
  return `${n >= 100 || i === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[i]}`;
}

/** First index of an ascending `key(0..n-1)` that is not below `value`. */
function search(n, key, value) {
  let lo = 0, hi = n;
  while (lo < hi) { const mid = (lo + hi) >> 1; if (key(mid) < value) lo = mid + 1; else hi = mid; }
  return lo;
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

function group(className, name, ...children) {
  const e = node("div", className, ...children);
  e.setAttribute("role", "group");
  e.setAttribute("aria-label", name);
  return e;
}

/** Set what has changed only: most counters stay as they are from one frame to the next. */
function write(e, text) { if (e.textContent !== text) e.textContent = text; }
function attribute(e, name, value) { if (e.getAttribute(name) !== value) e.setAttribute(name, value); }

// Control characters would reorder or hide what a sentence says; a token's own name is always legible.
function legible(s) {
  const shown = s.replace(/\r?\n/g, "⏎").replace(/\t/g, "⇥").replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "�");
  return shown.trim() || (shown ? "␣" : "·");
}

// Colours are 32-bit pixels, ready for a buffer.
const parse = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const pack = ([r, g, b], a = 255) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;
const between = (a, b, f) => a.map((v, i) => Math.round(v + (b[i] - v) * f));
const ramp = (a, b) => Uint32Array.from({ length: 256 }, (_, i) => pack(between(a, b, i / 255)));
const tint = (colour, alpha) => ((colour & 0xffffff) | (Math.round(alpha * 255) << 24)) >>> 0;
/** The tint of a pixel that stands for several tokens: one in a hundred still shows. */
const share = (colour, part) => tint(colour, 0.15 + 0.85 * part);

/** An offscreen picture, painted pixel by pixel. */
class Pixels {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d");
    this.image = null;
  }

  /** The pixels [h, w] of this size: cleared, unless all of them are to be written anyway. */
  size(w, h, clear = true) {
    w = Math.max(1, w); h = Math.max(1, h);
    if (!this.image || this.image.width !== w || this.image.height !== h) {
      this.canvas.width = w; this.canvas.height = h;
      this.image = this.ctx.createImageData(w, h);
      this.out = new Uint32Array(this.image.data.buffer);
    } else if (clear) this.out.fill(0);
    return this.out;
  }

  show(rows = this.canvas.height) { this.ctx.putImageData(this.image, 0, 0, 0, 0, this.canvas.width, rows); }
}
