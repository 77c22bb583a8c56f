// The memory curve: entries held by every layer, stacked, under those of a dense model.

import { brief, clamp } from "./values.js";

export function paintMemory(view) {
  const { run, state, px, colour, counts, geo } = view,
    { L, Q } = run,
    { Wd, from, to, starts } = px,
    h = Math.round(geo.memH * geo.ratio);
  const out = view.buffers.memory.size(Wd, h),
    top = Math.max(1, L * run.domain),
    end = Math.min(to, Q);
  const order = Array.from({ length: L }, (_, i) =>
    i === 0 ? state.layer : i <= state.layer ? i - 1 : i,
  );
  for (let t = from; t < end; ) {
    // The steps of one pixel are one column, as high as their mean.
    const a = starts[t - from],
      t0 = t;
    do t++;
    while (t < end && starts[t - from] === a);
    const b = Math.max(a + 1, starts[t - from]);
    let base = 0;
    for (const l of order) {
      let n = 0;
      for (let i = t0; i < t; i++) n += counts.held[l * Q + i];
      const next = base + n / (t - t0),
        y1 = h - Math.round((base / top) * h),
        y0 = h - Math.round((next / top) * h);
      const c = l === state.layer ? colour.held : colour.strata[l & 1];
      for (let y = y0; y < y1; y++) for (let x = a; x < b && x < Wd; x++) out[y * Wd + x] = c;
      base = next;
    }
  }
  view.buffers.memory.show();
  paintDense(view);
}

/** The dense line as a path, once per zoom: it bends only where a filter is on. */
function paintDense(view) {
  const { run, counts, geo } = view,
    v = view.window(),
    path = new Path2D(),
    stride = Math.max(1, Math.floor((v[1] - v[0]) / 400)),
    end = Math.min(run.Q - 1, Math.floor(v[1]));
  for (let t = Math.floor(v[0]); t <= end; t = t + stride > end && t < end ? end : t + stride)
    path.lineTo(view.X(t) + geo.cw / 2, memoryY(view, run.L * counts.read[t]));
  view.dense = path;
}

const memoryY = ({ geo, run }, n) => geo.mem + geo.memH - (n / (run.L * run.domain)) * geo.memH;

export function drawMemory(view, pen) {
  const { run, state, geo, css, ctx, counts } = view,
    { L } = run,
    { x0, x1, mem, memH, narrow } = geo,
    w = x1 - x0,
    s = state.step;
  pen.font();
  pen.text(
    narrow
      ? "entries held, all layers"
      : `entries held by all layers, stacked (layer ${state.layer} at the bottom), under those of a dense model`,
    x0,
    mem - 12,
  );
  pen.blit(view.buffers.memory, x0, mem, w, memH, run.running ? 0 : 0.25);
  pen.line(x0, mem + memH + 0.5, x1, mem + memH + 0.5, css.line);
  pen.font(400, 11);
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const n = Math.round(part * L * run.domain),
      y = memoryY(view, n);
    pen.line(x0 - 5, y, x0 - 1, y, css.soft);
    if (part !== 0.25 && part !== 0.75) pen.text(brief(n), x0 - 9, y, "right");
  }
  ctx.strokeStyle = css.soft;
  ctx.lineWidth = 1.2;
  ctx.save();
  ctx.beginPath();
  ctx.rect(x0, mem - 8, w, memH + 10);
  ctx.clip();
  ctx.stroke(view.dense);
  ctx.restore();
  const dense = L * counts.read[s],
    held = counts.total[s],
    yd = memoryY(view, dense),
    yh = Math.min(mem + memH - 6, Math.max(memoryY(view, held), yd + 15));
  pen.font();
  pen.text(String(dense), x1 + 7, clamp(yd, mem - 2, yh - 14), "left");
  pen.font(650);
  pen.text(String(held), x1 + 7, yh, "left", css.ink);
  if (pen.x < x0 - 1 || pen.x > x1 + 1) return;
  pen.dot(pen.x, yd, 2.6, css.soft);
  pen.dot(pen.x, memoryY(view, held), 2.6, css.ink);
}
