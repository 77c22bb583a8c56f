// Lifelines of the chosen layer: step x token as bars from birth to drop, or step x age.
//
// Painted from the list of births and drops, row by row: never an array of T x T.

import { isolate } from "../shared/legible.js";
import { drawAges, paintAges } from "./ages.js";
import { heldInk } from "./cells.js";
import { tickFor } from "./columns.js";
import { paintEvery } from "./every.js";
import { share, tint } from "./pixels.js";
import { ALIVE, clamp } from "./values.js";
import { piece } from "./words.js";

export function paintLives(view) {
  const { geo, px, buffers, state } = view,
    h = Math.round(geo.lifeH * geo.ratio);
  const bars = buffers.bars.size(px.Wd, h),
    marks = buffers.marks.size(px.Wd, h);
  if (state.life === "age") paintAges(view, bars, marks, h);
  else if (state.life === "every") {
    paintEvery(view);
    return;
  } else {
    buffers.live.size(px.Wd, h);
    paintBars(view, bars, marks, h);
  }
  buffers.bars.show();
  buffers.marks.show();
}

/** Sweep down the rows: a token enters the line at its birth and leaves it at its drop. */
function paintBars(view, bars, marks, h) {
  const { run, state, px, colour, shown, geo } = view,
    { T, Q, death } = run,
    { Wd, from, to, starts, gap, fine } = px,
    l = state.layer,
    end = Math.min(to, Q);
  const [v0, v1] = view.window(),
    Y = (t) => clamp(Math.round(((t - v0) / (v1 - v0)) * h), 0, h),
    thick = Math.round(2 * geo.ratio);
  const ink = state.colour === "state" ? () => colour.soft : heldInk(view, l),
    aging = fine && state.colour === "age";
  const line = new Uint32Array(Wd),
    alive = new Uint16Array(Wd),
    width = new Uint16Array(Wd),
    leaving = new Int32Array(h + 1).fill(-1),
    next = new Int32Array(Math.max(0, end - from));
  // edge[y]: where the births of row y end; the panel is empty right of it.
  view.edge = new Int32Array(h).fill(0);
  const put = (j, c) => {
    const a = starts[j - from],
      b = fine ? Math.max(a + 1, starts[j - from + 1] - gap) : a + 1;
    for (let x = a; x < b && x < Wd; x++) line[x] = c;
  };
  const dye = (j, t) => {
    const x = starts[j - from];
    if (fine) put(j, shown[j] ? ink(j, t) : tint(ink(j, t), 0.13));
    else if (x < Wd) line[x] = alive[x] ? share(colour.soft, alive[x] / width[x]) : 0;
  };
  if (!fine) for (let j = from; j < end; j++) if (starts[j - from] < Wd) width[starts[j - from]]++;
  const living = aging ? new Set() : null;
  for (let y = 0, j = from; y < h; y++) {
    for (; j < end && Y(j) <= y; j++) {
      // Every life has a row, however short.
      const leave = Math.max(y + 1, Y(Math.min(death[l * T + j], Q)));
      next[j - from] = leaving[Math.min(h, leave)];
      leaving[Math.min(h, leave)] = j;
      if (shown[j] && !fine) alive[starts[j - from]]++;
      if (living) living.add(j);
      dye(j, Math.max(j, v0 + (y / h) * (v1 - v0)));
      view.edge[y] = fine ? starts[j - from + 1] : starts[j - from] + 1;
    }
    if (y && !view.edge[y]) view.edge[y] = view.edge[y - 1];
    for (let k = leaving[y]; k >= 0; k = next[k - from]) {
      if (living) living.delete(k);
      if (fine) put(k, 0);
      else {
        if (shown[k]) alive[starts[k - from]]--;
        dye(k, 0);
      }
    }
    if (living && y % 3 === 0)
      for (const k of living) dye(k, Math.max(k, v0 + (y / h) * (v1 - v0)));
    bars.set(line, y * Wd);
  }
  for (let j = from; j < end; j++) {
    const d = death[l * T + j],
      a = starts[j - from],
      b = fine ? Math.max(a + 1, starts[j - from + 1] - gap) : a + 1;
    if (d < Q && shown[j])
      for (let y = Math.max(0, Y(d) - thick); y < Math.min(h, Y(d)); y++)
        for (let x = a; x < b && x < Wd; x++) marks[y * Wd + x] = colour.drop;
  }
}

