// The cells of the heatmap, kept from one frame to the next: a step repaints those that it changes.
//
// A cell says its state by shape as well as colour: held is a full block, dropped now a block with a
// notch, dropped earlier a thin line. Where a pixel holds several tokens it shows their held share.

import { share, tint } from "./pixels.js";

/** A step so many away paints everything anew. */
const FAR = 32;

/** The ink of a token that layer l holds at step s. */
export function heldInk(view, l) {
  const { state, run, colour } = view;
  if (state.colour === "age") {
    const scale = 255 / Math.log1p(run.Q);
    return (j, s) => colour.age[Math.min(255, scale * Math.log1p(s - j)) | 0];
  }
  if (state.colour === "span") {
    view.spans[l] ??= spans(view, l);
    const span = view.spans[l];
    return (j) => colour.span[span[j]];
  }
  if (state.colour === "close") {
    const { close } = view.rank(l);
    return (j) => colour.close[close[j]];
  }
  return () => colour.held;
}

/** [T] how long layer l holds each token in all, 0 to 255 on a log scale from one step to the whole run. */
function spans({ run }, l) {
  const { T, Q, death } = run,
    scale = 255 / Math.log(Math.max(2, Q));
  return Uint8Array.from({ length: T }, (_, j) =>
    Math.min(255, scale * Math.log(Math.max(1, Math.min(Q, death[l * T + j]) - j))),
  );
}

/** Paint the step of the view into the buffer of the heatmap.

view.heat is what was painted last: the pixels [L, Wd] of each layer's cells and of their middles, and
the step that they are of. It is null where anything but the step has changed since (stage.js). */
export function paintHeat(view) {
  const { run, state, px, geo, buffers } = view,
    last = view.heat,
    // Every age changes with the step.
    near = last && Math.abs(state.step - last.step) <= FAR && state.colour !== "age";
  if (near && last.step === state.step) return;
  const size = run.L * px.Wd,
    { cell, middle } = last || { cell: new Uint32Array(size), middle: new Uint32Array(size) },
    h = Math.round(geo.rows.total * geo.ratio),
    out = buffers.heat.size(px.Wd, h, !last);
  for (let l = 0; l < run.L; l++) {
    const row = rowOf(view, l, cell, middle);
    if (!near) {
      paintCells(view, row, px.from, px.to - 1, 0, px.Wd);
      spread(row, out, px.Wd);
    } else for (const j of changed(view, l, last.step)) touch(view, row, out, j);
  }
  view.heat = { cell, middle, step: state.step };
  buffers.heat.show();
}

/** Layer l: its ink, its pixels, and the device pixels down the picture where its row and the middle of
it lie. */
function rowOf(view, l, cell, middle) {
  const { rows, ratio } = view.geo,
    { Wd } = view.px,
    high = rows.height[l],
    top = rows.top[l] * ratio,
    thin = (high >= 18 ? 3 : high >= 12 ? 2 : 1) * ratio,
    inset = (high >= 18 ? 1.5 : high >= 7 ? 1 : 0.5) * ratio,
    m0 = Math.round(top + (high * ratio - thin) / 2);
  return {
    l,
    ink: heldInk(view, l),
    cell: cell.subarray(l * Wd, (l + 1) * Wd),
    middle: middle.subarray(l * Wd, (l + 1) * Wd),
    y0: Math.round(top + inset),
    y1: Math.round(top + high * ratio - inset),
    m0,
    m1: Math.round(m0 + thin),
  };
}

function spread({ cell, middle, y0, y1, m0, m1 }, out, Wd) {
  for (let y = y0; y < y1; y++) out.set(y >= m0 && y < m1 ? middle : cell, y * Wd);
}

/** The tokens in view that layer l shows otherwise at this step than at `since`: those read between the
two, and those dropped from the one to the other, both included. */
function changed({ run, state, px }, l, since) {
  const lo = Math.min(state.step, since),
    hi = Math.max(state.step, since),
    at = l * (run.Q + 1),
    found = [];
  const add = (j) => j >= px.from && j < px.to && found.push(j);
  for (let j = lo + 1; j <= hi; j++) add(j);
  // Drops come by step.
  for (let i = run.first[at + lo]; i < run.first[at + hi + 1]; i++) add(run.order[i]);
  return found;
}

/** Paint token j again, and whatever shares its pixels. */
function touch(view, row, out, j) {
  const { Wd, from, to, starts } = view.px,
    x0 = starts[j - from];
  let first = j,
    last = j;
  while (first > from && starts[first - 1 - from] === x0) first--;
  while (last < to - 1 && starts[last + 1 - from] === x0) last++;
  const x1 = Math.min(Wd, Math.max(x0 + 1, starts[last + 1 - from]));
  paintCells(view, row, first, last, x0, x1);
  for (let y = row.y0; y < row.y1; y++) {
    const of = y >= row.m0 && y < row.m1 ? row.middle : row.cell;
    for (let x = x0; x < x1; x++) out[y * Wd + x] = of[x];
  }
}

/** Tokens first..last of a layer, which have the pixels from x0 to x1. */
function paintCells(view, { l, ink, cell, middle }, first, last, x0, x1) {
  const { run, state, px, colour, shown } = view,
    { T, death } = run,
    { Wd, from, starts, gap } = px,
    s = state.step,
    end = Math.min(last, s),
    base = l * T;
  cell.fill(0, x0, x1);
  middle.fill(0, x0, x1);
  if (px.fine) {
    for (let j = first; j <= end; j++) {
      const d = death[base + j],
        a = starts[j - from],
        b = Math.max(a + 1, starts[j - from + 1] - gap);
      let c = d > s ? ink(j, s) : d === s ? colour.drop : colour.gone;
      if (!shown[j]) c = tint(c, 0.15);
      for (let x = a; x < b; x++) {
        if (d >= s) cell[x] = c;
        if (d !== s) middle[x] = c;
      }
    }
    return;
  }
  for (let j = first; j <= end; ) {
    const x = starts[j - from];
    let n = 0,
      held = 0,
      now = 0,
      one = 0;
    for (; j <= end && starts[j - from] === x; j++) {
      if (!shown[j]) continue;
      const d = death[base + j];
      n++;
      if (d > s) {
        held++;
        one = j;
      } else if (d === s) now++;
    }
    if (!n || x >= Wd) continue;
    const c = held ? share(ink(one, s), held / n) : 0;
    cell[x] = now ? colour.drop : c;
    middle[x] = now ? 0 : c || colour.gone;
  }
}
