// The triangle step x token of every layer, as small multiples that scrub together.
//
// A pixel is a few tokens and a few steps: its tint is the share of those tokens that are held. The
// cost is one pass over the drops and one over the pixels, never tokens x steps.

import { Pixels, share } from "./pixels.js";
import { clamp } from "./values.js";

const TITLE = 16;
const GAP = 12;

/** Columns and the size of each panel for L layers in `width` pixels. */
export function everyGrid(L, width) {
  const least = L <= 8 ? 120 : 86,
    most = Math.max(1, Math.floor((width + GAP) / (least + GAP))),
    // No row of panels is left nearly empty.
    columns = Math.ceil(L / Math.ceil(L / Math.min(L, most))),
    w = Math.floor((width + GAP) / columns) - GAP,
    h = Math.round(clamp(w * 0.62, 44, 120)),
    lines = Math.ceil(L / columns);
  return { columns, w, h, height: lines * (h + TITLE + 6) };
}

/** Where layer l's panel lies on the canvas. */
export function panelAt({ geo }, l) {
  const { columns, w, h } = geo.grid;
  return {
    x: 1 + (l % columns) * (w + GAP),
    y: geo.life + Math.floor(l / columns) * (h + TITLE + 6) + TITLE,
    w,
    h,
  };
}

/** The layer and token of the panel at a point; null between panels. */
export function everyAt(view, x, y) {
  const { run } = view,
    v = view.window();
  for (let l = 0; l < run.L; l++) {
    const p = panelAt(view, l);
    if (x < p.x || x > p.x + p.w || y < p.y - TITLE || y > p.y + p.h) continue;
    return { layer: l, token: Math.floor(v[0] + ((x - p.x) / p.w) * (v[1] - v[0])) };
  }
  return null;
}

export function paintEvery(view) {
  const { run, geo } = view,
    w = Math.round(geo.grid.w * geo.ratio),
    h = Math.round(geo.grid.h * geo.ratio);
  view.panels ??= [];
  view.panels.length = run.L;
  for (let l = 0; l < run.L; l++) {
    view.panels[l] ??= new Pixels();
    paintPanel(view, l, view.panels[l], w, h);
  }
}

function paintPanel(view, l, pixels, w, h) {
  const { run, colour, shown } = view,
    { T, Q, death } = run,
    [v0, v1] = view.window(),
    out = pixels.size(w, h),
    held = new Int32Array(w * (h + 1)),
    born = new Int32Array(w * (h + 1)),
    at = (t, n) => clamp(Math.floor(((t - v0) / (v1 - v0)) * n), 0, n);
  // Marks where lives begin and end, then their running sums from the top.
  for (let j = Math.floor(v0); j < Math.min(Q, v1); j++) {
    if (!shown[j]) continue;
    const a = Math.min(w - 1, at(j, w)),
      // A column is as wide as its token, or one pixel for several.
      b = Math.max(a + 1, at(j + 1, w)),
      y0 = at(j, h),
      y1 = Math.max(y0 + 1, at(Math.min(death[l * T + j], Q), h));
    for (let x = a; x < b; x++) {
      born[y0 * w + x]++;
      held[y0 * w + x]++;
      held[Math.min(h, y1) * w + x]--;
    }
  }
  const last = at(Q, h) || h;
  for (let y = 0; y < last; y++)
    for (let x = 0; x < w; x++) {
      const i = y * w + x;
      if (y) {
        held[i] += held[i - w];
        born[i] += born[i - w];
      }
      if (held[i]) out[i] = share(colour.held, held[i] / born[i]);
    }
  pixels.show();
}

export function drawEvery(view, pen) {
  const { run, state, geo, css, ctx, counts } = view,
    v = view.window(),
    s = state.step,
    part = clamp((s + 1 - v[0]) / (v[1] - v[0]), 0, 1);
  pen.font();
  pen.text(
    geo.narrow
      ? "every layer: step × token"
      : "every layer: each token’s life (columns), from the step it is read, downwards; a click opens the layer",
    geo.grid ? 1 : geo.x0,
    geo.life - 13,
  );
  for (let l = 0; l < run.L; l++) {
    const { x, y, w, h } = panelAt(view, l),
      { canvas } = view.panels[l],
      cut = Math.round(canvas.height * part),
      chosen = l === state.layer;
    if (cut) ctx.drawImage(canvas, 0, 0, canvas.width, cut, x, y, w, (h * cut) / canvas.height);
    if (cut < canvas.height && !run.running) {
      const rest = canvas.height - cut;
      ctx.globalAlpha = 0.2;
      ctx.drawImage(
        canvas,
        0,
        cut,
        canvas.width,
        rest,
        x,
        y + h - (h * rest) / canvas.height,
        w,
        (h * rest) / canvas.height,
      );
      ctx.globalAlpha = 1;
    }
    const line = y + h * part;
    pen.line(x, line, x + w, line, css.drop, 1);
    ctx.strokeStyle = chosen ? css.ink : css.line;
    ctx.lineWidth = chosen ? 1.6 : 1;
    ctx.strokeRect(x - 0.5, y - 0.5, w + 1, h + 1);
    pen.font(chosen ? 650 : 400, 11);
    pen.text(w < 80 ? String(l) : `layer ${l}`, x, y - 8, "left", chosen ? css.ink : css.soft);
    pen.text(
      String(counts.held[l * run.Q + s]),
      x + w,
      y - 8,
      "right",
      chosen ? css.ink : css.soft,
    );
    if (state.token >= 0) {
      const at = x + ((state.token + 0.5 - v[0]) / (v[1] - v[0])) * w;
      if (at >= x && at <= x + w) pen.line(at, y, at, y + h, css.by, 1);
    }
  }
}
