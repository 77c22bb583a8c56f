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
  if (state.colour === "close") {
    const { close } = view.rank(l);
    return (j) => colour.close[close[j]];
  }
  return () => colour.held;
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
    { lh, ratio } = geo,
    h = Math.round(run.L * lh * ratio),
    out = view.buffers.heat.size(Wd, h, false);
  const cell = new Uint32Array(Wd),
    middle = new Uint32Array(Wd),
    gap = new Uint32Array(Wd);
  const thin = (lh >= 18 ? 3 : 2) * ratio,
    inset = (lh >= 18 ? 1.5 : 1) * ratio;
  for (let l = 0; l < run.L; l++) {
    heatRows(view, l, cell, middle);
    const top = l * lh * ratio,
      m0 = Math.round(top + (lh * ratio - thin) / 2),
      m1 = Math.round(m0 + thin),
      y0 = Math.round(top + inset),
      y1 = Math.round(top + lh * ratio - inset);
    for (let y = Math.round(top), end = Math.min(h, Math.round(top + lh * ratio)); y < end; y++)
      out.set(y < y0 || y >= y1 ? gap : y >= m0 && y < m1 ? middle : cell, y * Wd);
  }
  view.buffers.heat.show();
}

export function drawHeat(view, pen) {
  const { run, state, geo, css, ctx } = view,
    { L, Q } = run,
    { x0, x1, W, lh, heat, narrow } = geo,
    s = state.step,
    w = x1 - x0;
  pen.font();
  pen.text(
    narrow ? "layer × token" : "what each layer holds at this step: layer × token",
    x0,
    heat - 9,
  );
  pen.text(state.groups ? "held, filtered" : "held", W, heat - 9, "right");
  ctx.fillStyle = css.panel;
  ctx.fillRect(x0, heat + state.layer * lh, w, lh);
  paintHeat(view);
  ctx.drawImage(view.buffers.heat.canvas, x0, heat, w, L * lh);
  const each = lh >= 13 ? 1 : 4,
    room = narrow ? 12 : 34;
  for (let l = 0; l < L; l++) {
    const y = heat + l * lh,
      chosen = l === state.layer,
      n = view.counts.held[l * Q + s];
    if (chosen || l % each === 0) {
      pen.font(chosen ? 650 : 400, lh < 13 && !chosen ? 10 : 12);
      pen.text(
        `${narrow ? "" : "layer "}${l}`,
        x0 - 9,
        y + lh / 2,
        "right",
        chosen ? css.ink : css.soft,
      );
      pen.text(String(n), W, y + lh / 2, "right", chosen ? css.ink : css.soft);
    }
    ctx.fillStyle = chosen ? css.held : css["held-soft"];
    ctx.fillRect(
      x1 + 7,
      y + lh / 2 - Math.min(3, lh / 4),
      Math.max(n ? 1 : 0, (room * n) / (s + 1)),
      Math.min(6, lh / 2),
    );
  }
  ctx.strokeStyle = css.ink;
  ctx.lineWidth = 1.4;
  ctx.strokeRect(x0 - 2, heat + state.layer * lh - 0.2, w + 4, lh + 0.4);
  pen.font();
  pen.text("POS", x0 - 9, geo.pos + geo.posH / 2, "right");
  pen.blit(view.buffers.pos, x0, geo.pos, w, geo.posH, run.running ? 0 : 0.22);
}