/** The lives still going at this step stand out from those already ended: one line, cut by the births. */
function paintLive(view, rows) {
  const { run, state, px, colour, shown } = view,
    { T, death } = run,
    { Wd, from, to, starts, gap, fine } = px,
    s = state.step,
    l = state.layer,
    end = Math.min(to, s + 1);
  const live = view.buffers.live,
    line = new Uint32Array(Wd);
  for (let j = from; j < end; ) {
    const x = starts[j - from];
    if (fine) {
      if (death[l * T + j] > s && shown[j])
        line.fill(colour.held, x, Math.max(x + 1, starts[j - from + 1] - gap));
      j++;
      continue;
    }
    let n = 0,
      held = 0;
    for (; j < end && starts[j - from] === x; j++) {
      n++;
      held += death[l * T + j] > s && shown[j] ? 1 : 0;
    }
    if (held && x < Wd) line[x] = share(colour.held, held / n);
  }
  for (let y = 0; y < rows; y++) live.out.set(line.subarray(0, view.edge[y]), y * Wd);
  live.show(rows);
}

export function drawLives(view, pen) {
  if (view.state.life === "age") drawAges(view, pen);
  else drawBars(view, pen);
}

function drawBars(view, pen) {
  const { run, state, geo, css, ctx, buffers } = view,
    { T, death } = run,
    { x0, x1, life, lifeH, narrow } = geo,
    w = x1 - x0,
    s = state.step,
    l = state.layer,
    v = view.window();
  pen.font();
  pen.text(
    narrow
      ? `layer ${l}: each token’s life`
      : `layer ${l}: each token’s life, from the step it is read (top) to the step that drops it`,
    x0,
    life - 13,
  );
  const Y = (t) => life + clamp((t - v[0]) / (v[1] - v[0]), 0, 1) * lifeH,
    ys = Y(s + 1),
    { width, height } = buffers.bars.canvas,
    rows = Math.round(((ys - life) / lifeH) * height),
    cut = rows / height,
    sx = clamp(pen.split, 0, 1),
    wide = Math.round(width * sx),
    tick = tickFor(v[1] - v[0], lifeH, 34);
  const part = (b) => {
    if (rows > 0 && wide > 0)
      ctx.drawImage(b.canvas, 0, 0, wide, rows, x0, life, (w * wide) / width, lifeH * cut);
  };
  part(buffers.bars);
  if (state.colour === "state") {
    paintLive(view, rows);
    part(buffers.live);
  }
  part(buffers.marks);
  if (rows < height && wide > 0 && !run.running) {
    ctx.globalAlpha = 0.22;
    ctx.drawImage(
      buffers.bars.canvas,
      0,
      rows,
      wide,
      height - rows,
      x0,
      life + lifeH * cut,
      (w * wide) / width,
      lifeH * (1 - cut),
    );
    ctx.globalAlpha = 1;
  }
  if (s + 1 < v[1]) pen.line(view.X(s + 1), ys, x1, Y(v[1]), css.line, 1.2);
  ctx.globalAlpha = 0.6;
  pen.line(x0, ys, x1, ys, css.ink, 1, [3, 3]);
  ctx.globalAlpha = 1;
  pen.font(400, 11);
  pen.text(
    narrow ? String(Math.round(v[0])) : `step ${Math.round(v[0])}`,
    x0 - 9,
    life + 4,
    "right",
  );
  for (let t = Math.ceil(v[0] / tick) * tick; t < v[1]; t += tick) {
    const y = Y(t);
    if (y < life + 16 || Math.abs(y - ys) < 12) continue;
    pen.line(x0 - 5, y, x0 - 1, y, css.soft);
    pen.text(String(t), x0 - 9, y, "right");
  }
  if (ys - life > 18) pen.text(String(s), x0 - 9, ys, "right", css.ink);
  drawNote(view, pen);
  const j = state.token,
    d = j >= 0 ? death[l * T + j] : ALIVE;
  if (d <= s) {
    const y = Y(d),
      xd = view.X(d) + geo.cw / 2;
    pen.line(view.X(j) + geo.cw / 2, y, xd, y, css.by, 1.8);
    pen.dot(xd, y, 3.6, css.by);
  }
}

/** The empty corner of the triangle says in words what the chosen layer holds now. */
function drawNote(view, pen) {
  const { run, state, geo, css } = view,
    { T, death } = run,
    l = state.layer,
    s = state.step,
    n = view.counts.held[l * run.Q + s];
  let oldest = 0;
  while (oldest < s && !(death[l * T + oldest] > s && view.shown[oldest])) oldest++;
  const room = geo.x1 - Math.max(view.X(s) * 0.62, geo.x0 + 40);
  if (room < 190) return;
  pen.font(600);
  pen.text(
    `layer ${l} holds ${n} of ${view.counts.read[s]}`,
    geo.x1 - 8,
    geo.life + 6,
    "right",
    css.ink,
  );
  pen.font();
  if (n && s > oldest)
    pen.text(
      `the oldest, “${isolate(piece(run, oldest).slice(0, 18))}”, was read ${s - oldest} steps ago`,
      geo.x1 - 8,
      geo.life + 23,
      "right",
    );
}
