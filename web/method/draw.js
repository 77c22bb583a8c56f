// What all pictures of the method draw with: SVG nodes, sliders, a frame that follows its width.
//
// Text only ever enters through textContent.

import { isolate, legible as named } from "../shared/legible.js";

const NS = "http://www.w3.org/2000/svg";

export function shape(tag, attributes = {}, text) {
  const e = document.createElementNS(NS, tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  return e;
}

export function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export const bound = (v, lo, hi) => Math.max(lo, Math.min(hi, v));

export const signed = (v, digits = 2) => `${v < 0 ? "−" : ""}${Math.abs(v).toFixed(digits)}`;

export const many = (n, one, more = `${one}s`) => `${n} ${n === 1 ? one : more}`;

export const line = (x1, y1, x2, y2, name) => shape("line", { x1, y1, x2, y2, class: name });

export const rect = (x, y, width, height, name, more = {}) =>
  shape("rect", {
    x,
    y,
    width: Math.max(0, width),
    height: Math.max(0, height),
    class: name,
    ...more,
  });

export const path = (points, name) =>
  shape("path", {
    d: points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join(""),
    class: name,
  });

export const say = (x, y, text, name = "", anchor = "start") =>
  shape("text", { x, y, class: name, "text-anchor": anchor }, text);

export function kib(n) {
  if (n < 1024) return `${n} B`;
  return n < 1024 * 1024
    ? `${(n / 1024).toFixed(n < 10240 ? 1 : 0)} KiB`
    : `${(n / 1048576).toFixed(1)} MiB`;
}

// An asterisk would be taken for the mark of bold.
export const quoted = (piece) => `“${isolate(named(piece).replaceAll("*", "∗"))}”`;

export const cut = (text, room) =>
  text.length <= room ? text : room < 2 ? "" : `${text.slice(0, room - 1)}…`;

/** Axes of a plot: maps data to pixels inside [x, y, width, height]. */
export function scales([x, y, width, height], [x0, x1], [y0, y1]) {
  return {
    x: (v) => x + ((v - x0) / (x1 - x0)) * width,
    y: (v) => y + height - ((v - y0) / (y1 - y0)) * height,
  };
}
