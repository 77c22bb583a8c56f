// The shared axis, the layer x token heatmap at one step, and the lanes of parts of speech.
//
// A cell says its state by shape as well as colour: held is a full block, dropped now a block with a
// notch, dropped earlier a thin line. Where a pixel holds several tokens it shows their held share.

import { share, tint } from "./pixels.js";

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

/** Two pixel rows of layer l: the whole cell, and its middle. */
function heatRows(view, l, cell, middle) {
  const { run, state, px, colour, shown } = view,
    { T, death } = run,
    { Wd, from, starts, gap } = px,
    s = state.step,
    end = Math.min(px.to, s + 1),
    base = l * T;
  const ink = heldInk(view, l);
  cell.fill(0);
  middle.fill(0);
  if (px.fine) {
    for (let j = from; j < end; j++) {
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
  for (let j = from; j < end; ) {
    const x = starts[j - from];
    let n = 0,
      held = 0,
      now = 0,
      one = 0;
    for (; j < end && starts[j - from] === x; j++) {
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

function paintHeat(view) {
  const { run, geo, px } = view,
    { Wd } = px,
    { rows, ratio } = geo,
    h = Math.round(rows.total * ratio),
    out = view.buffers.heat.size(Wd, h);
  const cell = new Uint32Array(Wd),
    middle = new Uint32Array(Wd);
  for (let l = 0; l < run.L; l++) {
    heatRows(view, l, cell, middle);
    const high = rows.height[l],
      top = rows.top[l] * ratio,
      thin = (high >= 18 ? 3 : high >= 12 ? 2 : 1) * ratio,
      inset = (high >= 18 ? 1.5 : high >= 7 ? 1 : 0.5) * ratio,
      m0 = Math.round(top + (high * ratio - thin) / 2),
      m1 = Math.round(m0 + thin);
    for (let y = Math.round(top + inset); y < Math.round(top + high * ratio - inset); y++)
      out.set(y >= m0 && y < m1 ? middle : cell, y * Wd);
  }
  view.buffers.heat.show();
}

export function drawHeat(view, pen) {
  const { state, geo, css, ctx } = view,
    { x0, x1, W, rows, heat, narrow } = geo,
    w = x1 - x0,
    top = heat + rows.top[state.layer],
    high = rows.height[state.layer];
  pen.font();
  pen.text(
    narrow ? "layer × token" : "what each layer holds at this step: layer × token",
    x0,
    heat - 9,
  );
  pen.text(state.groups ? "held, filtered" : "held", W, heat - 9, "right");
  ctx.fillStyle = css.panel;
  ctx.fillRect(x0, top, w, high);
  paintHeat(view);
  ctx.drawImage(view.buffers.heat.canvas, x0, heat, w, rows.total);
  drawSides(view, pen);
  ctx.strokeStyle = css.ink;
  ctx.lineWidth = 1.4;
  ctx.strokeRect(x0 - 2, top - 0.2, w + 4, high + 0.4);
  pen.font();
  pen.text("POS", x0 - 9, geo.pos + geo.posH / 2, "right");
  pen.blit(view.buffers.pos, x0, geo.pos, w, geo.posH, view.run.running ? 0 : 0.22);
}

/** Left and right of the rows: which layer, and how much it holds. Groups are named by their range. */
function drawSides(view, pen) {
  const { run, state, geo, css, ctx, counts } = view,
    { x0, x1, W, rows, heat, narrow } = geo,
    room = narrow ? 12 : 34,
    open = heat + rows.top[state.layer] + rows.height[state.layer] / 2;
  for (let l = 0; l < run.L; l++) {
    const y = heat + rows.top[l] + rows.height[l] / 2,
      chosen = l === state.layer,
      n = counts.held[l * run.Q + state.step],
      thick = Math.min(6, rows.height[l] / 2);
    if (chosen || rows.alike) {
      pen.font(chosen ? 650 : 400);
      pen.text(`${narrow ? "" : "layer "}${l}`, x0 - 9, y, "right", chosen ? css.ink : css.soft);
      pen.text(String(n), W, y, "right", chosen ? css.ink : css.soft);
    }
    ctx.fillStyle = chosen ? css.held : css["held-soft"];
    ctx.fillRect(x1 + 7, y - thick / 2, Math.max(n ? 1 : 0, (room * n) / (state.step + 1)), thick);
  }
  pen.font(400, 11);
  for (const [a, b] of rows.groups) {
    const y = heat + (rows.top[a] + rows.top[b] + rows.height[b]) / 2;
    if (Math.abs(y - open) > 13) pen.text(`${a}–${b}`, x0 - 9, y, "right");
  }
}
